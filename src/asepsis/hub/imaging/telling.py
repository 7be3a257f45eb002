"""Tells the journal of each instance: its lane is what deliveries and consumers follow.

The record holds no patient data: UIDs, sizes, digests and names of machines. The hub's own account
numbers it densely; after a crash an instance may be told twice, under two numbers, never not at
all: consumers go by the SOP Instance UID.
"""

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from asepsis.core.errors import AsepsisError, TransientError
from asepsis.core.journal.ports import Append
from asepsis.core.model.lanes import Account, Lane
from asepsis.hub.imaging.index import Entry, ImageIndex
from asepsis.hub.imaging.ports import ImageJournal

PRODUCER: Final = "hub:imaging"
KIND: Final = "image-instance"
EPOCH: Final = 1
TELL_EVERY_S: Final = 1.0
"""Pause between two looks at what could not be told at once."""
MARK_MAX: Final = 200

log = structlog.get_logger("imaging")


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the image index lane, as JSON.

    Attributes:
        study: Study Instance UID.
        series: Series Instance UID.
        instance: SOP Instance UID; the key of the instance.
        sop_class: SOP Class UID.
        transfer_syntax: Transfer Syntax UID.
        length: Bytes.
        sha256: SHA-256 of the bytes, 64 hex digits.
        gateway: Identity that sent it: a gateway, or the device itself.
        device: Device whose image it is.
        calling_ae: Calling AE title, empty if there was none.
    """

    study: str
    series: str
    instance: str
    sop_class: str
    transfer_syntax: str
    length: int
    sha256: str
    gateway: str
    device: str
    calling_ae: str


def record_of(entry: Entry) -> bytes:
    """Return the record that tells of an instance."""
    return msgspec.json.encode(
        ImageRecord(
            study=entry.study,
            series=entry.series,
            instance=entry.sop_instance,
            sop_class=entry.sop_class,
            transfer_syntax=entry.transfer_syntax,
            length=entry.length,
            sha256=entry.sha256.hex(),
            gateway=entry.sender,
            device=entry.device,
            calling_ae=entry.calling_ae,
        )
    )


class Teller:
    """Writes the records.

    Args:
        journal: Where they become durable.
        index: Knows what was told.
        wall: Wall clock, nanoseconds since 1970.
    """

    def __init__(
        self, journal: ImageJournal, index: ImageIndex, *, wall: Callable[[], int]
    ) -> None:
        self._journal = journal
        self._index = index
        self._wall = wall
        self._sequence = 0
        self._free: list[int] = []
        self._told: list[int] = []
        self.position = 0

    async def restore(self) -> None:
        """Go on where the journal says that it ended, and tell what a crash left untold.

        Raises:
            TransientError: The journal or the state does not take it.
        """
        account = await self._journal.account(Account.IMAGE_INDEX, PRODUCER, EPOCH)
        self._sequence = account.highest
        self._free = [n for first, last in account.gaps for n in range(first, last + 1)]
        while entries := await self._index.untold():
            for _, entry in entries:
                await self._append(entry)
            await self._index.tell([number for number, _ in entries])

    async def tell(self, number: int, entry: Entry) -> None:
        """Tell of an instance; return once that is durable.

        Raises:
            TransientError: Nothing was stored.
        """
        await self._append(entry)
        self._told.append(number)

    async def run(self) -> None:
        """Note what was told, until cancelled; a note that is lost is told again."""
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            while self._told:
                told, self._told = self._told[:MARK_MAX], self._told[MARK_MAX:]
                try:
                    await self._index.tell(told)
                except AsepsisError as error:
                    log.warning("what was told of images is noted later", code=error.code)
                    self._told = told + self._told
                    break

    async def _append(self, entry: Entry) -> None:
        sequence = self._next()
        record = Append(
            lane=Lane.IMAGE_INDEX,
            account=Account.IMAGE_INDEX,
            producer=PRODUCER,
            epoch=EPOCH,
            sequence=sequence,
            kind=KIND,
            body=record_of(entry),
            received_at_ns=self._wall(),
        )
        try:
            receipt = await self._journal.append(record)
        except TransientError:
            # Nothing was stored: the number is used again, so the account stays dense.
            heapq.heappush(self._free, sequence)
            raise
        self.position = max(self.position, receipt.position)

    def _next(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._sequence += 1
        return self._sequence
