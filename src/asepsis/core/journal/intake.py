"""Where records wait for the writer: one bounded queue per lane, alerts first.

A group takes every waiting alert, then a guaranteed share of each other lane, then fills up in the
order of the lanes. What was chosen is written in order of arrival: all of it becomes durable at
one moment, so the order inside a group costs an alert nothing and opens no false gaps.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple, cast

from asepsis.core.errors import AsepsisError, BackPressure, Unavailable
from asepsis.core.journal.limits import RETRY_QUEUE_S, JournalLimits
from asepsis.core.journal.ports import Append, Receipt, Sink
from asepsis.core.model.lanes import Lane

LONELY_GROUPS: Final = 32
"""Groups that do not wait for company after one that waited in vain."""

ALERT_PARTS: Final = 4
"""A group with an alert takes one part in this many of what it could take otherwise."""

SHARE_PARTS: Final = 16
"""Each waiting lane gets at least one part in this many of a group."""


class Ticket(NamedTuple):
    """A record in the queue.

    Attributes:
        arrival: Ascending number of arrival.
        record: What is to be stored.
        sink: Who is told.
        token: Under which name.
    """

    arrival: int
    record: Append
    sink: Sink
    token: object


class Move(NamedTuple):
    """A cursor to be moved with the next group."""

    consumer: str
    lane: Lane
    position: int
    sink: Sink
    token: object


@dataclass(frozen=True, slots=True)
class Work:
    """What the writer does next.

    Attributes:
        tickets: Records of one group, in order of arrival.
        moves: Cursors to move in the same transaction.
        task: Something to run between groups, or None.
        closing: True once everything queued has been handed out and the journal closes.
    """

    tickets: list[Ticket] = field(default_factory=list[Ticket])
    moves: list[Move] = field(default_factory=list[Move])
    task: "Callable[[], None] | None" = None
    closing: bool = False


class Left(NamedTuple):
    """What was still queued when the writer stopped."""

    tickets: list[Ticket]
    moves: list[Move]
    tasks: list[Callable[[], None]]


class _LaneQueue:
    __slots__ = ("byte_count", "tickets")

    def __init__(self) -> None:
        self.tickets: deque[Ticket] = deque()
        self.byte_count = 0

    def take(self, records_max: int, bytes_max: int, into: list[Ticket]) -> tuple[int, int]:
        records, byte_count = 0, 0
        while self.tickets and records < records_max and byte_count < bytes_max:
            ticket = self.tickets.popleft()
            into.append(ticket)
            records += 1
            byte_count += len(ticket.record.body)
        self.byte_count -= byte_count
        return records, byte_count


class Intake:
    """The queues of one writer.

    Args:
        lanes: Lanes it serves.
        limits: Bounds of queues and groups.
    """

    def __init__(self, lanes: Iterable[Lane], *, limits: JournalLimits) -> None:
        wanted = set(lanes)
        self._limits = limits
        self._queues = {lane: _LaneQueue() for lane in Lane if lane in wanted}
        self._hurried = [self._queues[lane] for lane in wanted & limits.hurried]
        self._moves: deque[Move] = deque()
        self._tasks: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._waiting = 0
        self._arrivals = 0
        self._idle = False
        self._lonely = 0
        self._closed = False

    def offer(self, record: Append, sink: Sink, token: object) -> None:
        """Queue a record.

        Raises:
            BackPressure: The lane's queue is full.
            Unavailable: The journal is closed.
        """
        limits = self._limits
        with self._changed:
            self._refuse_if_closed()
            queue = self._queues[record.lane]
            if (
                len(queue.tickets) >= limits.queue_records_max
                or queue.byte_count >= limits.queue_bytes_max
            ):
                raise BackPressure(
                    f"the queue of lane {record.lane.value} is full", retry_after_s=RETRY_QUEUE_S
                )
            self._arrivals += 1
            queue.tickets.append(Ticket(self._arrivals, record, sink, token))
            queue.byte_count += len(record.body)
            self._waiting += 1
            full = self._waiting == limits.group_records_max
            if self._idle or full or record.lane in limits.hurried:
                self._changed.notify()

    def move(self, move: Move) -> None:
        """Queue the move of a cursor.

        Raises:
            BackPressure: Too many moves wait.
            Unavailable: The journal is closed.
        """
        with self._changed:
            self._refuse_if_closed()
            if len(self._moves) >= self._limits.queue_records_max:
                raise BackPressure("too many cursor moves wait", retry_after_s=RETRY_QUEUE_S)
            self._moves.append(move)
            self._changed.notify()

    def run(self, task: Callable[[], None]) -> None:
        """Queue a task that the writer runs between two groups.

        Raises:
            Unavailable: The journal is closed.
        """
        with self._changed:
            self._refuse_if_closed()
            self._tasks.append(task)
            self._changed.notify()

    def close(self) -> None:
        """Refuse new work; what is queued is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self) -> Work:
        """Wait for work and return the next piece of it."""
        with self._changed:
            while not (self._waiting or self._moves or self._tasks or self._closed):
                self._idle = True
                self._changed.wait()
            self._idle = False
            if self._may_linger():
                self._linger()
            task = self._tasks.popleft() if self._tasks else None
            moves = list(self._moves)
            self._moves.clear()
            tickets = self._choose()
            self._waiting -= len(tickets)
            closing = self._closed and not (tickets or moves or task)
        return Work(tickets, moves, task, closing)

    def drain(self) -> Left:
        """Close and hand out everything at once, for a writer that stops."""
        with self._changed:
            self._closed = True
            tickets = [ticket for queue in self._queues.values() for ticket in queue.tickets]
            left = Left(tickets, list(self._moves), list(self._tasks))
            for queue in self._queues.values():
                queue.tickets.clear()
                queue.byte_count = 0
            self._moves.clear()
            self._tasks.clear()
            self._waiting = 0
        return left

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Unavailable("the journal is closed")

    def _may_linger(self) -> bool:
        return not (
            self._closed
            or self._tasks
            or self._moves
            or self._waiting >= self._limits.group_records_max
            or any(queue.tickets for queue in self._hurried)
        )

    def _linger(self) -> None:
        """Wait for company, unless none came lately: a lone sender that awaits each receipt."""
        if self._lonely:
            self._lonely -= 1
            return
        before = self._waiting
        self._changed.wait(self._limits.linger_s)
        if self._waiting == before:
            self._lonely = LONELY_GROUPS

    def _choose(self) -> list[Ticket]:
        records_left, bytes_left = self._limits.group_records_max, self._limits.group_bytes_max
        share_records, share_bytes = records_left // SHARE_PARTS, bytes_left // SHARE_PARTS
        chosen: list[Ticket] = []
        for lane, queue in self._queues.items():
            quota = (records_left, bytes_left)
            if lane is not Lane.ALERT:
                quota = (min(share_records, records_left), min(share_bytes, bytes_left))
            records, byte_count = queue.take(*quota, chosen)
            records_left, bytes_left = records_left - records, bytes_left - byte_count
            if lane is Lane.ALERT and records:  # The rest of its group must not hold it up long.
                records_left //= ALERT_PARTS
                bytes_left //= ALERT_PARTS
        for queue in self._queues.values():
            records, byte_count = queue.take(records_left, bytes_left, chosen)
            records_left, bytes_left = records_left - records, bytes_left - byte_count
        chosen.sort(key=attrgetter("arrival"))
        return chosen


class FutureSink:
    """Settles `concurrent.futures.Future` tokens."""

    def settle(self, results: Sequence[tuple[object, Receipt | AsepsisError]]) -> None:
        """Complete each future; one that its owner cancelled is left alone."""
        for token, result in results:
            future = cast("Future[Receipt]", token)
            if not future.done() and future.set_running_or_notify_cancel():
                if isinstance(result, Receipt):
                    future.set_result(result)
                else:
                    future.set_exception(result)
