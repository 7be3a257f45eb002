"""Looks at a batch before it is decoded: header and state only."""

import struct
from typing import Final, NamedTuple

from asepsis.core.errors import FramingError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.time import UNSYNCHRONISED_MS
from asepsis.core.wire.binary import (
    PeekedHeader,
    check_counter,
    device_from_bytes,
    name_end,
)
from asepsis.core.wire.origin import HEAD, MAGIC, STATES

_PEEK: Final = struct.Struct(">8xQ16xQ")


_PEEK_STATE: Final = struct.Struct(">88xBxQI")


def peek_header(data: bytes) -> PeekedHeader:
    """Read device, epoch and sequence of a batch and look at nothing else.

    Raises:
        FramingError: Not the start of a batch.

    Source: standard/frames.md section 3.1.
    """
    at = name_end(data, MAGIC, rest_bytes=HEAD.size)
    epoch, sequence = _PEEK.unpack_from(data, at)
    check_counter(epoch, "epoch", least=1)
    check_counter(sequence, "sequence", least=1)
    return PeekedHeader(device_from_bytes(data[5:at]), epoch, sequence)


class PeekedState(NamedTuple):
    """What a batch says of its device's use, read from the fixed part of its head.

    Attributes:
        state: What the device did for a patient at the start of the interval.
        wall_ns: Start of the interval by the device's time, nanoseconds since 1970.
        synchronised: Whether that time came from an authenticated source.
    """

    state: ClinicalState
    wall_ns: int
    synchronised: bool


def peek_state(data: bytes) -> PeekedState:
    """Read the clinical state of a batch that was checked before, and look at little else.

    Raises:
        FramingError: Not the start of a batch, or a state that is none.

    Source: standard/frames.md section 3.1.
    """
    at = name_end(data, MAGIC, rest_bytes=HEAD.size)
    state, wall_ns, uncertainty_ms = _PEEK_STATE.unpack_from(data, at)
    if state not in STATES:
        raise FramingError(f"clinical state {state} is not of this version")
    return PeekedState(STATES[state], wall_ns, uncertainty_ms != UNSYNCHRONISED_MS)
