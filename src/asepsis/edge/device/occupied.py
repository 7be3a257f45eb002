"""Why a device that delivers nothing and measures nothing is still not idle."""

from enum import StrEnum
from typing import Final, cast


class Occupied(StrEnum):
    """What keeps a device from being idle; the words are those of its reports."""

    PATIENT_ASSOCIATED = "patient-associated"
    INFUSION_PAUSED = "infusion-paused"
    INFUSION_DELAYED = "infusion-delayed"
    KEEP_VEIN_OPEN = "keep-vein-open"
    CHANNEL_ATTACHED = "channel-attached"
    TRANSPORT = "transport"


EVERYTHING: Final = frozenset(Occupied)
"""Stands for "not known": whoever asks whether a device is idle must be told no."""


def read_occupied(said: object) -> frozenset[Occupied]:
    """Read what the critical compartment reports; what is no list of known words is everything."""
    if not isinstance(said, list):
        return EVERYTHING
    try:
        return frozenset(Occupied(str(word)) for word in cast("list[object]", said))
    except ValueError:
        return EVERYTHING
