"""A simulated lung on a ventilator, pressure controlled: airway pressure and flow, numerics. Pure.

One compartment of constant compliance and resistance; the shapes are those that people know, the
physiology is not claimed.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from asepsis.core.wire import frames
from asepsis.edge.device import models
from asepsis.edge.device.catalogue import Fault
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.records import Samples
from asepsis.edge.device.sources import TICK_MS

INSPIRATION: Final = 1 / 3
"""Part of a breath in which the ventilator presses."""
_MISSING: Final = frames.SAMPLE_MISSING


class Breathing(Enum):
    """What can happen to the simulated lung and its tubes."""

    NORMAL = "normal"
    OBSTRUCTION = "obstruction"
    LEAK = "leak"
    APNOEA = "apnoea"
    DISCONNECTED = "disconnected"


_EPISODES: Final = frozenset(episode.value for episode in Breathing)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lung:
    rate: float = 14
    peak: float = 21
    peep: float = 5
    tidal_ml: float = 470
    oxygen: float = 40
    settle: float = 5.0


_LUNGS: Final = {
    Breathing.OBSTRUCTION: _Lung(peak=48, tidal_ml=230, settle=2.0),
    Breathing.LEAK: _Lung(peak=9, peep=1.5, tidal_ml=160),
    Breathing.APNOEA: _Lung(rate=0, tidal_ml=0, peak=5),
}


class SimulatedLung:
    """Waves and numerics that belong together, the same for the same seed and episodes.

    Args:
        seed: Any integer.
    """

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - simulation, not a secret
        self._personal = rng.uniform(0.9, 1.1)
        self._breath = rng.random()
        self.episode = Breathing.NORMAL

    @property
    def attached(self) -> bool:
        """Whether a patient is connected."""
        return self.episode is not Breathing.DISCONNECTED

    @property
    def occupied(self) -> frozenset[Occupied]:
        """Nothing beside a patient occupies it."""
        return frozenset()

    def samples(self) -> tuple[Samples, ...]:
        """Return the next `TICK_MS` milliseconds of pressure and flow."""
        lung = _LUNGS.get(self.episode, _Lung())
        count = models.AIRWAY_PRESSURE.rate_hz * TICK_MS // 1_000
        handles = (models.AIRWAY_PRESSURE.handle, models.AIRWAY_FLOW.handle)
        if not self.attached:
            return tuple(Samples(handle, (_MISSING,) * count) for handle in handles)
        step = lung.rate / 60 * TICK_MS / 1_000 / count
        points = [self._point(lung, (self._breath + step * n) % 1) for n in range(count)]
        self._breath = (self._breath + step * count) % 1
        return tuple(
            Samples(handle, tuple(int(100 * point[at]) for point in points))
            for at, handle in enumerate(handles)
        )

    def values(self) -> Mapping[int, float | None]:
        """Return the numerics of now by handle; None where there is no signal."""
        lung = _LUNGS.get(self.episode, _Lung())
        tidal_ml = lung.tidal_ml * self._personal
        found = {
            models.TIDAL_VOLUME: tidal_ml,
            models.MINUTE_VOLUME: tidal_ml * lung.rate / 1_000,
            models.VENTILATION_RATE: lung.rate,
            models.PEAK_PRESSURE: lung.peak,
            models.PEEP: lung.peep,
            models.OXYGEN: lung.oxygen,
        }
        return {sign.handle: value if self.attached else None for sign, value in found.items()}

    def faults(self) -> Mapping[int, Fault]:
        """What goes wrong shows in the numerics."""
        return {}

    def stage(self, key: str) -> bool:
        """Put the lung into an episode; False if there is none of that name."""
        if key not in _EPISODES:
            return False
        self.episode = Breathing(key)
        return True

    def _point(self, lung: _Lung, at: float) -> tuple[float, float]:
        """Return pressure (cmH2O) and flow (L/min) at a part of the breath."""
        if not lung.rate:
            return lung.peep, 0.0
        # Litres a minute at the start of a phase so that the exponential moves the tidal volume.
        breath_min = 1 / lung.rate
        litres = lung.tidal_ml * self._personal / 1_000
        pressing = at < INSPIRATION
        part = at / INSPIRATION if pressing else (at - INSPIRATION) / (1 - INSPIRATION)
        length_min = breath_min * (INSPIRATION if pressing else 1 - INSPIRATION)
        flow = litres / length_min * lung.settle * math.exp(-lung.settle * part)
        if pressing:
            return lung.peep + (lung.peak - lung.peep) * (1 - math.exp(-12 * part)), flow
        return lung.peep + (lung.peak - lung.peep) * math.exp(-12 * part), -flow
