"""The clock of the origin compartment: trusted readings of 20 bytes come in, and nothing else."""

import socket
import struct
import time
from typing import Final, NamedTuple, Self

from asepsis.core.errors import FramingError
from asepsis.core.model.time import UNSYNCHRONISED_MS, Instant
from asepsis.edge.uplink.clock import DRIFT_PPM

BUILD_NS: Final = 1_767_225_600 * 10**9
"""2026-01-01: no signed time can be older than the software."""
READINGS_MAX: Final = 8
"""Readings taken at once; the rest waits for the next round."""
AGE_NS_MAX: Final = 60 * 10**9
"""A reading is at most so old when it comes."""
BACK_MS_MAX: Final = 1_000
"""A reading may correct the clock backwards by so much more than both errors explain."""
_FORM: Final = struct.Struct(">QQI")


class Reading(NamedTuple):
    """Trusted wall time at a moment of the monotonic clock, nanoseconds; its error in ms."""

    wall_ns: int
    monotonic_ns: int
    uncertainty_ms: int

    def at(self, monotonic_ns: int) -> Self:
        """Return the reading carried on to another moment, with the clock's drift."""
        elapsed_ns = monotonic_ns - self.monotonic_ns
        drift_ms = abs(elapsed_ns) * DRIFT_PPM // 10**12
        return self._replace(
            wall_ns=self.wall_ns + elapsed_ns,
            monotonic_ns=monotonic_ns,
            uncertainty_ms=self.uncertainty_ms + drift_ms,
        )

    def encode(self) -> bytes:
        """Return the 20 bytes for the line."""
        return _FORM.pack(*self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            FramingError: Not 20 bytes, or a time before this software was built.
        """
        if len(data) != _FORM.size:
            raise FramingError("not a reading of the time")
        found = cls(*_FORM.unpack(data))
        if found.wall_ns < BUILD_NS:
            raise FramingError("a time before this software was built")
        return found


class OriginClock:
    """Instants of the origin compartment; unsynchronised until the first reading.

    Args:
        boot_id: 16 random bytes of this boot.
        offset_ns: The machine's own wall time minus its monotonic clock, for as long as nothing
            better is known.
        line: Where readings come from.
    """

    def __init__(self, boot_id: bytes, *, offset_ns: int, line: socket.socket) -> None:
        self._boot_id = boot_id
        self._offset_ns = offset_ns
        self._line = line
        self._line.setblocking(False)
        self._reading: Reading | None = None

    @property
    def synchronised(self) -> bool:
        """Whether a reading was taken."""
        return self._reading is not None

    def listen(self) -> None:
        """Take the readings that are there; returns at once, and a wrong one changes nothing."""
        for _ in range(READINGS_MAX):
            try:
                reading = Reading.decode(self._line.recv(_FORM.size + 1))
            except OSError:
                return
            except FramingError:
                continue
            if self._plausible(reading, time.monotonic_ns()):
                self._reading = reading

    def instant(self, monotonic_ns: int) -> Instant:
        """Return a moment of the monotonic clock in trusted time, if there is any."""
        if self._reading is None:
            wall_ns = monotonic_ns + self._offset_ns
            return Instant(self._boot_id, monotonic_ns, wall_ns, UNSYNCHRONISED_MS)
        now = self._reading.at(monotonic_ns)
        # One below the mark for "unsynchronised" is the largest error that can be said.
        uncertainty_ms = min(now.uncertainty_ms, UNSYNCHRONISED_MS - 1)
        return Instant(self._boot_id, monotonic_ns, now.wall_ns, uncertainty_ms)

    def _plausible(self, reading: Reading, now_ns: int) -> bool:
        if not now_ns - AGE_NS_MAX <= reading.monotonic_ns <= now_ns:
            return False
        if self._reading is None:
            return True
        known = self._reading.at(reading.monotonic_ns)
        slack_ms = known.uncertainty_ms + reading.uncertainty_ms + BACK_MS_MAX
        return reading.wall_ns >= known.wall_ns - slack_ms * 1_000_000
