"""The live hub: from accepted batches and the alert lane to every view that watches.

Numerics and waveforms come from the exchange, after they are durable. Alarm events are read from
the alert lane of the journal, by one pump for all views: so they come in order, with a position
that a view can resume at, and none that is durable can be missed.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Sequence
from typing import Final

import structlog

from asepsis.core.errors import TransientError
from asepsis.core.model.alarm import AlarmNotice, AlarmPhase
from asepsis.core.model.identity import Assurance
from asepsis.core.model.lanes import Lane
from asepsis.core.wire.frames import WaveformFrame
from asepsis.hub.delivery import sse
from asepsis.hub.delivery.ports import AlarmReader, DeliveryJournal, LiveNumerics
from asepsis.hub.delivery.rules import ALARMS_UNKNOWN, NUMERIC_FRESH_NS, LiveQuery
from asepsis.hub.delivery.subscriber import Subscriber
from asepsis.hub.delivery.tap import LiveTap

READ_RECORDS: Final = 500
REPLAY_RECORDS_MAX: Final = 20_000
"""Alert records looked at after a reconnect; what is older is in the durable lane."""
ACTIVE_MAX: Final = 20_000
SUBSCRIBERS_MAX: Final = 500
HEARTBEAT_S: Final = 1.0
RETRY_MS: Final = 1_000
RETRY_S: Final = 0.5

log = structlog.get_logger("delivery.live")


class LiveHub:
    """Feeds live views; the exchange's `LiveFeed`.

    Args:
        journal: Where alarm events are read.
        alarms: Reads the alarm events of a record.
        monotonic: Monotonic clock, nanoseconds.
    """

    def __init__(
        self, journal: DeliveryJournal, alarms: AlarmReader, *, monotonic: Callable[[], int]
    ) -> None:
        self._journal = journal
        self._alarms = alarms
        self._monotonic = monotonic
        self._watchers: dict[str, set[Subscriber]] = {}
        self._all: set[Subscriber] = set()
        self._last: dict[str, tuple[int, LiveNumerics]] = {}
        self._active: dict[tuple[str, bytes], AlarmNotice] = {}
        self._unknown: dict[str, int] = {}
        self._position = 0
        self._taps: list[LiveTap] = []

    @property
    def position(self) -> int:
        """Position of the last alert record that was told."""
        return self._position

    def attach(self, tap: LiveTap) -> None:
        """Let a tap read everything from now on; call before the listeners open."""
        self._taps.append(tap)

    def active(self, devices: Container[str]) -> Sequence[AlarmNotice]:
        """Return the last event of every active alarm condition of some devices."""
        return tuple(n for (device, _), n in self._active.items() if device in devices)

    def is_active(self, device: str, condition_id: bytes) -> bool:
        """Say whether an alarm condition is active, as far as the hub was told."""
        return (device, condition_id) in self._active

    def unknown_since(self, device: str) -> int | None:
        """Return since when a device's active conditions may have changed unseen, None if not.

        Source: REQ-ALM-017.
        """
        return self._unknown.get(device)

    def numerics(self, batch: LiveNumerics) -> None:
        """Offer an accepted live batch; returns at once."""
        device = batch.device
        self._last[device] = (self._monotonic(), batch)
        for subscriber in self._watchers.get(device, ()):
            subscriber.numerics(batch)
        for tap in self._taps:
            tap.numerics(batch)

    def waveforms(self, device: str, frames: Sequence[WaveformFrame], assurance: Assurance) -> None:
        """Offer proven frames; returns at once."""
        for tap in self._taps:
            tap.waveforms(device, frames, assurance)
        watchers = [s for s in self._watchers.get(device, ()) if s.query.waveforms]
        if not watchers:
            return
        for frame in frames:
            data = sse.waveform(device, frame, assurance)
            for subscriber in watchers:
                subscriber.push(data)

    def removed(self, device: str) -> None:
        """Forget a revoked device."""
        self._last.pop(device, None)

    def end_all(self, reason: str) -> None:
        """Cut every view, for example because the hub stops."""
        for subscriber in tuple(self._all):
            subscriber.end(reason)
        for tap in self._taps:
            tap.end_all(reason)

    async def restore(self, active: Iterable[AlarmNotice]) -> None:
        """Start at the end of the alert lane; call once before the listeners open.

        Args:
            active: Last event of every condition that is active there.
        """
        self._position = (await self._journal.status())[Lane.ALERT].last
        self._remember(active)

    async def run(self) -> None:
        """Pump the alert lane until cancelled."""
        tail = self._journal.subscribe(Lane.ALERT)
        while True:
            try:
                await tail.beyond(self._position)
                await self._pump_once()
            except TransientError:
                log.warning("the alert lane cannot be read; trying again")
                await asyncio.sleep(RETRY_S)

    async def stream(self, query: LiveQuery) -> AsyncGenerator[bytes]:
        """Yield the bytes of one view until the caller stops or the view is cut.

        Args:
            query: What to watch and where to resume.

        Raises:
            TransientError: Too many views are open.
        """
        if len(self._all) >= SUBSCRIBERS_MAX:
            raise TransientError("too many live views are open", retry_after_s=5)
        subscriber = Subscriber(query)
        self._add(subscriber)
        try:
            # Registered first: what arrives during the replay waits in the queue and is not lost.
            yield sse.retry(RETRY_MS)
            after = self._position
            if query.after is None:
                yield self._still_active(query)
            else:
                async for data in self._replay(query, query.after, through=after):
                    yield data
            self._show_current(subscriber)
            while True:
                data = subscriber.take(now_ns=self._monotonic(), after=after)
                yield data or sse.HEARTBEAT
                if subscriber.is_cut:
                    return
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await subscriber.wake.wait()
                except TimeoutError:
                    continue
        finally:
            self._remove(subscriber)

    async def _replay(self, query: LiveQuery, after: int, *, through: int) -> AsyncGenerator[bytes]:
        """Yield the alarm events of the watched devices in (after, through]."""
        async for position, notices in self.history(query.devices, after, through=through):
            yield b"".join(_numbered(notices, position))

    async def history(
        self, devices: Container[str], after: int, *, through: int
    ) -> AsyncGenerator[tuple[int, Sequence[AlarmNotice]]]:
        """Yield position and alarm events of some devices in (after, through], record by record."""
        after = max(after, through - REPLAY_RECORDS_MAX)
        while after < through:
            records = await self._journal.read(
                Lane.ALERT, after=after, records_max=min(READ_RECORDS, through - after)
            )
            if not records:
                return
            after = records[-1].position
            for record in records:
                if record.position > through:
                    return
                notices = [n for n in self._alarms(record) if n.device in devices]
                if notices:
                    yield record.position, notices

    def _still_active(self, query: LiveQuery) -> bytes:
        return b"".join(self._repeated(notice) for notice in self.active(query.devices))

    def _repeated(self, notice: AlarmNotice) -> bytes:
        """Write the last event of an active condition again, with what is not known of it."""
        told = notice.assurance is not None
        since_ns = self._unknown.get(notice.device) if told else None
        return sse.alarm(notice, position=None, unknown_since_ns=since_ns)

    def _show_current(self, subscriber: Subscriber) -> None:
        oldest_ns = self._monotonic() - NUMERIC_FRESH_NS
        for device in subscriber.query.devices:
            at_ns, batch = self._last.get(device, (0, None))
            if batch is not None and at_ns > oldest_ns:
                subscriber.numerics(batch)

    async def _pump_once(self) -> None:
        while records := await self._journal.read(
            Lane.ALERT, after=self._position, records_max=READ_RECORDS
        ):
            for record in records:
                self._position = record.position
                self._publish(record.position, self._alarms(record))

    def _publish(self, position: int, notices: Sequence[AlarmNotice]) -> None:
        for device in {n.device for n in notices}:
            own = [n for n in notices if n.device == device]
            self._remember(own)
            watchers = self._watchers.get(device)
            if watchers:
                data = b"".join(_numbered(own, position)) + self._marked(own)
                for subscriber in watchers:
                    subscriber.push(data, position=position)
        if notices:
            for tap in self._taps:
                tap.alarms(notices, position)

    def _marked(self, notices: Iterable[AlarmNotice]) -> bytes:
        """Repeat the conditions of devices that have just become unknown, or known again."""
        devices = {n.device for n in notices if n.cause == ALARMS_UNKNOWN}
        told = [n for n in self.active(devices) if n.assurance is not None] if devices else ()
        return b"".join(map(self._repeated, told))

    def _remember(self, notices: Iterable[AlarmNotice]) -> None:
        for notice in notices:
            if notice.cause == ALARMS_UNKNOWN:
                self._note_unknown(notice)
            key = (notice.device, notice.event.condition_id)
            if notice.event.phase is AlarmPhase.END:
                self._active.pop(key, None)
            elif key in self._active or len(self._active) < ACTIVE_MAX:
                self._active[key] = notice

    def _note_unknown(self, notice: AlarmNotice) -> None:
        if notice.event.phase is AlarmPhase.END:
            self._unknown.pop(notice.device, None)
        else:
            self._unknown.setdefault(notice.device, notice.device_time_ns)

    def _add(self, subscriber: Subscriber) -> None:
        self._all.add(subscriber)
        for device in subscriber.query.devices:
            self._watchers.setdefault(device, set()).add(subscriber)

    def _remove(self, subscriber: Subscriber) -> None:
        self._all.discard(subscriber)
        for device in subscriber.query.devices:
            watchers = self._watchers[device]
            watchers.discard(subscriber)
            if not watchers:
                del self._watchers[device]


def _numbered(notices: Sequence[AlarmNotice], position: int) -> list[bytes]:
    """Write the events of one record; only the last carries the position, so none is skipped."""
    last = len(notices) - 1
    return [
        sse.alarm(notice, position=position if index == last else None)
        for index, notice in enumerate(notices)
    ]
