"""Where samples come from: a simulated patient, or a recording. Pure; a sensor would be a third."""

from collections.abc import Mapping
from typing import Final, Protocol

from asepsis.edge.device.catalogue import Fault
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.records import Samples

TICK_MS: Final = 100
"""One block of samples, milliseconds: 50 samples at 500 Hz, 10 at 100 Hz."""
TICKS_PER_S: Final = 1_000 // TICK_MS


class Source(Protocol):
    """What the vitals compartment measures with."""

    @property
    def attached(self) -> bool:
        """Whether a patient is connected."""
        ...

    @property
    def occupied(self) -> frozenset[Occupied]:
        """Why it is not idle although nothing may be delivered or measured."""
        ...

    def samples(self) -> tuple[Samples, ...]:
        """Return the next `TICK_MS` milliseconds of every waveform."""
        ...

    def values(self) -> Mapping[int, float | None]:
        """Return the numerics of now by handle; None where there is no signal."""
        ...

    def faults(self) -> Mapping[int, Fault]:
        """Return what the device finds wrong with itself, by the handle it concerns."""
        ...

    def stage(self, key: str) -> bool:
        """Put the simulated patient into an episode; False if there is none of that name."""
        ...
