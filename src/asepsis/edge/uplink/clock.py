"""Trusted time on a device: only from an authenticated source, never below what was trusted before.

A stored device may wake with its clock at 1970. It monitors all the same, marks its instants as
unsynchronised, and asks the hub for signed time (REQ-ID-018 to REQ-ID-020).
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from asepsis.core.errors import TrustError
from asepsis.core.model.time import UNSYNCHRONISED_MS, Instant
from asepsis.edge.uplink.files import read_state, write_durably

FLOOR_STEP_NS: Final = 3_600 * 10**9
"""The durable floor is moved at most this often, to spare the flash memory."""
DRIFT_PPM: Final = 100
"""Assumed largest drift of the monotonic clock, parts per million."""


class TrustedClock:
    """Wall time from signed time plus the monotonic clock, above a durable floor.

    Args:
        path: File that keeps the floor over reboots.
        boot_id: 16 random bytes of this boot.
        monotonic: Nanoseconds since boot; never goes back.
        build_ns: Build time of the software, the first floor, nanoseconds since 1970.

    Resource handling: writes `path` durably; thread-safe.
    """

    def __init__(
        self, path: Path, *, boot_id: bytes, monotonic: Callable[[], int], build_ns: int
    ) -> None:
        self._path = path
        self._boot_id = boot_id
        self._monotonic = monotonic
        self._lock = threading.Lock()
        stored = int(read_state(path).get("floor_ns", 0))
        self._floor_ns = max(stored, build_ns)
        self._base_wall_ns = self._floor_ns
        self._base_monotonic_ns = monotonic()
        self._durable_ns = stored
        self._uncertainty_ms = UNSYNCHRONISED_MS

    @property
    def synchronised(self) -> bool:
        """Whether signed time was accepted since this boot."""
        return self._uncertainty_ms != UNSYNCHRONISED_MS

    def now_ns(self) -> int:
        """Return the best known wall time; without synchronisation at least the floor."""
        with self._lock:
            return self._base_wall_ns + self._monotonic() - self._base_monotonic_ns

    def instant(self) -> Instant:
        """Return this moment with its uncertainty."""
        with self._lock:
            monotonic_ns = self._monotonic()
            elapsed_ns = monotonic_ns - self._base_monotonic_ns
            uncertainty_ms = self._uncertainty_ms
            if uncertainty_ms != UNSYNCHRONISED_MS:
                uncertainty_ms += elapsed_ns * DRIFT_PPM // 10**12
            return Instant(
                self._boot_id, monotonic_ns, self._base_wall_ns + elapsed_ns, uncertainty_ms
            )

    def accept(self, wall_ns: int, *, asked_monotonic_ns: int) -> None:
        """Take a verified signed time.

        Args:
            wall_ns: Time in the signed answer, nanoseconds since 1970.
            asked_monotonic_ns: Monotonic clock when the question was sent; half the round trip
                is the uncertainty.

        Raises:
            TrustError: The time lies below the floor of build and last trusted time: a replay.
        """
        with self._lock:
            now_ns = self._monotonic()
            round_trip_ns = now_ns - asked_monotonic_ns
            if wall_ns + round_trip_ns < self._floor_ns:
                raise TrustError("signed time is below the last trusted time")
            self._base_wall_ns = wall_ns + round_trip_ns // 2
            self._base_monotonic_ns = now_ns
            self._uncertainty_ms = max(1, round_trip_ns // 2_000_000)
            if wall_ns >= self._durable_ns + FLOOR_STEP_NS:
                write_durably(self._path, json.dumps({"floor_ns": wall_ns}).encode())
                self._durable_ns = wall_ns
                self._floor_ns = max(self._floor_ns, wall_ns)
