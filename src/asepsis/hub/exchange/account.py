"""The hub's own account: its records are numbered densely and written in order, whatever happens.

Entries wait in a queue until they are durable; those of one key keep their order, others are
written at once, because a dead switch silences a ward and each device must be told in time.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from asepsis.core.errors import TransientError
from asepsis.core.journal.ports import Append
from asepsis.core.model.lanes import Account, Lane
from asepsis.hub.exchange.ports import ExchangeJournal
from asepsis.hub.exchange.technical import PRODUCER

EPOCH: Final = 1
"""The account never restarts: one epoch, sequences go on after a restart."""
GROUP_ENTRIES: Final = 256
RETRY_S: Final = 0.25

log = structlog.get_logger("exchange.account")


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the alert lane that waits to be written.

    Attributes:
        key: Entries with one key are written in their order.
        kind: Kind of the record.
        body: The record.
        said: What the log says of it; nothing that came from outside.
    """

    key: Hashable
    kind: str
    body: bytes
    said: Mapping[str, str]


class OwnAccount:
    """Writes the hub's own records.

    Args:
        journal: Where they become durable.
        wall: Wall clock, nanoseconds since 1970.
    """

    def __init__(self, journal: ExchangeJournal, *, wall: Callable[[], int]) -> None:
        self._journal = journal
        self._wall = wall
        self._sequence = 0
        self._free: list[int] = []
        self._pending: deque[Entry] = deque()
        self._settled = asyncio.Event()
        self._settled.set()
        self.wake = asyncio.Event()
        self.alert_position = 0
        self.written = 0

    async def restore(self) -> None:
        """Go on where the journal says that it ended."""
        await self._journal.register(PRODUCER, {Lane.EVENT: False})
        account = await self._journal.account(Account.EVENT, PRODUCER, EPOCH)
        self._sequence = account.highest
        self._free = [n for first, last in account.gaps for n in range(first, last + 1)]

    def put(self, entry: Entry) -> None:
        """Queue a record of the alert lane."""
        self._pending.append(entry)
        self._settled.clear()
        self.wake.set()

    async def settled(self) -> None:
        """Wait until everything that was queued is durable."""
        await self._settled.wait()

    async def flush(self) -> bool:
        """Make queued entries durable; what fails stays queued, in order, for the next time.

        Returns:
            Whether nothing waits any more.
        """
        while self._pending:
            group = self._next_group()
            done = await asyncio.gather(*(self._write(entry) for entry in group))
            failed = [entry for entry, written in zip(group, done, strict=True) if not written]
            if failed:
                self._pending.extendleft(reversed(failed))
                await asyncio.sleep(RETRY_S)
                return False
        self._settled.set()
        return True

    async def append(self, lane: Lane, kind: str, body: bytes) -> int:
        """Write one record now and return its position.

        Raises:
            TransientError: Nothing was stored.
        """
        sequence = self._next_sequence()
        try:
            receipt = await self._journal.append(
                Append(
                    lane=lane,
                    account=Account.EVENT,
                    producer=PRODUCER,
                    epoch=EPOCH,
                    sequence=sequence,
                    kind=kind,
                    body=body,
                    received_at_ns=self._wall(),
                )
            )
        except TransientError:
            # Nothing was stored: the number is used again, so the account stays dense.
            heapq.heappush(self._free, sequence)
            raise
        self.written += 1
        return receipt.position

    def _next_group(self) -> list[Entry]:
        """Take entries that may be written at once: no two with one key, so order is kept."""
        group: dict[Hashable, Entry] = {}
        while self._pending and len(group) < GROUP_ENTRIES:
            if self._pending[0].key in group:
                break
            entry = self._pending.popleft()
            group[entry.key] = entry
        return list(group.values())

    async def _write(self, entry: Entry) -> bool:
        try:
            position = await self.append(Lane.ALERT, entry.kind, entry.body)
        except TransientError:
            log.warning("an alarm event of the hub waits for the journal", **entry.said)
            return False
        self.alert_position = max(self.alert_position, position)
        log.info(entry.kind, **entry.said)
        return True

    def _next_sequence(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._sequence += 1
        return self._sequence
