"""Every message is here, sealed and durable, before anybody hears of it; the hub gets it from here.

A record keeps the number it goes to the hub with: the boot epoch and a dense sequence. After any
crash the same bytes are sent under the same number, so the hub stores them once.
"""

import asyncio
import contextlib
import heapq
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from asepsis.core.errors import AsepsisError
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append, Journal, Receipt, Record
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.trust.sealing import KeyEncryptionKey
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.trust.sealing_libcrypto import LibcryptoAead
from asepsis.edge.gateway.settings import MIB, SpoolSettings

CONSUMER: Final = "hub"
PERSON: Final = "person"
PRODUCER: Final = "gateway"
REFUSED: Final = "refused"
PAGE: Final = 256
QUEUE_RECORDS_MAX: Final = 8_192

Told = Callable[[Receipt | AsepsisError], None]


@dataclass(slots=True)
class Parcel:
    """One durable message on its way to the hub.

    Attributes:
        position: Place in the spool, ascending.
        epoch: Boot epoch it was numbered in.
        sequence: Number in that epoch.
        peer: Name of its sender's policy.
        body: The bytes as they came.
        told: Called once with what became of it; None where nobody waits.
    """

    position: int
    epoch: int
    sequence: int
    peer: str
    body: bytes
    told: "Callable[[AsepsisError | None], None] | None" = None


def open_journal(
    folder: Path, settings: SpoolSettings, kek: KeyEncryptionKey, *, clock: Callable[[], int]
) -> SqliteJournal:
    """Open the spool's journal.

    Raises:
        ConfigError: Another gateway has it open, or it belongs to another key.
    """
    return SqliteJournal(
        folder / "journal",
        cipher=DayKeys(folder / "keys", kek=kek, aead=LibcryptoAead()),
        lanes={
            Lane.MESSAGE: LaneBudget(bytes_max=settings.bytes_max, age_s=0),
            Lane.EVENT: LaneBudget(bytes_max=settings.refused_bytes_max, age_s=0),
        },
        clock=clock,
        limits=JournalLimits(
            reserve_bytes=0,
            linger_s=settings.linger_s,
            queue_records_max=QUEUE_RECORDS_MAX,
            queue_bytes_max=64 * MIB,
        ),
    )


class MessageSpool:
    """The spool for one event loop; every method but `settle` runs in its thread.

    Args:
        journal: From `open_journal`; the caller closes it.
        loop: The loop.
        epoch: Boot epoch of this start, above every earlier one.
        clock: Wall time, nanoseconds.
    """

    def __init__(
        self,
        journal: Journal,
        loop: asyncio.AbstractEventLoop,
        *,
        epoch: int,
        clock: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._loop = loop
        self._clock = clock
        self.epoch = epoch
        journal.register(CONSUMER, {Lane.MESSAGE: True})
        # Nobody ever commits for a person, so what was refused stays until one takes it out.
        journal.register(PERSON, {Lane.EVENT: True})
        self._next = 1
        self._refused = 0
        self._given_back: list[int] = []
        self._lock = threading.Lock()
        self._results: list[tuple[object, Receipt | AsepsisError]] = []

    def append(self, peer: str, body: bytes, told: Callable[[Parcel | AsepsisError], None]) -> None:
        """Make a message durable; `told` hears of it in the loop, in the order of the spool.

        An error means that nothing was stored; its number goes to the next message, so that no
        hole remains.
        """
        sequence = heapq.heappop(self._given_back) if self._given_back else self._next
        if sequence == self._next:
            self._next += 1
        record = self._record(Lane.MESSAGE, Account.MESSAGE, PRODUCER, sequence, peer, body)

        def settled(result: Receipt | AsepsisError) -> None:
            if isinstance(result, Receipt):
                told(Parcel(result.position, self.epoch, sequence, peer, body))
                return
            heapq.heappush(self._given_back, sequence)
            told(result)

        self._submit(record, settled)

    def keep_refused(self, parcel: Parcel, told: Told) -> None:
        """Keep a message that the hub refused for good, for a person to look at."""
        self._refused += 1
        self._submit(
            self._record(
                Lane.EVENT, Account.EVENT, REFUSED, self._refused, parcel.peer, parcel.body
            ),
            told,
        )

    async def page(self, after: int) -> Sequence[Parcel]:
        """Return the next messages with a position above `after`."""
        read = self._journal.read
        records = await self._loop.run_in_executor(
            None, lambda: read(Lane.MESSAGE, after=after, records_max=PAGE)
        )
        return [parcel_of(record) for record in records]

    async def waiting_after(self) -> int:
        """Return the position up to which the hub has everything, as is durably known."""
        records = await self._loop.run_in_executor(
            None, lambda: self._journal.pull(CONSUMER, Lane.MESSAGE, records_max=1)
        )
        if records:
            return records[0].position - 1
        return self._journal.status()[Lane.MESSAGE].last

    async def delivered(self, position: int) -> None:
        """Let go of everything up to `position`: the hub and the memory have it.

        Raises:
            TransientError: The disk refuses; it is tried again later.
        """

        def job() -> None:
            self._journal.commit(CONSUMER, Lane.MESSAGE, position)
            self._journal.expire(self._clock() + 1)

        await self._loop.run_in_executor(None, job)

    def settle(self, results: Sequence[tuple[object, Receipt | AsepsisError]]) -> None:
        """Take results from the writer's thread; the loop wakes once per group."""
        with self._lock:
            scheduled = bool(self._results)
            self._results.extend(results)
        if not scheduled:
            # After the loop has ended nobody waits; what was written is durable all the same.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            results, self._results = self._results, []
        for token, result in results:
            cast("Told", token)(result)

    def _submit(self, record: Append, told: Told) -> None:
        try:
            self._journal.submit_to(record, self, told)
        except AsepsisError as error:
            told(error)

    def _record(
        self, lane: Lane, account: Account, producer: str, sequence: int, peer: str, body: bytes
    ) -> Append:
        return Append(
            lane=lane,
            account=account,
            producer=producer,
            epoch=self.epoch,
            sequence=sequence,
            kind=peer,
            body=body,
            received_at_ns=self._clock(),
        )


def parcel_of(record: Record) -> Parcel:
    """Return a stored record as it goes to the hub."""
    append = record.append
    return Parcel(record.position, append.epoch, append.sequence, append.kind, append.body)
