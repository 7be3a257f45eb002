"""Numerics and waveforms as values, in the containment of ISO/IEEE 11073-10201."""

from dataclasses import dataclass
from enum import IntEnum

from asepsis.core.model.identity import Assurance, DeviceId


class MeasurementStatus(IntEnum):
    """Why a value is or is not good (ISO/IEEE 11073-10201 MeasurementStatus, reduced)."""

    VALID = 0
    QUESTIONABLE = 1
    INVALID = 2
    CALIBRATING = 3
    NOT_AVAILABLE = 4
    TEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric:
    """One measured number.

    Attributes:
        handle: Metric instance on the device, 1 to 65 535.
        mdc_code: 32-bit MDC code of the metric, partition in the high 16 bits.
        unit_code: 32-bit MDC code of the unit, partition 4 in the high 16 bits.
        value: FLOAT-Type as sent (32-bit integer, ISO/IEEE 11073-20101); decimals are kept.
        status: Quality of the value.
        offset_ms: Milliseconds after the start of the interval, 0 to 65 535.
    """

    handle: int
    mdc_code: int
    unit_code: int
    value: int
    status: MeasurementStatus
    offset_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A numeric with everything a reader needs to judge it.

    Attributes:
        device: Whose value it is.
        assurance: How far that is proven.
        numeric: The value.
        epoch: Boot epoch of the device.
        sequence: Sequence of the batch or bundle that brought it.
        device_time_ns: Wall time of the device, nanoseconds since 1970.
        received_at_ns: Wall time of the hub at arrival, nanoseconds since 1970.
        late: Whether it came on the late lane; late values never enter a live view.
        unverified: Why no chart may have it, such as `range: above what the device declares`; "" if
            it is verified. It is shown all the same.
    """

    device: DeviceId
    assurance: Assurance
    numeric: Numeric
    epoch: int
    sequence: int
    device_time_ns: int
    received_at_ns: int
    late: bool
    unverified: str = ""
