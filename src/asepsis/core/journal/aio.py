"""The journal for one event loop: the loop wakes once per committed group, however large.

Appends and cursor moves are handed to the writers directly; reads run in a few threads of their
own, so that a slow reader never holds up a lane.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, cast

from asepsis.core.errors import AsepsisError, LimitExceeded
from asepsis.core.journal.ports import (
    AccountState,
    Append,
    Journal,
    LaneStatus,
    Receipt,
    Record,
)
from asepsis.core.model.lanes import Account, Lane

THREADS: Final = 4
"""Reads, expiry and registration that may run at once."""

READS_WAITING_MAX: Final = 1024
"""Calls that may wait for such a thread."""

T = TypeVar("T")


class Tail:
    """Follows the end of one lane; a slow follower misses nothing, it just sees a later end.

    Args:
        lane: The lane.
        position: Its end now.
    """

    def __init__(self, lane: Lane, position: int) -> None:
        self.lane = lane
        self.position = position
        self._waiting: set[asyncio.Future[None]] = set()

    async def beyond(self, position: int) -> int:
        """Wait until the lane has grown beyond a position and return its end."""
        while self.position <= position:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)
        return self.position

    def advance(self, position: int) -> None:
        """Note a new end; in the loop's thread."""
        if position > self.position:
            self.position = position
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)


class AsyncJournal:
    """An asyncio face of a journal; every method runs in the loop's thread.

    Args:
        journal: Any adapter.
        loop: The loop it serves, asyncio's own or uvloop.

    Resource handling:
        `close` closes the journal too.
    """

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self._journal = journal
        self._loop = loop
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="journal-read")
        self._reads_waiting = 0
        self._lock = threading.Lock()
        self._scheduled = False
        self._results: list[tuple[object, Receipt | AsepsisError]] = []
        self._ends: dict[Lane, int] = {}
        journal.listen(self._grown)  # First, so that no growth falls between the two.
        self._tails = {lane: Tail(lane, status.last) for lane, status in journal.status().items()}

    async def append(self, record: Append) -> Receipt:
        """Return once the record is durable.

        Raises:
            BackPressure: Queue, watermark or disk full: nothing stored.
            ChainBroken: A fork, or a hash that does not fit.
            InputError: Malformed, or a late record out of order.
            LimitExceeded: Record too large, or too many open gaps.
            TransientError: The disk failed: nothing stored.
        """
        future: asyncio.Future[Receipt] = self._loop.create_future()
        self._journal.submit_to(record, self, future)
        return await future

    async def commit(self, consumer: str, lane: Lane, position: int) -> None:
        """Move a consumer's cursor; return once that is durable.

        Raises:
            NotFound: Unknown consumer or lane.
            InputError: Position beyond the end of the stream.
            BackPressure: Too many moves wait, or the disk is full.
        """
        future: asyncio.Future[Receipt] = self._loop.create_future()
        self._journal.commit_to(consumer, lane, position, self, future)
        await future

    def subscribe(self, lane: Lane) -> Tail:
        """Return the lane's tail: its end now, and a way to wait for more.

        Raises:
            KeyError: A lane the journal does not keep: a mistake of our own.
        """
        return self._tails[lane]

    async def pull(self, consumer: str, lane: Lane, *, records_max: int) -> Sequence[Record]:
        """See `Journal.pull`."""
        return await self._call(lambda: self._journal.pull(consumer, lane, records_max=records_max))

    async def read(self, lane: Lane, *, after: int, records_max: int) -> Sequence[Record]:
        """See `Journal.read`."""
        return await self._call(
            lambda: self._journal.read(lane, after=after, records_max=records_max)
        )

    async def account(self, account: Account, producer: str, epoch: int) -> AccountState:
        """See `Journal.account`."""
        return await self._call(lambda: self._journal.account(account, producer, epoch))

    async def abandon(
        self, account: Account, producer: str, epoch: int, *, through: int
    ) -> Sequence[tuple[int, int]]:
        """See `Journal.abandon`."""
        return await self._call(
            lambda: self._journal.abandon(account, producer, epoch, through=through)
        )

    async def register(self, consumer: str, lanes: Mapping[Lane, bool]) -> None:
        """See `Journal.register`."""
        await self._call(lambda: self._journal.register(consumer, lanes))

    async def expire(self, now_ns: int) -> Mapping[Lane, int]:
        """See `Journal.expire`."""
        return await self._call(lambda: self._journal.expire(now_ns))

    async def status(self) -> Mapping[Lane, LaneStatus]:
        """See `Journal.status`."""
        return await self._call(self._journal.status)

    async def close(self) -> None:
        """Make durable what is queued, tell its senders, and release everything."""
        await self._loop.run_in_executor(None, self._journal.close)
        self._threads.shutdown(wait=False)
        await asyncio.sleep(0)  # Lets the last results reach those who wait for them.

    def settle(self, results: Sequence[tuple[object, Receipt | AsepsisError]]) -> None:
        """Take results from a writer's thread; the loop hears of them with one wake-up."""
        with self._lock:
            self._results.extend(results)
            self._schedule()

    def _grown(self, positions: Mapping[Lane, int]) -> None:
        # No wake-up of its own: the results of the same group follow at once, but for senders
        # that use futures, and then the loop must hear of the growth all the same.
        with self._lock:
            self._ends.update(positions)
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                # The loop is closed, so nobody waits any more; what was written is durable.
                self._scheduled = False
                self._results.clear()

    def _deliver(self) -> None:
        with self._lock:
            results, self._results = self._results, []
            ends, self._ends = self._ends, {}
            self._scheduled = False
        for lane, position in ends.items():
            self._tails[lane].advance(position)
        for token, result in results:
            future = cast("asyncio.Future[Receipt]", token)
            if future.done():
                continue  # Its owner has gone; the record is durable or refused all the same.
            if isinstance(result, Receipt):
                future.set_result(result)
            else:
                future.set_exception(result)

    async def _call(self, job: Callable[[], T]) -> T:
        if self._reads_waiting >= READS_WAITING_MAX:
            raise LimitExceeded(f"{READS_WAITING_MAX} reads wait already")
        self._reads_waiting += 1
        try:
            return await self._loop.run_in_executor(self._threads, job)
        finally:
            self._reads_waiting -= 1
