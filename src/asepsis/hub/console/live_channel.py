"""One ward's stream: events are gathered for a moment and given to all its viewers as one chunk.

A chunk is made once, whoever watches, so a further viewer costs one write of bytes that exist. A
viewer that does not take them in time is cut and told so.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from asepsis.hub.console import live_events as events
from asepsis.hub.console.live_model import WardBed

SLOW_NS: Final = 3_000_000_000
"""A viewer whose oldest chunk waited this long is cut: it would show the past as the present."""
BYTES_MAX: Final = 8_388_608
CHUNKS_MAX: Final = 1_024
BEDS_MAX: Final = 64
"""Beds of one view; with more a person is asked for a ward, and none is shown half."""


class Viewer:
    """One open stream and what it has yet to be told.

    Attributes:
        wake: Set when something waits.
        ended: Whether `take` has returned the last event.
    """

    def __init__(self) -> None:
        self.ended = False
        self.wake = asyncio.Event()
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._cut: str | None = None

    def push(self, chunk: bytes, now_ns: int) -> None:
        """Queue a chunk; at the limit the viewer is cut."""
        if self._cut is not None:
            return
        waited_ns = now_ns - self._chunks[0][0] if self._chunks else 0
        full = len(self._chunks) >= CHUNKS_MAX or self._bytes + len(chunk) > BYTES_MAX
        if full or waited_ns > SLOW_NS:
            self.end("slow")
            return
        self._chunks.append((now_ns, chunk))
        self._bytes += len(chunk)
        self.wake.set()

    def end(self, reason: str) -> None:
        """Cut the stream: what waits is dropped, and the viewer is told why."""
        self._cut = self._cut or reason
        self._chunks.clear()
        self.wake.set()

    def take(self) -> bytes:
        """Return everything that waits."""
        self.wake.clear()
        if self._cut is not None:
            self.ended = True
            return events.cut(self._cut)
        found = b"".join(chunk for _, chunk in self._chunks)
        self._chunks.clear()
        self._bytes = 0
        return found

    def forget(self) -> None:
        """Drop what waits, but not the news of a cut."""
        if self._cut is None:
            self.take()


class Channel:
    """The beds of one ward, with or without waveforms, and everybody who watches them.

    Args:
        ward: Point of care, None for every bed.
        waveforms: Whether samples are told.
    """

    def __init__(self, ward: str | None, *, waveforms: bool) -> None:
        self.ward = ward
        self.waveforms = waveforms
        self.beds: tuple[WardBed, ...] = ()
        self.wards: tuple[str, ...] = ()
        self.left_out = 0
        self.devices: frozenset[str] = frozenset()
        self.viewers: set[Viewer] = set()
        self.flushed_ns = 0
        self._events: list[bytes] = []

    @property
    def waiting(self) -> bool:
        """Whether events wait to be flushed."""
        return bool(self._events)

    def place(self, beds: Sequence[WardBed]) -> frozenset[str] | None:
        """Take the beds of the ward out of all beds.

        Returns:
            The devices that came; None if nothing at all changed.
        """
        own = tuple(bed for bed in beds if self.ward is None or bed.ward == self.ward)
        wards = tuple(sorted({bed.ward for bed in beds if bed.ward}))
        crowd = len(own) if len(own) > BEDS_MAX else 0
        if crowd:
            own = ()
        if (own, wards, crowd) == (self.beds, self.wards, self.left_out):
            return None
        self.beds, self.wards, self.left_out = own, wards, crowd
        before = self.devices
        self.devices = frozenset(device.name for bed in own for device in bed.devices)
        return self.devices - before

    def append(self, data: bytes) -> None:
        """Gather one event."""
        self._events.append(data)

    def flush(self, *, now_ns: int, wall_ns: int) -> None:
        """Give what was gathered to every viewer, with the hub's time before it."""
        beat = events.beat(monotonic_ns=now_ns, wall_ns=wall_ns)
        chunk = b"".join((beat, *self._events))
        self._events.clear()
        self.flushed_ns = now_ns
        for viewer in self.viewers:
            viewer.push(chunk, now_ns)
