"""Time as the house uses it: order is by sequence, never by wall clock."""

from dataclasses import dataclass
from typing import Final

UNSYNCHRONISED_MS: Final = 0xFFFFFFFF
"""Uncertainty that says: this clock was never set from an authenticated source."""


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on a device.

    Attributes:
        boot_id: 16 random bytes made at each boot.
        monotonic_ns: Nanoseconds since that boot, at least 0.
        wall_ns: Nanoseconds since 1970-01-01T00:00:00Z by the device's trusted time, at least 0.
        uncertainty_ms: Largest error of `wall_ns` in milliseconds; `UNSYNCHRONISED_MS` if unknown.
    """

    boot_id: bytes
    monotonic_ns: int
    wall_ns: int
    uncertainty_ms: int

    @property
    def synchronised(self) -> bool:
        """Whether the wall time came from an authenticated source."""
        return self.uncertainty_ms != UNSYNCHRONISED_MS
