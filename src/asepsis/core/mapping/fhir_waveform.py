"""Waveform frames to FHIR SampleArrayObservation: value = origin + sample * factor.

FHIR text of a waveform costs two to five times the bytes of a frame, so that this is a snapshot on
demand and never the way a waveform travels.

Source: HL7 PoCD 1.0.0-ballot3 (SampleArrayObservation); HL7 FHIR R4 datatypes, SampledData.
"""

from decimal import Context, Decimal
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.mapping import nomenclature
from asepsis.core.mapping.fhir_numeric import (
    Origin,
    mdc_concept,
    metric_reference,
    subject_reference,
)
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.mapping.loss import Mapped
from asepsis.core.wire import float_type
from asepsis.core.wire.fhir import MDC_SYSTEM, POCD, UCUM_SYSTEM, Observation
from asepsis.core.wire.fhir_types import (
    FhirDecimal,
    Meta,
    Period,
    Quantity,
    Reference,
    SampledData,
)
from asepsis.core.wire.frames import SAMPLE_MISSING, WaveformFrame

MISSING: Final = "E"
"""SampledData word for a sample that could not be taken (FHIR R4 SampledData.data)."""

_EXACT: Final = Context(prec=800)  # More digits than bounded decimals can need: nothing is rounded.


def waveform_to_observation(frame: WaveformFrame, origin: Origin) -> Mapped[Observation]:
    """Map one frame to a PoCD SampleArrayObservation; raw samples stay as they are.

    Args:
        frame: Decoded and, if it is to be called the device's own, promised by a verified batch.
        origin: Device and patient; its time is not used, the frame has one.

    Raises:
        InputError: Scale or offset is no number, or the time is outside of 1970 to 9999.

    Source: HL7 PoCD SampleArrayObservation; HL7 FHIR R4 SampledData.
    """
    metric = frame.metric
    losses = ["frame sequence and CRC: have no place in SampledData"]
    samples = frame.samples()
    end_ns = frame.wall_ns + frame.sample_count * metric.period_ns
    observation = Observation(
        meta=Meta(profile=(f"{POCD}SampleArrayObservation",)),
        status="final",
        code=mdc_concept(metric.mdc_code),
        subject=subject_reference(origin),
        effective_period=Period(start=to_instant(frame.wall_ns), end=to_instant(end_ns)),
        value_sampled_data=SampledData(
            origin=_origin(_decimal(metric.offset), metric.unit_code),
            period=FhirDecimal(_milliseconds(metric.period_ns)),
            factor=FhirDecimal(_decimal(metric.scale)),
            dimensions=1,
            data=" ".join(MISSING if s == SAMPLE_MISSING else str(s) for s in samples),
        ),
        device=Reference(reference=metric_reference(origin.device, metric.handle)),
    )
    return Mapped(observation, tuple(losses))


def _decimal(raw: int) -> Decimal:
    number = float_type.to_decimal(raw)
    if isinstance(number, float_type.FloatSpecial):
        raise InputError("scale and offset of a waveform must be numbers")
    return number


def _milliseconds(period_ns: int) -> str:
    """Write nanoseconds as milliseconds without a float in between."""
    whole, rest = divmod(period_ns, 1_000_000)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def _origin(offset: Decimal, unit_code: int) -> Quantity:
    unit = nomenclature.UNITS_BY_CODE.get(unit_code)
    value = FhirDecimal(offset)
    if unit is None:
        return Quantity(value=value, system=MDC_SYSTEM, code=str(unit_code))
    return Quantity(value=value, unit=unit.ucum, system=UCUM_SYSTEM, code=unit.ucum)


def sampled_values(sampled: SampledData) -> list[Decimal | None]:
    """Return the values of a SampledData, exactly; None where no sample could be taken.

    Raises:
        InputError: More than one dimension, or a word that is neither number nor E, U or L.

    Source: HL7 FHIR R4 datatypes, SampledData.
    """
    if sampled.dimensions != 1 or sampled.origin.value is None:
        raise InputError("only samples of one dimension with an origin are read")
    origin, factor = sampled.origin.value, sampled.factor or Decimal(1)
    return [_sample(word, origin, factor) for word in (sampled.data or "").split()]


def _sample(word: str, origin: Decimal, factor: Decimal) -> Decimal | None:
    if word in {"E", "U", "L"}:
        return None
    return _EXACT.fma(FhirDecimal(word), factor, origin)
