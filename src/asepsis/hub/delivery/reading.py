"""How far the line of a destination has read its lanes; one reading for each lane."""

from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from asepsis.core.journal.ports import Record
from asepsis.core.model.lanes import Lane
from asepsis.hub.delivery.ledger import Ledger
from asepsis.hub.delivery.ports import LaneTail, LineJournal

READ_RECORDS: Final = 32

log = structlog.get_logger("delivery")


class Reading:
    """One lane, as one line reads it.

    Args:
        lane: Which.
        consumer: Name of the line's cursor.
        journal: The durable log.
    """

    def __init__(self, lane: Lane, consumer: str, journal: LineJournal) -> None:
        self.lane = lane
        self.ledger = Ledger(0)
        self.expired = 0
        """Positions that expired before they were read."""
        self._consumer = consumer
        self._journal = journal
        self._tail: LaneTail = journal.subscribe(lane)
        self._empty_to = 0
        self.read = 0
        """Position of the last record that was read."""

    @property
    def behind(self) -> int:
        """Records of the lane that are not dealt with."""
        return max(self._tail.position - self.ledger.committed, 0)

    async def open(self, *, known: bool, from_start: bool, ahead: Iterable[str]) -> None:
        """Find the durable cursor; the consumer is registered.

        Args:
            known: Whether the destination was served before.
            from_start: Whether a new one begins with what the journal still holds.
            ahead: Keys of this lane that were accepted behind the cursor.

        Raises:
            TransientError: The journal does not answer.
        """
        end = self._tail.position
        if not known and not from_start:
            await self._journal.commit(self._consumer, self.lane, end)
        first = await self._journal.pull(self._consumer, self.lane, records_max=1)
        cursor = first[0].position - 1 if first else end
        self.read = cursor
        self.ledger = Ledger(cursor, ahead)

    async def look(self) -> Sequence[Record]:
        """Return the next records, perhaps none.

        Raises:
            TransientError: The journal does not answer.
        """
        end = self._tail.position  # Taken before the look, so nothing can fall between.
        records = await self._journal.read(self.lane, after=self.read, records_max=READ_RECORDS)
        if records and records[0].position > self.read + 1:
            await self._note_expired()
        if not records:
            self._empty_to = end  # Numbers at the end may be left out: no record has them.
        return records

    async def growth(self) -> None:
        """Wait until the lane has more than the last look found."""
        await self._tail.beyond(max(self._empty_to, self.read))

    def passed(self, record: Record) -> None:
        """Note that a record is read."""
        self.read = record.position

    async def save(self) -> None:
        """Move the durable cursor to where everything is dealt with.

        Raises:
            TransientError: The journal does not answer.
        """
        position = self.ledger.reach()
        if position > self.ledger.committed:
            await self._journal.commit(self._consumer, self.lane, position)
            self.ledger.moved(position)

    async def _note_expired(self) -> None:
        """Count what a lane that waits for nobody gave up; numbers may also be left out."""
        first = (await self._journal.status())[self.lane].first
        missing = first - self.read - 1
        if missing > 0:
            self.expired += missing
            log.error(
                "records expired before they were delivered",
                consumer=self._consumer,
                lane=self.lane.value,
                records=missing,
            )
