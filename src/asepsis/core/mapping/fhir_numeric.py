"""Numerics to and from FHIR NumericObservation and CompoundNumericObservation, losses counted.

Source: HL7 PoCD 1.0.0-ballot3 (NumericObservation, CompoundNumericObservation); REQ-OBS-001 to 006.
"""

import hashlib
import zlib
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.mapping import nomenclature
from asepsis.core.mapping.fhir_status import StatusMarks, marks_of, status_of
from asepsis.core.mapping.fhir_time import from_date_time, to_instant
from asepsis.core.mapping.loss import Mapped
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.wire import float_type
from asepsis.core.wire.fhir import MDC_SYSTEM, POCD, UCUM_SYSTEM, Component, Observation
from asepsis.core.wire.fhir_types import (
    CodeableConcept,
    Coding,
    FhirDecimal,
    Meta,
    Quantity,
    Reference,
)

NS_PER_MS: Final = 1_000_000
OFFSET_MS_MAX: Final = 65_535
UNIT_UNSPECIFIED: Final = 4 << 16
"""MDC_DIM_NOS: the unit is not one of the nomenclature (OpenICE, biosig: term 0)."""

_DEVICE_KEY_CHARS: Final = 32
_MEASURED: Final = frozenset({"final", "preliminary", "amended", "corrected"})
_PROFILE: Final = Meta(profile=(f"{POCD}NumericObservation",))
_ROUNDINGS: Final = tuple(Context(prec=p, rounding=ROUND_HALF_EVEN) for p in (7, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where and when an interval of values comes from.

    Attributes:
        device: Whose values they are.
        start_ns: Start of the interval by the device's clock, nanoseconds since 1970.
        subject: FHIR reference of the patient, or None for the device itself (PoCD: a patient
            *or* an MDS is the subject).
    """

    device: DeviceId
    start_ns: int
    subject: str | None = None


def device_key(device: DeviceId) -> str:
    """Return the logical FHIR id of a device: 32 hex digits of the SHA-256 of its name.

    Source: HL7 FHIR R4 datatypes, id (64 characters of a narrow alphabet; a URI does not fit).
    """
    return hashlib.sha256(device.uri.encode()).hexdigest()[:_DEVICE_KEY_CHARS]


def metric_reference(device: DeviceId, handle: int) -> str:
    """Return the FHIR reference of one metric of a device; it carries the handle.

    Source: HL7 PoCD (Observation.device refers to a DeviceMetric).
    """
    return f"DeviceMetric/{device_key(device)}-{handle}"


def subject_reference(origin: Origin) -> Reference:
    """Return who the observation is about: the patient if known, else the device itself."""
    return Reference(reference=origin.subject or f"Device/{device_key(origin.device)}")


def mdc_concept(code: int) -> CodeableConcept:
    """Return an MDC code as FHIR says it: system, context-free number, reference identifier.

    Source: HL7 PoCD terminology (urn:iso:std:iso:11073:10101).
    """
    metric = nomenclature.metric_of(code)
    known = metric is not None and metric.code == code
    display = nomenclature.name_of(code) if known or code in nomenclature.EVENTS_BY_CODE else None
    return CodeableConcept(coding=(Coding(system=MDC_SYSTEM, code=str(code), display=display),))


def numeric_to_observation(numeric: Numeric, origin: Origin) -> Mapped[Observation]:
    """Map one numeric to a PoCD NumericObservation.

    A value whose status forbids to take it for one is not sent as a number; that is counted.

    Raises:
        InputError: The time is outside the years 1970 to 9999.

    Source: HL7 PoCD NumericObservation; REQ-OBS-003.
    """
    losses: list[str] = []
    number = number_of(numeric, losses)
    special = number if isinstance(number, float_type.FloatSpecial) else None
    marks = marks_of(numeric.status, special)
    quantity: Quantity | None = None
    if marks.absent is not None and special is None:
        losses.append(f"value: withheld, its status is {numeric.status.name}")
    if marks.absent is None and isinstance(number, Decimal):
        quantity = _quantity(number, numeric.unit_code, losses)
    elif numeric.unit_code != UNIT_UNSPECIFIED:
        losses.append("unit: an absent value has none in FHIR")
    instant = to_instant(origin.start_ns + numeric.offset_ms * NS_PER_MS)
    observation = Observation(
        meta=Meta(profile=_PROFILE.profile, security=marks.security),
        status="final",
        code=mdc_concept(numeric.mdc_code),
        subject=subject_reference(origin),
        effective_date_time=instant,
        value_quantity=quantity,
        data_absent_reason=marks.absent,
        interpretation=marks.interpretation,
        device=Reference(reference=metric_reference(origin.device, numeric.handle)),
    )
    return Mapped(observation, tuple(losses))


def number_of(numeric: Numeric, losses: list[str]) -> Decimal | float_type.FloatSpecial:
    """Return the number or special of a numeric; a reserved pattern counts as not a number.

    Source: ISO/IEEE 11073-20101 annex, FLOAT-Type.
    """
    if not float_type.is_valid(numeric.value):
        losses.append("value: reserved FLOAT-Type pattern, said as not a number")
        return float_type.FloatSpecial.NAN
    return float_type.to_decimal(numeric.value)


def _quantity(number: Decimal, unit_code: int, losses: list[str]) -> Quantity:
    value = FhirDecimal(number)
    unit = nomenclature.UNITS_BY_CODE.get(unit_code)
    if unit is None:
        # An MDC unit code beside the number is better than a number without any unit.
        losses.append("unit: no UCUM expression is known for its code, kept as MDC code")
        return Quantity(value=value, system=MDC_SYSTEM, code=str(unit_code))
    return Quantity(value=value, unit=unit.ucum, system=UCUM_SYSTEM, code=unit.ucum)


def mdc_code_of(concept: CodeableConcept) -> int:
    """Return the MDC code of a concept.

    Raises:
        InputError: No coding of ISO/IEEE 11073-10101, or not a 32-bit number.

    Source: HL7 PoCD terminology: an MDC coding is required in Observation.code.
    """
    for coding in concept.coding:
        text = coding.code or ""
        if coding.system == MDC_SYSTEM and text.isascii() and text.isdigit() and len(text) <= 10:
            code = int(text)
            if 0 < code <= 0xFFFFFFFF:
                return code
    raise InputError("observation without an MDC code", hint=f"add a coding of {MDC_SYSTEM}")


def observation_to_numerics(
    observation: Observation, *, device: DeviceId, start_ns: int
) -> Mapped[tuple[Numeric, ...]]:
    """Map a NumericObservation, or each part of a compound one, to numerics.

    Args:
        observation: As received.
        device: Whose observation it is; a foreign metric reference gets a derived handle.
        start_ns: Start of the interval that offsets count from, nanoseconds since 1970.

    Returns:
        The numerics in order, and what they could not carry.

    Raises:
        InputError: No MDC code, no time, a bound instead of a value, a status that is no
            measurement, or a time outside of the interval.
        ContentMismatch: A unit of the wrong dimension.
        LimitExceeded: A number or unit beyond its limits.

    Source: HL7 PoCD NumericObservation and CompoundNumericObservation.
    """
    if observation.status not in _MEASURED:
        raise InputError("an observation with this status is no measurement")
    losses = _unmapped(observation)
    offset_ms = _offset(observation, start_ns, losses)
    reference = observation.device.reference if observation.device else None
    numerics: list[Numeric] = []
    parts = observation.component or (observation,)
    for part in parts:
        code = mdc_code_of(part.code)
        value, unit_code, status = _value(part, observation, code, losses)
        numerics.append(
            Numeric(
                handle=_handle(reference, device, code, losses),
                mdc_code=code,
                unit_code=unit_code,
                value=value,
                status=status,
                offset_ms=offset_ms,
            )
        )
    return Mapped(tuple(numerics), tuple(losses))


def effective_ns(observation: Observation) -> int:
    """Return when the value was measured; of a period its start.

    Raises:
        InputError: No time, or one without seconds and zone.

    Source: HL7 PoCD NumericObservation (effective[x] is required).
    """
    period = observation.effective_period
    text = observation.effective_date_time or observation.effective_instant
    text = text or (period.start if period else None)
    if text is None:
        raise InputError("observation without a time of measurement")
    return from_date_time(text)


def _offset(observation: Observation, start_ns: int, losses: list[str]) -> int:
    offset_ms, rest_ns = divmod(effective_ns(observation) - start_ns, NS_PER_MS)
    if not 0 <= offset_ms <= OFFSET_MS_MAX:
        raise InputError("observation is outside of its interval")
    if rest_ns:
        losses.append("effective: finer than a millisecond")
    return offset_ms


def _unmapped(observation: Observation) -> list[str]:
    """Name what a Numeric has no place for; patient and profile are known elsewhere."""
    present = {
        "category": observation.category,
        "extension": observation.extension,
        "note": observation.note,
        "bodySite": observation.body_site,
        "method": observation.method,
        "referenceRange": observation.reference_range,
        "effectivePeriod.end": observation.effective_period and observation.effective_period.end,
        "code.coding": len(observation.code.coding) > 1,
        "code.text": observation.code.text,
    }
    return [f"{name}: has no place in a numeric" for name, value in present.items() if value]


def _value(
    part: Observation | Component, whole: Observation, code: int, losses: list[str]
) -> tuple[int, int, MeasurementStatus]:
    marks = StatusMarks(
        security=whole.meta.security if whole.meta else (),
        absent=part.data_absent_reason,
        interpretation=part.interpretation,
    )
    special, status = status_of(marks, losses)
    quantity = part.value_quantity
    if quantity is None or quantity.value is None:
        if special is None:
            raise InputError("observation with neither a number nor a dataAbsentReason")
        return int(special), UNIT_UNSPECIFIED, status
    if special is not None:
        raise InputError("observation with a number and a dataAbsentReason")
    if quantity.comparator is not None:
        raise InputError("a bound such as '<' is not a measured value")
    return float_of(quantity.value, losses), _unit(quantity, code, losses), status


def _unit(quantity: Quantity, code: int, losses: list[str]) -> int:
    expression = quantity.code or ""
    if quantity.system == MDC_SYSTEM and expression.isascii() and expression.isdigit():
        unit_code = int(expression[:10])
        nomenclature.check_unit(code, unit_code)
        return unit_code
    if quantity.system != UCUM_SYSTEM:
        raise InputError("the unit of a measured value must be in UCUM")
    if not nomenclature.check_ucum(code, expression):
        losses.append("unit: not checked, the metric is not in the tables")
    try:
        unit_code = nomenclature.unit_code_for(code, expression)
    except InputError:
        unit_code = None  # Of an unknown metric: data, never refused (REQ-OBS-005).
    if unit_code is None:
        losses.append("unit: no MDC code is known for it")
        return UNIT_UNSPECIFIED
    return unit_code


def float_of(value: Decimal, losses: list[str]) -> int:
    """Return a number as FLOAT-Type, rounded and counted as a loss where it has too many digits.

    Raises:
        LimitExceeded: It does not fit even rounded.

    Source: ISO/IEEE 11073-20101 annex, FLOAT-Type.
    """
    try:
        return float_type.from_decimal(value)
    except LimitExceeded:
        losses.append("value: rounded to the digits of a FLOAT-Type")
    for rounding in _ROUNDINGS:
        try:
            return float_type.from_decimal(rounding.plus(value))
        except LimitExceeded:
            continue
    raise LimitExceeded("the number does not fit a FLOAT-Type")


def handle_of(reference: str | None, device: DeviceId) -> int | None:
    """Return the handle that our reference to a metric of this device carries, or None.

    Source: HL7 PoCD (Observation.device refers to a DeviceMetric); see `metric_reference`.
    """
    prefix = f"DeviceMetric/{device_key(device)}-"
    if reference is None or not reference.startswith(prefix):
        return None
    digits = reference.removeprefix(prefix)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        return None
    handle = int(digits)
    return handle if 0 < handle < 1 << 16 else None


def _handle(reference: str | None, device: DeviceId, code: int, losses: list[str]) -> int:
    handle = handle_of(reference, device)
    if handle is not None:
        return handle
    losses.append("handle: derived from the reference and code of a foreign metric")
    return zlib.crc32(f"{reference or ''}|{code}".encode()) % 65_535 + 1
