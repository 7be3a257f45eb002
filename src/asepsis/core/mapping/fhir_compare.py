"""A FHIR bundle beside a signed batch must say the same, numeric by numeric, or it is refused.

The signed frames are what the device vouches for; the bundle is a projection that other software
reads. A projection that differs, however little, is an error or an attack.

Source: REQ-OBS-007; HL7 PoCD 1.0.0-ballot3.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from asepsis.core.errors import ContentMismatch, InputError, LimitExceeded
from asepsis.core.mapping import nomenclature
from asepsis.core.mapping.fhir_numeric import (
    NS_PER_MS,
    effective_ns,
    handle_of,
    mdc_code_of,
    number_of,
)
from asepsis.core.mapping.fhir_status import (
    ABSENT_SYSTEM,
    StatusMarks,
    reason_of,
    status_of,
)
from asepsis.core.mapping.ucum import Unit, parse
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.wire import float_type
from asepsis.core.wire.fhir import MDC_SYSTEM, UCUM_SYSTEM, Component, Observation
from asepsis.core.wire.fhir_types import CodeableConcept, Quantity

SAME_METRIC_MAX: Final = 128
"""Values of one metric code in a batch that stands beside a bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What one value of the bundle says."""

    code: int
    handle: int | None
    quantity: Quantity | None
    absent: str | None
    status: MeasurementStatus
    time_ns: int | None


def equal_to_signed(
    observations: Iterable[Observation],
    numerics: Sequence[Numeric],
    *,
    device: DeviceId,
    start_ns: int | None = None,
) -> None:
    """Refuse a bundle that does not say exactly what the signed numerics say.

    The order does not matter, the unit may be another of the same dimension if the value fits
    exactly, and every numeric must occur once on both sides.

    Args:
        observations: From the bundle; a compound observation counts once for each part.
        numerics: From the verified batch.
        device: Whose batch it is.
        start_ns: Wall time of the batch; if given, times are compared to the millisecond.

    Raises:
        ContentMismatch: The first difference, by name of the metric and without values.
        InputError: An observation that is no measurement at all.
        LimitExceeded: Over `SAME_METRIC_MAX` values of one metric, or a unit beyond its limits.

    Source: REQ-OBS-007.
    """
    waiting: dict[int, list[Numeric]] = {}
    for numeric in numerics:
        same = waiting.setdefault(numeric.mdc_code, [])
        same.append(numeric)
        if len(same) > SAME_METRIC_MAX:  # Each claim may be tried against each of them.
            raise LimitExceeded(f"over {SAME_METRIC_MAX} values of one metric in a batch")
    for observation in observations:
        for claim in _claims(observation, device, timed=start_ns is not None):
            _consume(claim, waiting, start_ns)
    for code, left in waiting.items():
        if left:
            raise ContentMismatch(f"the bundle lacks {nomenclature.name_of(code)}, which is signed")


def _claims(observation: Observation, device: DeviceId, *, timed: bool) -> Iterable[_Claim]:
    reference = observation.device.reference if observation.device else None
    # Parts of a compound share one reference, so that it cannot name their own handles.
    handle = None if observation.component else handle_of(reference, device)
    time_ns = effective_ns(observation) if timed else None
    for part in observation.component or (observation,):
        yield _claim(part, observation, handle, time_ns)


def _claim(
    part: Observation | Component, whole: Observation, handle: int | None, time_ns: int | None
) -> _Claim:
    marks = StatusMarks(
        security=whole.meta.security if whole.meta else (),
        absent=part.data_absent_reason,
        interpretation=part.interpretation,
    )
    _, status = status_of(marks, [])
    return _Claim(
        code=mdc_code_of(part.code),
        handle=handle,
        quantity=part.value_quantity,
        absent=_absent_code(part.data_absent_reason),
        status=status,
        time_ns=time_ns,
    )


def _absent_code(reason: CodeableConcept | None) -> str | None:
    if reason is None:
        return None
    return next((c.code or "" for c in reason.coding if c.system == ABSENT_SYSTEM), "")


def _consume(claim: _Claim, waiting: dict[int, list[Numeric]], start_ns: int | None) -> None:
    """Take the signed numeric that the claim equals; if none does, name the first difference."""
    candidates = [
        numeric
        for numeric in waiting.get(claim.code, ())
        if claim.handle is None or numeric.handle == claim.handle
    ]
    name = nomenclature.name_of(claim.code)
    if not candidates:
        raise ContentMismatch(f"the bundle has {name}, which is not signed")
    first = ""
    for numeric in candidates:
        difference = _difference(claim, numeric, start_ns)
        if not difference:
            waiting[claim.code].remove(numeric)
            return
        first = first or difference
    raise ContentMismatch(f"{name} differs from its signed twin in its {first}")


def _difference(claim: _Claim, signed: Numeric, start_ns: int | None) -> str:
    """Return the name of what differs, or nothing."""
    if claim.status is not signed.status:
        return "status"
    number = number_of(signed, [])
    special = number if isinstance(number, float_type.FloatSpecial) else None
    if claim.absent != reason_of(signed.status, special):
        return "reason for an absent value"
    if start_ns is not None and claim.time_ns is not None:
        offset_ms = (claim.time_ns - start_ns) // NS_PER_MS
        if offset_ms != signed.offset_ms:
            return "time"
    if claim.absent is not None:
        return "value" if claim.quantity is not None else ""
    assert isinstance(number, Decimal), "a special always has a reason"  # noqa: S101 - own bug only
    return _amount_differs(claim.quantity, number, signed.unit_code)


def _amount_differs(quantity: Quantity | None, number: Decimal, unit_code: int) -> str:
    if quantity is None or quantity.value is None or quantity.comparator is not None:
        return "value"
    expression = quantity.code or ""
    if quantity.system == MDC_SYSTEM:
        if expression != str(unit_code):
            return "unit"
        return "" if quantity.value == number else "value"
    signed = nomenclature.UNITS_BY_CODE.get(unit_code)
    if quantity.system != UCUM_SYSTEM or signed is None:
        return "unit"
    if expression == signed.ucum:
        return "" if quantity.value == number else "value"
    return _converted_differs(quantity.value, expression, number, signed.unit)


def _converted_differs(value: Decimal, expression: str, number: Decimal, signed: Unit) -> str:
    try:
        claimed = parse(expression)
    except InputError:
        return "unit"
    if claimed.dimension != signed.dimension:
        return "unit"
    base = (Fraction(value) + claimed.offset) * claimed.factor
    return "" if base == (Fraction(number) + signed.offset) * signed.factor else "value"
