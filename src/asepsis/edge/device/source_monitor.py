"""A simulated patient at a monitor: ECG, pleth, arterial pressure, respiration, numerics. Pure."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from asepsis.core.wire import frames
from asepsis.edge.device import models, shapes
from asepsis.edge.device.catalogue import Fault, Wave
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.records import Samples
from asepsis.edge.device.shapes import STEPS
from asepsis.edge.device.sources import TICK_MS, TICKS_PER_S

_MISSING: Final = frames.SAMPLE_MISSING


class Episode(Enum):
    """What can happen to the simulated patient."""

    NORMAL = "normal"
    TACHYCARDIA = "tachycardia"
    DESATURATION = "desaturation"
    APNOEA = "apnoea"
    HYPOTENSION = "hypotension"
    LEAD_OFF = "lead-off"
    DISCONNECTED = "disconnected"


_EPISODES: Final = frozenset(episode.value for episode in Episode)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    heart: float = 76
    saturation: float = 97
    breaths: float = 15
    systolic: float = 122
    diastolic: float = 78
    temperature: float = 36.8


_BODIES: Final = {
    Episode.TACHYCARDIA: _Body(heart=152),
    Episode.DESATURATION: _Body(saturation=82),
    Episode.APNOEA: _Body(breaths=0),
    Episode.HYPOTENSION: _Body(systolic=74, diastolic=40),
}
# In steps of the waves: millivolts, parts and ohms by 1,000.
_ECG: Final = tuple(int(1_000 * height) for height in shapes.ECG)
_PLETH: Final = tuple(int(1_000 * part) for part in shapes.PULSE)
_BREATH: Final = tuple(int(500 * math.sin(math.tau * n / STEPS)) for n in range(STEPS))


def _places(start: float, cycles: float, count: int) -> list[int]:
    """Return where in a table `count` samples lie that go on for so many cycles from `start`."""
    step = cycles / count
    return [int((start + step * n) % 1 * STEPS) for n in range(count)]


class SimulatedPatient:
    """Waves and numerics that belong together, the same for the same seed and episodes.

    Args:
        seed: Any integer.
    """

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - simulation, not a secret
        self._personal = [rng.uniform(-1, 1) for _ in range(6)]
        self._swings = [(rng.uniform(0, math.tau), rng.uniform(20, 90)) for _ in range(6)]
        self._ticks = 0
        self._beat = rng.random()
        self._breath = rng.random()
        self.episode = Episode.NORMAL

    @property
    def attached(self) -> bool:
        """Whether a patient is connected."""
        return self.episode is not Episode.DISCONNECTED

    @property
    def occupied(self) -> frozenset[Occupied]:
        """Nothing beside a patient occupies it."""
        return frozenset()

    def samples(self) -> tuple[Samples, ...]:
        """Return the next `TICK_MS` milliseconds of every waveform."""
        body = self._body()
        beats = body.heart / 60 * TICK_MS / 1_000
        breaths = body.breaths / 60 * TICK_MS / 1_000
        found = tuple(self._wave(wave, body, beats, breaths) for wave in models.MONITOR.waves)
        self._beat = (self._beat + beats) % 1
        self._breath = (self._breath + breaths) % 1
        self._ticks += 1
        return found

    def values(self) -> Mapping[int, float | None]:
        """Return the numerics of now by handle; None where there is no signal."""
        body = self._body()
        on = self.attached
        ecg = on and self.episode is not Episode.LEAD_OFF
        mean = body.diastolic + (body.systolic - body.diastolic) / 3
        found = {
            models.HEART_RATE: body.heart if ecg else None,
            models.PULSE_RATE: body.heart if on else None,
            models.SATURATION: body.saturation if on else None,
            models.RESPIRATION_RATE: body.breaths if ecg else None,
            models.SYSTOLIC: body.systolic if on else None,
            models.DIASTOLIC: body.diastolic if on else None,
            models.MEAN_PRESSURE: mean if on else None,
            models.TEMPERATURE: body.temperature if on else None,
        }
        return {sign.handle: value for sign, value in found.items()}

    def faults(self) -> Mapping[int, Fault]:
        """A monitor finds nothing wrong but missing signals."""
        return {}

    def stage(self, key: str) -> bool:
        """Put the patient into an episode; False if there is none of that name."""
        if key not in _EPISODES:
            return False
        self.episode = Episode(key)
        return True

    def _wave(self, wave: Wave, body: _Body, beats: float, breaths: float) -> Samples:
        count = wave.rate_hz * TICK_MS // 1_000
        if not self.attached:
            return Samples(wave.handle, (_MISSING,) * count)
        if self.episode is Episode.LEAD_OFF and wave in (models.ECG, models.RESPIRATION):
            return Samples(wave.handle, (_MISSING,) * count)
        if wave is models.RESPIRATION:
            places = _places(self._breath, breaths, count)
            return Samples(wave.handle, tuple(_BREATH[at] if body.breaths else 0 for at in places))
        places = _places(self._beat, beats, count)
        if wave is not models.PRESSURE:
            table = _ECG if wave is models.ECG else _PLETH
            return Samples(wave.handle, tuple(table[at] for at in places))
        low, span = 10 * body.diastolic, 10 * (body.systolic - body.diastolic)
        return Samples(wave.handle, tuple(int(low + span * shapes.PULSE[at]) for at in places))

    def _body(self) -> _Body:
        rest = _BODIES.get(self.episode, _Body())
        second = self._ticks / TICKS_PER_S
        heart, saturation, breaths, high, low, warm = (
            own + math.sin(phase + math.tau * second / period_s)
            for own, (phase, period_s) in zip(self._personal, self._swings, strict=True)
        )
        return _Body(
            heart=rest.heart + 4 * heart,
            saturation=min(100.0, rest.saturation + 0.7 * saturation),
            breaths=max(0.0, rest.breaths + 1.5 * breaths) if rest.breaths else 0,
            systolic=rest.systolic + 4 * high,
            diastolic=rest.diastolic + 3 * low,
            temperature=rest.temperature + 0.15 * warm,
        )
