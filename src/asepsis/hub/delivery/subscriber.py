"""One live view: a bounded queue, current values only, and blanks for what is stale.

Pure but for its own state and an event that wakes the stream; nothing here waits on a lane.
"""

import asyncio
from collections import deque
from typing import Final

from asepsis.hub.delivery import sse
from asepsis.hub.delivery.ports import LiveNumerics
from asepsis.hub.delivery.rules import NUMERIC_FRESH_NS, LiveQuery

EVENTS_MAX: Final = 512
BYTES_MAX: Final = 2_097_152


class Subscriber:
    """What one view has yet to be told.

    Alarms and waveforms queue up in order; of numerics only the newest of each device waits, so a
    slow view sees fewer values but never old ones. At the limit the view is cut, with an event.

    Args:
        query: What it watches.
    """

    def __init__(self, query: LiveQuery) -> None:
        self.query = query
        self.wake = asyncio.Event()
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queued_bytes = 0
        self._current: dict[str, LiveNumerics] = {}
        self._renewed: dict[str, dict[int, int]] = {}
        self._cut: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the stream ends after what `take` returns."""
        return self._cut is not None

    def numerics(self, batch: LiveNumerics) -> None:
        """Keep the newest batch of a device."""
        self._current[batch.device] = batch
        self.wake.set()

    def push(self, data: bytes, *, position: int = 0) -> None:
        """Queue an event; position is that of an alarm, 0 for everything else."""
        if self._cut is not None:
            return
        if len(self._queue) >= EVENTS_MAX or self._queued_bytes + len(data) > BYTES_MAX:
            self.end("slow")
            return
        self._queue.append((position, data))
        self._queued_bytes += len(data)
        self.wake.set()

    def end(self, reason: str) -> None:
        """Cut the view: what waits is dropped, the view is told why and connects again."""
        self._cut = reason
        self._queue.clear()
        self._current.clear()
        self.wake.set()

    def take(self, *, now_ns: int, after: int = 0) -> bytes:
        """Return everything that waits, as bytes of the stream.

        Args:
            now_ns: Monotonic nanoseconds.
            after: Alarms up to this position were replayed already and are left out.
        """
        self.wake.clear()
        if self._cut is not None:
            return sse.cut(self._cut)
        parts = [data for position, data in self._queue if not 0 < position <= after]
        self._queue.clear()
        self._queued_bytes = 0
        for device, batch in self._current.items():
            parts.append(self._render(device, batch, now_ns))
        self._current.clear()
        parts += self._stale(now_ns)
        return b"".join(parts)

    def _render(self, device: str, batch: LiveNumerics, now_ns: int) -> bytes:
        observations = batch.observations()
        if not observations:
            return b""
        renewed = self._renewed.setdefault(device, {})
        for observation in observations:
            renewed[observation.numeric.handle] = now_ns
        return sse.numerics(observations)

    def _stale(self, now_ns: int) -> list[bytes]:
        blanks: list[bytes] = []
        for device, renewed in self._renewed.items():
            old = [h for h, at_ns in renewed.items() if now_ns - at_ns >= NUMERIC_FRESH_NS]
            for handle in old:
                del renewed[handle]
            if old:
                blanks.append(sse.stale(device, old))
        return blanks
