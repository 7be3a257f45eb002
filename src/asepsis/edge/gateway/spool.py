"""Every message is here, sealed and durable, before anybody hears of it; the hub gets it from here.

Messages that arrive while a group is being written become the next group: one record, one write,
one number. A record keeps the number it goes to the hub with, the boot epoch and a dense sequence;
after any crash the same bytes are sent under the same number, so the hub stores them once.
"""

import asyncio
import contextlib
import heapq
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, cast

from asepsis.core.errors import AsepsisError, BackPressure
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append, Journal, Receipt, Record
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.trust.sealing import KeyEncryptionKey
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.trust.sealing_libcrypto import LibcryptoAead
from asepsis.core.wire import message_record
from asepsis.core.wire.message_record import MessageEntry, MessageFindings, MessagePeer
from asepsis.edge.gateway.settings import MIB, SpoolSettings

CONSUMER: Final = "hub"
PERSON: Final = "person"
PRODUCER: Final = "gateway"
REFUSED: Final = "refused"
PAGE: Final = 64
"""Groups that are read from the disk at once."""
GROUP_MESSAGES: Final = 128
GROUP_BYTES: Final = 256 * 1_024
"""A group ends here; one larger message stands alone."""
RECEIVED_MAX: Final = 8_192
RECEIVED_BYTES_MAX: Final = 64 * MIB
"""What may wait in memory for the disk; beyond it nothing is taken."""
QUEUE_RECORDS_MAX: Final = 8_192

Told = Callable[[Receipt | AsepsisError], None]


Heard = Callable[[AsepsisError | None], None]
"""Told once what became of a message: None once the hub has it, or if nobody waits for the hub."""


@dataclass(slots=True)
class Parcel:
    """One durable group on its way to the hub.

    Attributes:
        position: Place in the spool, ascending.
        epoch: Boot epoch it was numbered in.
        sequence: Number in that epoch.
        body: The group, byte for byte as it goes to the hub.
        count: Messages in it.
        arrived_s: Event loop time at which its first message arrived; None in an earlier start.
        heard: Who waits for the hub, by place in the group.
    """

    position: int
    epoch: int
    sequence: int
    body: bytes
    count: int
    arrived_s: float | None = None
    heard: dict[int, Heard] = field(default_factory=dict[int, Heard])

    def tell(self, index: int, error: AsepsisError | None) -> None:
        """Tell whoever waits for one message; once."""
        heard = self.heard.pop(index, None)
        if heard is not None:
            heard(error)

    def tell_all(self, error: AsepsisError | None) -> None:
        """Tell everybody who waits."""
        for index in tuple(self.heard):
            self.tell(index, error)

    def entries(self) -> Sequence[MessageEntry]:
        """Return its messages."""
        return message_record.decode_group(self.body, sequence=self.sequence)


Stored = Callable[[Parcel, int], None]
Failed = Callable[[AsepsisError], None]


class _Waiting(NamedTuple):
    """A message that is not durable yet."""

    findings: MessageFindings
    body: bytes
    at_s: float
    stored: Stored
    failed: Failed


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
            Lane.MESSAGE: LaneBudget(
                bytes_max=settings.bytes_max,
                age_s=0,
                record_bytes_max=message_record.GROUP_BYTES_MAX,
            ),
            Lane.EVENT: LaneBudget(
                bytes_max=settings.refused_bytes_max,
                age_s=0,
                record_bytes_max=message_record.GROUP_BYTES_MAX,
            ),
        },
        clock=clock,
        limits=JournalLimits(
            reserve_bytes=0,
            linger_s=settings.linger_s,
            hurried=frozenset(),
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
        self.on_group: Callable[[Parcel], None] = lambda _: None
        """Told of every durable group, in the order of the spool."""
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._writing = False
        self._next = 1
        self._refused = 0
        self._given_back: list[int] = []
        self._lock = threading.Lock()
        self._results: list[tuple[object, Receipt | AsepsisError]] = []

    def append(
        self, findings: MessageFindings, body: bytes, *, stored: Stored, failed: Failed
    ) -> None:
        """Make a message durable, with others that come meanwhile.

        Args:
            findings: What was found out about it.
            body: Its bytes as they came.
            stored: Told its group and its place in it.
            failed: Told why nothing was stored.
        """
        full = len(self._waiting) >= RECEIVED_MAX or self._waiting_bytes >= RECEIVED_BYTES_MAX
        if full:
            failed(BackPressure("too many messages wait for the disk"))
            return
        self._waiting.append(_Waiting(findings, body, self._loop.time(), stored, failed))
        self._waiting_bytes += len(body)
        if not self._writing:
            self._writing = True
            # At the end of this turn of the loop: what arrived together is written together.
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        """Write the next group; the one after it waits until it is durable."""
        group = self._take()
        if not group:
            self._writing = False
            return
        # A number of a group that failed is used again, so that no hole remains.
        sequence = heapq.heappop(self._given_back) if self._given_back else self._next
        if sequence == self._next:
            self._next += 1
        body = message_record.encode_group([(one.findings, one.body) for one in group])
        record = self._record(Lane.MESSAGE, Account.MESSAGE, PRODUCER, sequence, body)

        def settled(result: Receipt | AsepsisError) -> None:
            if isinstance(result, Receipt):
                parcel = Parcel(
                    result.position, self.epoch, sequence, body, len(group), group[0].at_s
                )
                for index, one in enumerate(group):
                    one.stored(parcel, index)
                self.on_group(parcel)
            else:
                heapq.heappush(self._given_back, sequence)
                for one in group:
                    one.failed(result)
            self._write()

        self._submit(record, settled)

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        peers: set[MessagePeer] = set()
        size, waiting = 0, self._waiting
        while waiting and len(group) < GROUP_MESSAGES:
            peer = waiting[0].findings.peer
            size += len(waiting[0].body)
            if peer not in peers:
                peers.add(peer)
                size += message_record.peer_bytes(peer)
            if group and size > GROUP_BYTES:
                break
            group.append(waiting.popleft())
            self._waiting_bytes -= len(group[-1].body)
        return group

    def keep_refused(self, entry: MessageEntry, told: Told) -> None:
        """Keep a message that the hub refused for good, for a person to look at."""
        self._refused += 1
        assert entry.findings is not None, "a spooled message has findings"  # noqa: S101 - our codec
        body = message_record.encode_group([(entry.findings, entry.body)])
        self._submit(self._record(Lane.EVENT, Account.EVENT, REFUSED, self._refused, body), told)

    async def page(self, after: int) -> Sequence[Parcel]:
        """Return the next groups with a position above `after`."""
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
        self, lane: Lane, account: Account, producer: str, sequence: int, body: bytes
    ) -> Append:
        return Append(
            lane=lane,
            account=account,
            producer=producer,
            epoch=self.epoch,
            sequence=sequence,
            kind=message_record.KIND_GROUP,
            body=body,
            received_at_ns=self._clock(),
        )


def parcel_of(record: Record) -> Parcel:
    """Return a stored group as it goes to the hub."""
    append = record.append
    count = len(message_record.decode_group(append.body))
    return Parcel(record.position, append.epoch, append.sequence, append.body, count)
