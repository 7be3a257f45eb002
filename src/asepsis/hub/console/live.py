"""The ward feed: everything live, by bed, for every viewer of a ward.

It is a tap of the live hub. A device's values go to the channel of the ward where it stands; when
it moves, or its patient changes, they leave the old tile at once and nothing that was measured
before is shown at the new one.

Source: REQ-SUB-004, REQ-OBS-010; docs/explanation/ward-view.md.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from asepsis.core.errors import TransientError
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.identity import Assurance
from asepsis.core.wire.frames import WaveformFrame
from asepsis.hub.console import live_events as events
from asepsis.hub.console.live_channel import Channel, Viewer
from asepsis.hub.console.live_model import (
    Alarms,
    DeviceFacts,
    Devices,
    Placement,
    WardBed,
    WardClocks,
)
from asepsis.hub.console.live_rules import WardQuery
from asepsis.hub.console.live_track import Batch, Track
from asepsis.hub.delivery.rules import ALARMS_UNKNOWN

VIEWERS_MAX: Final = 200
FLUSH_S: Final = 0.04
"""Events are gathered this long: the eye sees no difference, and a viewer costs 25 writes a
second. Alarm events do not wait."""
HEARTBEAT_NS: Final = 1_000_000_000
CARE_NS: Final = 250_000_000
"""Pause between two looks for expired values and changed connections."""
STALL_MS: Final = 3_000
RETRY_MS: Final = 500

Binding = tuple[str, str | None, str | None]


class WardFeed:
    """All channels and all viewers.

    Args:
        placement: Where devices stand.
        devices: What is known of them.
        alarms: Active conditions and the alert lane.
        clocks: Wall and monotonic time.
        stream: Name of this run of the hub.
    """

    def __init__(
        self,
        placement: Placement,
        devices: Devices,
        alarms: Alarms,
        *,
        clocks: WardClocks,
        stream: str,
    ) -> None:
        self._placement = placement
        self._devices = devices
        self._alarms = alarms
        self._clocks = clocks
        self._stream = stream
        self._tracks: dict[str, Track] = {}
        self._channels: dict[tuple[str | None, bool], Channel] = {}
        self._of_device: dict[str, list[Channel]] = {}
        self._bindings: dict[str, Binding] = {}
        self._facts: dict[str, tuple[DeviceFacts, Assurance | None]] = {}
        self._wake = asyncio.Event()
        self._version: object = None
        self._cared_ns = 0

    # -- The tap ----------------------------------------------------------------------------

    def numerics(self, batch: Batch) -> None:
        """Take an accepted live batch."""
        self._follow()
        track = self._track(batch.device)
        now_ns = self._clocks.monotonic()
        channels = self._of_device.get(batch.device)
        if not channels:
            track.arrived(batch, now_ns)
            return
        changed, values = track.take(batch, now_ns)
        data = [_metric(track, handle, wave=False) for handle in changed]
        told = self._facts.get(batch.device)
        if told is None or told[1] is not track.assurance:
            # What a value rests on is never told after the value.
            data.insert(0, self._device(track))
        if values:
            data.append(_numerics(track, values, received_at_ns=batch.received_at_ns))
        self._tell(channels, b"".join(data))

    def waveforms(self, device: str, frames: Sequence[WaveformFrame], assurance: Assurance) -> None:
        """Take proven frames."""
        self._follow()
        channels = [c for c in self._of_device.get(device, ()) if c.waveforms]
        if not channels:
            return
        track = self._track(device)
        track.assurance = track.assurance or assurance
        for frame in frames:
            if track.see_wave(frame):
                self._tell(channels, _metric(track, frame.handle, wave=True))
            self._tell(channels, events.waveform(device, frame))

    def alarms(self, notices: Sequence[AlarmNotice], position: int) -> None:
        """Take the alarm events of one record; they are told at once."""
        self._follow()
        touched = {c for n in notices for c in self._of_device.get(n.device, ())}
        for channel in touched:
            own = [n for n in notices if n.device in channel.devices]
            channel.append(self._told(own, position))
            for name in sorted({n.device for n in own if n.cause == ALARMS_UNKNOWN}):
                # They became unknown, or known again: each is told anew, with that.
                channel.append(self._active(name))
            self._flush(channel)

    # -- What else happens ------------------------------------------------------------------

    def revoked(self, name: str) -> None:
        """Blank a revoked device and show it as revoked, at once."""
        self._follow()
        self._tracks.pop(name, None)
        channels = self._of_device.get(name, ())
        if channels:
            self._track(name).watch()
        for channel in channels:
            channel.append(self._snapshot_of(name, waveforms=channel.waveforms))
            self._flush(channel)

    def end_all(self, reason: str) -> None:
        """Cut every stream, for example because the hub stops."""
        for channel in self._channels.values():
            for viewer in channel.viewers:
                viewer.end(reason)

    async def run(self) -> None:
        """Flush, beat, and blank what is stale, until cancelled."""
        while True:
            if not self._channels:
                self._wake.clear()
                await self._wake.wait()
            await asyncio.sleep(FLUSH_S)
            self._turn()

    async def open(self, query: WardQuery) -> AsyncGenerator[bytes]:
        """Yield the bytes of one view until the caller stops or the view is cut.

        Args:
            query: What to show and where to resume.

        Raises:
            TransientError: Too many views are open.
        """
        if self._viewers() >= VIEWERS_MAX:
            raise TransientError("too many ward views are open", retry_after_s=5)
        viewer = Viewer()
        channel = self._join(query, viewer)
        try:
            yield self._hello(query)
            # Until nothing is left: what happens during the replay is replayed too.
            told = self._alarms.position if query.after is None else query.after
            while told < self._alarms.position:
                through = self._alarms.position
                async for data in self._past(channel, told, through):
                    yield data
                told = through
            self._follow()
            viewer.forget()  # The snapshot holds all of it.
            yield self._snapshot(channel)
            while not viewer.ended:
                await viewer.wake.wait()
                yield viewer.take()
        finally:
            self._leave(channel, viewer)

    async def _past(self, channel: Channel, after: int, through: int) -> AsyncGenerator[bytes]:
        history = self._alarms.history(channel.devices, after, through=through)
        async for position, notices in history:
            yield self._told(notices, position, past=True)

    # -- Channels ---------------------------------------------------------------------------

    def _join(self, query: WardQuery, viewer: Viewer) -> Channel:
        key = (query.ward, query.waveforms)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(query.ward, waveforms=query.waveforms)
            self._version = self._placement.version
            self._place(self._placement.beds())
            self._wake.set()
        channel.viewers.add(viewer)
        return channel

    def _leave(self, channel: Channel, viewer: Viewer) -> None:
        channel.viewers.discard(viewer)
        if not channel.viewers:
            self._channels.pop((channel.ward, channel.waveforms), None)
            self._index()

    def _viewers(self) -> int:
        return sum(len(channel.viewers) for channel in self._channels.values())

    def _follow(self) -> None:
        """Bring beds up to date before anything is told, so that nothing is told of an old bed."""
        if self._placement.version != self._version:
            self._version = self._placement.version
            self._place(self._placement.beds())

    def _place(self, beds: Sequence[WardBed]) -> None:
        self._rebind(beds)
        changes = [(c, c.place(beds)) for c in self._channels.values()]
        self._index()
        for channel, came in changes:
            if came is not None:
                channel.append(_beds(channel))
                for name in sorted(came):
                    channel.append(self._snapshot_of(name, waveforms=channel.waveforms))
                self._flush(channel)

    def _rebind(self, beds: Sequence[WardBed]) -> None:
        """Forget the values of every device whose bed or patient is another one than before."""
        found: dict[str, Binding] = {
            device.name: (
                bed.key,
                device.association,
                device.patient.id if device.patient else None,
            )
            for bed in beds
            for device in bed.devices
        }
        for name, before in self._bindings.items():
            track = self._tracks.get(name)
            if track is not None and found.get(name) != before:
                track.reset()
        self._bindings = found

    def _index(self) -> None:
        index: dict[str, list[Channel]] = {}
        for channel in self._channels.values():
            for name in channel.devices:
                index.setdefault(name, []).append(channel)
        for name in self._of_device.keys() - index.keys():
            self._facts.pop(name, None)
            if name in self._tracks:
                self._tracks[name].unwatch()
        for name in index:
            self._track(name).watch()
        self._of_device = index

    def _track(self, name: str) -> Track:
        found = self._tracks.get(name)
        if found is None:
            found = self._tracks[name] = Track(name)
        return found

    # -- Telling ----------------------------------------------------------------------------

    def _tell(self, channels: Sequence[Channel], data: bytes) -> None:
        for channel in channels:
            channel.append(data)

    def _flush(self, channel: Channel) -> None:
        channel.flush(now_ns=self._clocks.monotonic(), wall_ns=self._clocks.wall())

    def _turn(self) -> None:
        self._follow()
        now_ns = self._clocks.monotonic()
        if now_ns - self._cared_ns >= CARE_NS:
            self._cared_ns = now_ns
            self._care(now_ns)
        for channel in self._channels.values():
            if channel.waiting or now_ns - channel.flushed_ns >= HEARTBEAT_NS:
                self._flush(channel)

    def _care(self, now_ns: int) -> None:
        for name, channels in self._of_device.items():
            track = self._track(name)
            expired = track.expired(now_ns)
            if expired:
                self._tell(channels, events.stale(name, expired))
            if self._facts.get(name) != (self._devices.facts(name), track.assurance):
                self._tell(channels, self._device(track))

    def _hello(self, query: WardQuery) -> bytes:
        return events.hello(
            stream=self._stream,
            ward=query.ward,
            wall_ns=self._clocks.wall(),
            stall_ms=STALL_MS,
            retry_ms=RETRY_MS,
        )

    def _snapshot(self, channel: Channel) -> bytes:
        now_ns = self._clocks.monotonic()
        return b"".join(
            (
                events.beat(monotonic_ns=now_ns, wall_ns=self._clocks.wall()),
                _beds(channel),
                *(
                    self._snapshot_of(name, waveforms=channel.waveforms)
                    for name in sorted(channel.devices)
                ),
                # The position to resume at, also if no alarm event follows.
                events.event("ready", {}, position=self._alarms.position),
            )
        )

    def _snapshot_of(self, name: str, *, waveforms: bool) -> bytes:
        track, now_ns = self._track(name), self._clocks.monotonic()
        parts = [self._device(track)]
        parts += [_metric(track, handle, wave=False) for handle in track.numerics]
        if waveforms:
            parts += [_metric(track, handle, wave=True) for handle in track.waves]
        values = track.current(now_ns)
        if values:
            wall_ns = track.last_wall_ns or 0
            parts.append(_numerics(track, values, received_at_ns=wall_ns))
        parts.append(self._active(name))
        return b"".join(parts)

    def _active(self, name: str) -> bytes:
        track = self._track(name)
        active = self._alarms.active({name})
        return events.alarms(
            name,
            [(n, track.source_label(n.event.source_handle)) for n in active],
            unknown_since_ns=self._alarms.unknown_since(name),
        )

    def _device(self, track: Track) -> bytes:
        facts = self._devices.facts(track.name)
        self._facts[track.name] = facts, track.assurance
        return events.device(facts, assurance=track.assurance, last_wall_ns=track.last_wall_ns)

    def _told(self, notices: Sequence[AlarmNotice], position: int, *, past: bool = False) -> bytes:
        """Write the events of one record; only the last carries the position: none is skipped."""
        parts: list[bytes] = []
        for index, notice in enumerate(notices):
            last = index == len(notices) - 1
            source = self._track(notice.device).source_label(notice.event.source_handle)
            parts.append(
                events.alarm(notice, position=position if last else None, source=source, past=past)
            )
        return b"".join(parts)


def _beds(channel: Channel) -> bytes:
    return events.beds(channel.beds, wards=channel.wards, left_out=channel.left_out)


def _numerics(track: Track, values: Sequence[events.Value], *, received_at_ns: int) -> bytes:
    return events.numerics(
        track.name, values, received_at_ns=received_at_ns, unverified=track.unverified(values)
    )


def _metric(track: Track, handle: int, *, wave: bool) -> bytes:
    mdc_code, shown = (track.waves if wave else track.numerics)[handle]
    return events.metric(track.name, handle, mdc_code, shown=shown, wave=wave)
