"""Codes, validities, numbers and samples of BICEPS in the terms of the drivers. Pure.

Source: ISO/IEEE 11073-10207 (CodedValue, MetricQuality); ISO/IEEE 11073-10101.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sdc11073.mdib import statecontainers as state
from sdc11073.xml_types import pm_types

from asepsis.core.errors import AsepsisError
from asepsis.core.mapping import nomenclature
from asepsis.core.model.observation import MeasurementStatus
from asepsis.edge.gateway.drivers.sdk import SAMPLES_MAX, Metric, Value, float_of

MISSING: Final = -32_768
MDC: Final = frozenset((None, "", "urn:oid:1.2.840.10004.1.1.1.0.0.1"))
UCUM: Final = frozenset(("http://unitsofmeasure.org", "urn:oid:2.16.840.1.113883.6.8"))
CODE_MAX: Final = 0xFFFF_FFFF

_Validity = pm_types.MeasurementValidity
STATUS: Final[Mapping[object, MeasurementStatus]] = {
    _Validity.VALID: MeasurementStatus.VALID,
    _Validity.VALIDATED_DATA: MeasurementStatus.VALID,
    _Validity.QUESTIONABLE: MeasurementStatus.QUESTIONABLE,
    _Validity.CALIBRATION_ONGOING: MeasurementStatus.CALIBRATING,
    _Validity.INVALID: MeasurementStatus.INVALID,
    _Validity.OVERFLOW: MeasurementStatus.INVALID,
    _Validity.UNDERFLOW: MeasurementStatus.INVALID,
    _Validity.MEASUREMENT_ONGOING: MeasurementStatus.NOT_AVAILABLE,
    _Validity.NA: MeasurementStatus.NOT_AVAILABLE,
}
SHOWN: Final = frozenset((MeasurementStatus.VALID, MeasurementStatus.QUESTIONABLE))


def code_of(coded: Any) -> int | None:
    """Return the MDC code of a coded value or of one of its translations, None if it has none."""
    for one in (coded, *(coded.Translation or ())) if coded is not None else ():
        if one.CodingSystem in MDC and one.Code.isascii() and one.Code.isdecimal():
            code = int(one.Code[:12])
            if 0 < code <= CODE_MAX:
                return code
    return None


def unit_of(coded: Any, metric: int) -> int | None:
    """Return the MDC code of a unit that is given in MDC or in UCUM."""
    found = code_of(coded)
    for one in (coded, *(coded.Translation or ())) if found is None and coded is not None else ():
        if one.CodingSystem in UCUM:
            try:
                found = nomenclature.unit_code_for(metric, one.Code)
            except AsepsisError:
                continue
    return found


def value_of(
    metric: Metric, handle: int, said: state.NumericMetricStateContainer, *, is_used: bool = True
) -> Value:
    """Return a numeric metric's state as a value; without a number where it is not to be shown.

    Args:
        metric: Code and unit.
        handle: Number of the metric.
        said: The state.
        is_used: Whether the device is in use, not in a demonstration or in service.
    """
    status, number = MeasurementStatus.NOT_AVAILABLE, None
    measured: Any = said.MetricValue
    if measured is not None and said.ActivationState == pm_types.ComponentActivation.ON:
        quality: Any = measured.MetricQuality
        status = STATUS.get(quality.Validity, MeasurementStatus.INVALID)
        number = measured.Value if status in SHOWN else None
        if status in SHOWN and number is None:
            status = MeasurementStatus.NOT_AVAILABLE
        elif status in SHOWN and not (is_used and is_real(quality)):
            status = MeasurementStatus.TEST
    return Value(
        handle=handle, code=metric.code, unit=metric.unit, value=float_of(number), status=status
    )


def samples_of(numbers: Sequence[Decimal], resolution: Decimal) -> tuple[int, ...]:
    """Return samples as whole steps of the resolution; what 16 bits cannot say is missing."""
    steps = ((number / resolution).to_integral_value() for number in numbers[-SAMPLES_MAX:])
    return tuple(int(step) if abs(step) < -MISSING else MISSING for step in steps)


def is_real(quality: Any) -> bool:
    """Return whether a value is a measurement, not a test or a demonstration."""
    return quality.Mode in {None, pm_types.GenerationMode.REAL}
