"""The line of one destination: a bounded window of items in order, and its durable cursor.

Each destination has a line of its own and reads the journal at its own pace; nothing that one does
holds up another, a lane or an alert. What a line has not delivered stays in the journal: its cursor
is a mandatory one, so nothing expires before it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from asepsis.core.errors import AsepsisError, TransientError
from asepsis.core.journal.ports import Record
from asepsis.core.wire.mllp_client import Answered, Verdict
from asepsis.hub.delivery import letters, progress
from asepsis.hub.delivery.feeder import Feeder
from asepsis.hub.delivery.ledger import lane_of, position_of
from asepsis.hub.delivery.line_values import Figures, LineParts, Pending
from asepsis.hub.delivery.model import (
    SEQUENCE_START_BITS,
    Destination,
    Item,
    ItemKind,
    LetterState,
    Refusal,
)
from asepsis.hub.delivery.reading import Reading

WINDOW_ITEMS: Final = 4_096
WINDOW_BYTES: Final = 8 * 1_048_576
SAVE_EVERY_S: Final = 0.25
EXPIRE_EVERY_S: Final = 1.0
RETRY_S: Final = 1.0
FAULT: Final = "route"
"""Code of a dead letter that its route could not make."""
_NS_PER_S: Final = 1_000_000_000

log = structlog.get_logger("delivery")


class Line:
    """One destination's items; the queue that senders and gateways take from.

    Args:
        destination: Whose.
        parts: What it stands on.
    """

    def __init__(self, destination: Destination, parts: LineParts) -> None:
        self.destination = destination
        self.figures = Figures()
        self._parts = parts
        lanes, consumer = destination.lanes, destination.consumer
        self._readings = {lane: Reading(lane, consumer, parts.journal) for lane in lanes}
        self._feeder = self._new_feeder()
        self._pending: dict[int, Pending] = {}
        self._bytes = 0
        self._next = 0
        self._blocking: int | None = None
        self._room = asyncio.Event()
        self._changed = asyncio.Event()
        self._listener: Callable[[], None] | None = None
        self._arrived: set[asyncio.Event] = set()
        self._done_letters: list[str] = []
        self._done_instances: list[str] = []
        self._parking: set[asyncio.Task[None]] = set()
        self._lettered: set[str] = set()
        self._saved_ahead = False

    @property
    def waiting(self) -> int:
        """Items in the window."""
        return len(self._pending)

    @property
    def blocking(self) -> str:
        """Key of the item that the line stands still for; empty if it does not."""
        pending = self._pending.get(self._blocking or 0)
        return pending.item.key if pending is not None else ""

    @property
    def behind(self) -> int:
        """Records of its lanes that are not dealt with."""
        return sum(reading.behind for reading in self._readings.values())

    @property
    def unassigned(self) -> int:
        """Messages left out of a chart because their device is nobody's, since the hub started."""
        return self._feeder.unassigned

    @property
    def expired(self) -> int:
        """Records that expired before they were read, since the hub started."""
        return sum(reading.expired for reading in self._readings.values())

    async def open(self) -> None:
        """Name the cursor, and load what was accepted ahead of it.

        Raises:
            TransientError: Journal or store does not answer.
        """
        destination, lanes = self.destination, self.destination.lanes
        known, ahead, again, keys = await self._parts.store.read(
            lambda c: progress.load(c, destination.name)
        )
        wanted = dict.fromkeys(lanes, destination.mandatory)
        await self._parts.journal.register(destination.consumer, wanted)
        for lane, reading in self._readings.items():
            mine = [key for key in ahead if lane_of(key, lanes) is lane]
            from_start = destination.options.from_start
            await reading.open(known=known, from_start=from_start, ahead=mine)
        if not known:
            await self._parts.store.write(lambda c: progress.save(c, destination.name))
        self._feeder = self._new_feeder()
        self._next = (self._parts.store.clock() // _NS_PER_S) << SEQUENCE_START_BITS
        self._lettered = set(keys)
        self._saved_ahead = bool(ahead)
        for item in again:
            self._add(item)

    async def run(self) -> None:
        """Feed the window and save progress until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed())
            group.create_task(self._keep())

    def take(self, after: int, *, items_max: int) -> Sequence[tuple[int, bytes]]:
        """Return messages after a number, ready to be sent; see `Outgoing.take`."""
        return [(number, item.body) for number, item in self.look(after, items_max=items_max)]

    def look(self, after: int, *, items_max: int) -> list[tuple[int, Item]]:
        """Return items after a number, in order.

        An item whose refusal stops the line is the last until it is settled: nothing may overtake
        it. What stands before the line is passed over while its letter is written.
        """
        found: list[tuple[int, Item]] = []
        self._drop_overtaken()
        for number, pending in self._pending.items():
            if self._blocking is not None and number >= self._blocking:
                break
            if pending.item.stop and (number <= after or pending.parked):
                break
            if number > after and not pending.parked:
                found.append((number, pending.item))
                if pending.item.stop or len(found) >= items_max:
                    break
        return found

    def settled(self, verdict: Verdict) -> bool:
        """Take an answer; see `Outgoing.settled`."""
        pending = self._pending.get(verdict.number)
        if pending is None:
            return True  # A person decided meanwhile.
        if verdict.answered is Answered.ACCEPTED:
            self.accept(verdict.number)
            return True
        pending.tries += 1
        if verdict.answered is Answered.ERROR and pending.tries < self.destination.options.tries:
            return False
        self._park(verdict.number, pending, Refusal(verdict.code, verdict.text))
        return True

    def refuse(self, number: int, error: AsepsisError) -> None:
        """Take back what cannot be sent; see `Outgoing.refuse`."""
        self.refused(number, Refusal(error.code, str(error)))

    def refused(self, number: int, refusal: Refusal) -> None:
        """Take the word of the destination that it does not take an item."""
        pending = self._pending.get(number)
        if pending is not None and not pending.parked:
            self._park(number, pending, refusal)

    def accept(self, number: int) -> None:
        """Take the word of the destination that it has an item."""
        pending = self._pending.get(number)
        if pending is None:
            return
        self.figures.accepted += 1
        self.figures.trouble = ""
        if pending.item.key in self._lettered:
            self._lettered.discard(pending.item.key)
            self._done_letters.append(pending.item.key)
        if pending.item.kind is ItemKind.INSTANCE:
            self._done_instances.append(progress.instance_of(pending.item.body))
        self._drop(number)

    def listen(self, arrived: Callable[[], None] | None) -> None:
        """Call `arrived` when there may be more to take; see `Outgoing.listen`."""
        self._listener = arrived

    async def arrival(self, after: int, *, wait_s: float) -> None:
        """Wait until there is something after a number, at most `wait_s` seconds."""
        if self.look(after, items_max=1):
            return
        event = asyncio.Event()
        self._arrived.add(event)
        try:
            async with asyncio.timeout(wait_s):
                while not self.look(after, items_max=1):
                    event.clear()
                    await event.wait()
        except TimeoutError:
            return
        finally:
            self._arrived.discard(event)

    def trouble(self, reason: str) -> None:
        """Note why nothing goes now."""
        if not self.figures.trouble:
            self.figures.since_ns = self._parts.store.clock()
            log.warning("delivery waits", destination=self.destination.name, reason=reason)
        self.figures.trouble = reason

    def inject(self, item: Item) -> None:
        """Put a dead letter on its way again, behind what waits."""
        self._lettered.add(item.key)
        self._add(item)
        self._wake()

    def decided(self, key: str, *, again: bool) -> bool:
        """Let the line go on after a person decided about the item that it stands still for.

        Args:
            key: Of the item.
            again: Send it again; else it is dealt with.

        Returns:
            Whether the line stood still for it.
        """
        number = self._blocking
        pending = self._pending.get(number or 0)
        if number is None or pending is None or pending.item.key != key:
            return False
        self._blocking, pending.parked, pending.tries = None, False, 0
        if again:
            # A new number: whoever fetches has seen the old one.
            self._renumber(number)
        else:
            self._drop(number)
        self._wake()
        return True

    async def close(self) -> None:
        """Save progress; call after `run` ended."""
        await asyncio.gather(*self._parking, return_exceptions=True)
        await self._save_progress()

    def _renumber(self, number: int) -> None:
        kept = [pending for at, pending in self._pending.items() if at >= number]
        for at in [at for at in self._pending if at >= number]:
            del self._pending[at]
        for pending in kept:
            self._next += 1
            self._pending[self._next] = pending

    def _park(self, number: int, pending: Pending, refusal: Refusal) -> None:
        """Make a dead letter of an item; the line goes on once that is durable, or stands still."""
        pending.parked = True
        state = LetterState.BLOCKING if pending.item.stop else LetterState.OPEN
        if pending.item.held:
            state = LetterState.HELD
        task = asyncio.create_task(self._write_letter(number, pending, refusal, state))
        self._parking.add(task)
        task.add_done_callback(self._parking.discard)

    async def _write_letter(
        self, number: int, pending: Pending, refusal: Refusal, state: LetterState
    ) -> None:
        store, name = self._parts.store, self.destination.name
        while True:
            try:
                letter = await store.write(
                    lambda c: letters.put(
                        c,
                        store.sealer,
                        destination=name,
                        item=pending.item,
                        refusal=refusal,
                        state=state,
                        now_ns=store.clock(),
                    )
                )
            except TransientError as error:
                self.trouble(f"{error.code}: {error}")
                await asyncio.sleep(RETRY_S)
                continue
            break
        self.figures.refused += 1
        self._lettered.add(pending.item.key)
        log.warning(
            "dead letter", destination=name, letter=letter, state=state.value, code=refusal.code
        )
        if state is LetterState.BLOCKING:
            self._blocking = number
            self.trouble(f"stands still for dead letter {letter}")
        else:
            self._drop(number)
        self._wake()

    def _drop_overtaken(self) -> None:
        """Drop alerts that are late and over: sent now, they would pass for alerts of now."""
        if self.destination.options.carries != "alerts":
            return
        for number, pending in list(self._pending.items()):
            overtaken = pending.item.overtaken
            if overtaken is not None and not pending.parked and not pending.tries and overtaken():
                self.figures.overtaken += 1
                self._drop(number)

    def _drop(self, number: int) -> None:
        pending = self._pending.pop(number)
        self._bytes -= len(pending.item.body)
        for key in pending.item.members:
            self._readings[lane_of(key, self.destination.lanes)].ledger.settle((key,))
        self._changed.set()
        if len(self._pending) < WINDOW_ITEMS // 2 and self._bytes < WINDOW_BYTES // 2:
            self._room.set()
        if pending.item.stop or pending.parked:
            self._wake()

    def _add(self, item: Item) -> None:
        self._next += 1
        self._pending[self._next] = pending = Pending(item)
        self._bytes += len(item.body)
        if item.fault or item.held:
            code = FAULT if item.fault else item.rule or FAULT
            self._park(self._next, pending, Refusal(code, item.fault or item.held))

    def _wake(self) -> None:
        if self._listener is not None:
            self._listener()
        for event in self._arrived:
            event.set()

    async def _feed(self) -> None:
        while True:
            try:
                if not await self._feed_once():
                    await self._wait_for_more()
            except TransientError as error:
                self.trouble(f"{error.code}: {error}")
                await asyncio.sleep(RETRY_S)

    async def _feed_once(self) -> bool:
        """Take the next records of the most urgent lane that has some; say whether one had."""
        while len(self._pending) >= WINDOW_ITEMS or self._bytes >= WINDOW_BYTES:
            self._room.clear()
            await self._room.wait()
        for reading in self._readings.values():
            records = await reading.look()
            for record in records:
                await self._take(reading, record)
            if records:
                return True
        return False

    async def _take(self, reading: Reading, record: Record) -> None:
        name = self.destination.name
        routes = [route for route in self._parts.routes() if name in route.to]
        wanted = self.destination.options.carries
        routes = [route for route in routes if route.document.origin == wanted]
        items = await self._feeder.feed(record, routes, reading.ledger)
        reading.passed(record)
        for item in items:
            self._add(item)
        if items:
            self._wake()
        else:
            self._changed.set()
        await asyncio.sleep(0)  # A long backlog must not keep the loop from the lanes.

    async def _wait_for_more(self) -> None:
        """Wait until a lane grows; samples whose minute is over go meanwhile."""
        readings = self._readings.values()
        waiting = [asyncio.ensure_future(reading.growth()) for reading in readings]
        try:
            while not any(one.done() for one in waiting):
                timeout_s = EXPIRE_EVERY_S if self._feeder.holds_samples else None
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait(waiting, timeout=timeout_s, return_when=first)
                for item in self._feeder.expire():
                    self._add(item)
                    self._wake()
        finally:
            for one in waiting:
                one.cancel()

    async def _keep(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._save_progress()
            except TransientError as error:
                log.warning(
                    "progress is not saved", destination=self.destination.name, code=error.code
                )
                self._changed.set()
            await asyncio.sleep(SAVE_EVERY_S)

    async def _save_progress(self) -> None:
        """First what was done ahead, then the cursor: in between nothing is forgotten."""
        ahead: list[str] = []
        for reading in self._readings.values():
            position = reading.ledger.reach()
            ahead += [key for key in reading.ledger.ahead if position_of(key) > position]
        keys, instances = tuple(self._done_letters), tuple(self._done_instances)
        if keys or instances or ahead or self._saved_ahead:
            name, now_ns = self.destination.name, self._parts.store.clock()
            done = progress.Done(keys, instances, now_ns)
            await self._parts.store.write(lambda c: progress.save(c, name, ahead, done))
        self._saved_ahead = bool(ahead)
        del self._done_letters[: len(keys)]
        del self._done_instances[: len(instances)]
        for reading in self._readings.values():
            await reading.save()

    def _new_feeder(self) -> Feeder:
        parts = self._parts
        return Feeder(
            self.destination, gate=parts.gate, scribe=parts.scribe, monotonic=parts.monotonic
        )
