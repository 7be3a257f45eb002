"""Time, as the processes of a gateway are given it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clocks:
    """Wall and monotonic time, nanoseconds."""

    wall: Callable[[], int]
    monotonic: Callable[[], int]
