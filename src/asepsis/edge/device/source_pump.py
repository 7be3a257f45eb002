"""A simulated infusion pump: rate and volumes, no waveform. Pure."""

import random
from collections.abc import Mapping
from enum import Enum
from typing import Final

from asepsis.core.model.alarm import AlarmPriority
from asepsis.edge.device import models
from asepsis.edge.device.catalogue import GENERAL_ALARM, Fault
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.records import Samples
from asepsis.edge.device.sources import TICK_MS

RATES_ML_PER_H: Final = (42.0, 62.5, 83.0, 100.0, 125.0)
BAG_ML: Final = 500.0
_MS_PER_H: Final = 3_600_000


class Infusion(Enum):
    """What can happen to the simulated infusion."""

    NORMAL = "normal"
    OCCLUSION = "occlusion"
    AIR_IN_LINE = "air-in-line"
    NEAR_END = "near-end"
    PAUSED = "paused"
    DELAYED = "delayed"
    KEEP_VEIN_OPEN = "keep-vein-open"
    CHANNEL_ATTACHED = "channel-attached"
    DISCONNECTED = "disconnected"


_EPISODES: Final = frozenset(episode.value for episode in Infusion)
_FAULTS: Final = {
    # No code for either has two sources that agree, so the general one stands there.
    Infusion.OCCLUSION: Fault(AlarmPriority.HIGH, GENERAL_ALARM, "Line occluded"),
    Infusion.AIR_IN_LINE: Fault(AlarmPriority.HIGH, GENERAL_ALARM, "Air in line"),
}
_OCCUPIED: Final = {
    Infusion.PAUSED: Occupied.INFUSION_PAUSED,
    Infusion.DELAYED: Occupied.INFUSION_DELAYED,
    Infusion.KEEP_VEIN_OPEN: Occupied.KEEP_VEIN_OPEN,
    Infusion.CHANNEL_ATTACHED: Occupied.CHANNEL_ATTACHED,
}
_WITHOUT_PATIENT: Final = frozenset(
    {Infusion.DISCONNECTED, Infusion.CHANNEL_ATTACHED, Infusion.DELAYED}
)
"""A set is loaded, or an infusion programmed for later, and nobody is connected yet."""
_STOPPED: Final = frozenset({*_FAULTS, *_WITHOUT_PATIENT, Infusion.PAUSED})
KEEP_OPEN_ML_PER_H: Final = 1.0


class SimulatedPump:
    """An infusion that goes on by itself, the same for the same seed and episodes.

    Args:
        seed: Any integer.
    """

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - simulation, not a secret
        self._rate = rng.choice(RATES_ML_PER_H)
        self._infused = rng.uniform(10, 200)
        self.episode = Infusion.NORMAL

    @property
    def attached(self) -> bool:
        """Whether a patient is connected."""
        return self.episode not in _WITHOUT_PATIENT

    @property
    def occupied(self) -> frozenset[Occupied]:
        """Whether an infusion is paused, waits, or only keeps the vein open."""
        found = _OCCUPIED.get(self.episode)
        return frozenset({found}) if found else frozenset()

    @property
    def _flow(self) -> float:
        """What flows while it flows, ml/h."""
        keeps_open = self.episode is Infusion.KEEP_VEIN_OPEN
        return KEEP_OPEN_ML_PER_H if keeps_open else self._rate

    def samples(self) -> tuple[Samples, ...]:
        """Infuse for `TICK_MS` milliseconds; there is no waveform."""
        if self.episode not in _STOPPED:
            self._infused = min(BAG_ML, self._infused + self._flow * TICK_MS / _MS_PER_H)
        return ()

    def values(self) -> Mapping[int, float | None]:
        """Return the numerics of now by handle; None where there is no signal."""
        on = self.attached
        running = self.episode not in _STOPPED and self._infused < BAG_ML
        found = {
            models.INFUSION_RATE: self._flow if running else 0.0,
            models.VOLUME_INFUSED: self._infused,
            models.VOLUME_SET: BAG_ML,
            models.VOLUME_LEFT: BAG_ML - self._infused,
        }
        return {sign.handle: value if on else None for sign, value in found.items()}

    def faults(self) -> Mapping[int, Fault]:
        """Return an occlusion or air, at the infusion rate."""
        fault = _FAULTS.get(self.episode)
        return {models.INFUSION_RATE.handle: fault} if fault else {}

    def stage(self, key: str) -> bool:
        """Put the infusion into an episode; False if there is none of that name."""
        if key not in _EPISODES:
            return False
        self.episode = Infusion(key)
        if self.episode is Infusion.NEAR_END:
            self._infused = max(self._infused, BAG_ML - 4)
        return True
