"""Which waveform frames are the device's own: frames meet the digests that signed batches promise.

Batch and packet travel on different connections, so either may be first. What is remembered is
bounded in time and number; whatever is forgotten is in the journal, only not shown live.

Source: REQ-ORG-009, REQ-ORG-010.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.wire.frames import WaveformFrame

MEMORY_NS: Final = 5_000_000_000
DIGESTS_MAX: Final = 512
FRAMES_MAX: Final = 128
"""Per device; a device sends some four to sixty frames a second."""


@dataclass(slots=True)
class _Memory:
    promised: dict[bytes, int] = field(default_factory=dict[bytes, int])
    waiting: deque[tuple[int, WaveformFrame]] = field(
        default_factory=deque[tuple[int, WaveformFrame]]
    )


class DigestMemory:
    """Remembers promised digests and waiting frames of every device for `MEMORY_NS`.

    A promise is used up by its frame, so a repeated frame is not shown a second time.
    """

    def __init__(self) -> None:
        self._devices: dict[str, _Memory] = {}

    def promise(
        self, device: str, digests: Iterable[bytes], *, now_ns: int, until_ns: int
    ) -> Sequence[WaveformFrame]:
        """Take the digests of a verified batch.

        Args:
            device: Who signed it.
            digests: SHA-256 of each frame of its interval.
            now_ns: Monotonic nanoseconds.
            until_ns: Until when its frames are of the present; what comes later was held back.

        Returns:
            Frames that were waiting for one of them, now proven.
        """
        memory = self._fresh(device, now_ns)
        memory.promised.update(dict.fromkeys(digests, min(until_ns, now_ns + MEMORY_NS)))
        _cut(memory.promised, DIGESTS_MAX)
        if not memory.waiting:
            return ()
        proven = [f for _, f in memory.waiting if memory.promised.pop(f.digest, None) is not None]
        if proven:
            gone = set(map(id, proven))
            memory.waiting = deque(w for w in memory.waiting if id(w[1]) not in gone)
        return proven

    def frames(
        self, device: str, frames: Iterable[WaveformFrame], *, now_ns: int
    ) -> Sequence[WaveformFrame]:
        """Take the frames of a journalled packet and return those that a batch has promised."""
        memory = self._fresh(device, now_ns)
        proven: list[WaveformFrame] = []
        for frame in frames:
            if memory.promised.pop(frame.digest, now_ns) > now_ns:
                proven.append(frame)
            else:
                memory.waiting.append((now_ns, frame))
        while len(memory.waiting) > FRAMES_MAX:
            memory.waiting.popleft()
        return proven

    def forget(self, device: str) -> None:
        """Drop what is remembered of a device, for example after a revocation."""
        self._devices.pop(device, None)

    def _fresh(self, device: str, now_ns: int) -> _Memory:
        memory = self._devices.get(device)
        if memory is None:
            memory = self._devices[device] = _Memory()
            return memory
        oldest_ns = now_ns - MEMORY_NS
        while memory.waiting and memory.waiting[0][0] < oldest_ns:
            memory.waiting.popleft()
        promised = memory.promised
        while promised:
            first = next(iter(promised))  # Insertion order is, nearly, the order of their ends.
            if promised[first] > now_ns:
                break
            del promised[first]
        return memory


def _cut(promised: dict[bytes, int], most: int) -> None:
    while len(promised) > most:
        del promised[next(iter(promised))]
