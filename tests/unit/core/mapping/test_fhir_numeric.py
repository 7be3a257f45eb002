"""Numerics to FHIR and back: equal, or the loss is named."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ContentMismatch, InputError, LimitExceeded
from asepsis.core.mapping import nomenclature as mdc
from asepsis.core.mapping.fhir_bundle import (
    batch_of,
    bundle_to_numerics,
    numerics_to_bundle,
    observations_of,
)
from asepsis.core.mapping.fhir_numeric import (
    UNIT_UNSPECIFIED,
    Origin,
    numeric_to_observation,
    observation_to_numerics,
)
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.wire import fhir, fhir_codec, float_type
from asepsis.core.wire.fhir_types import (
    CodeableConcept,
    Coding,
    FhirDecimal,
    Identifier,
    Period,
    Quantity,
    Reference,
)

DEVICE = DeviceId.from_eui64(0x0123456789ABCDEF)
START_NS = 1_700_000_000_123_456_789
ORIGIN = Origin(device=DEVICE, start_ns=START_NS, subject="Patient/one")
HEART_RATE, PER_MIN, KPA = 147842, 264864, 265987

known_pairs = st.sampled_from(sorted(mdc.METRICS_BY_CODE)).flatmap(
    lambda code: st.tuples(st.just(code), st.sampled_from(mdc.METRICS_BY_CODE[code].units))
)
pairs = known_pairs | st.tuples(st.just(1024 << 16 | 9), st.sampled_from(sorted(mdc.UNITS_BY_CODE)))
numbers = st.builds(
    lambda m, e: (e & 0xFF) << 24 | m & 0xFFFFFF,
    st.integers(-float_type.MANTISSA_MAX, float_type.MANTISSA_MAX),
    st.integers(-128, 127),
)
specials = st.sampled_from([int(special) for special in float_type.FloatSpecial])
numerics = st.builds(
    lambda handle, pair, value, status, offset_ms: Numeric(
        handle=handle,
        mdc_code=pair[0],
        unit_code=pair[1],
        value=value,
        status=status,
        offset_ms=offset_ms,
    ),
    st.integers(1, 65_535),
    pairs,
    numbers | specials,
    st.sampled_from(MeasurementStatus),
    st.integers(0, 65_535),
)


def sample(**changes: Any) -> Numeric:
    fields = {
        "handle": 7,
        "mdc_code": HEART_RATE,
        "unit_code": PER_MIN,
        "value": 60,
        "offset_ms": 40,
    }
    return Numeric(**{"status": MeasurementStatus.VALID, **fields, **changes})


def back(observation: fhir.Observation, start_ns: int = START_NS) -> Numeric:
    text = fhir_codec.encode(observation)
    read = fhir_codec.decode(text, fhir.Observation)
    assert read.ignored == 0
    (numeric,) = observation_to_numerics(read.resource, device=DEVICE, start_ns=start_ns).value
    return numeric


@given(numerics)
def test_a_numeric_survives_the_way_through_fhir_or_names_its_loss(numeric: Numeric) -> None:
    mapped = numeric_to_observation(numeric, ORIGIN)
    again = back(mapped.value)
    if not mapped.losses:
        same_size = mdc.UNITS_BY_CODE[again.unit_code].unit
        assert same_size == mdc.UNITS_BY_CODE[numeric.unit_code].unit
        assert again.value == numeric.value or float_type.to_decimal(
            again.value
        ) == float_type.to_decimal(numeric.value)
    assert (again.handle, again.mdc_code, again.offset_ms) == (
        numeric.handle,
        numeric.mdc_code,
        numeric.offset_ms,
    )
    assert again.status is numeric.status


@given(known_pairs, numbers)
def test_units_of_known_metrics_come_back_as_the_same_code_or_its_twin(
    pair: tuple[int, int], value: int
) -> None:
    numeric = sample(mdc_code=pair[0], unit_code=pair[1], value=value)
    again = back(numeric_to_observation(numeric, ORIGIN).value)
    assert mdc.UNITS_BY_CODE[again.unit_code].unit == mdc.UNITS_BY_CODE[pair[1]].unit


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (MeasurementStatus.VALID, True),
        (MeasurementStatus.QUESTIONABLE, True),
        (MeasurementStatus.TEST, True),
        (MeasurementStatus.INVALID, False),
        (MeasurementStatus.NOT_AVAILABLE, False),
        (MeasurementStatus.CALIBRATING, False),
    ],
)
def test_a_value_that_is_none_is_not_sent_as_a_number(
    status: MeasurementStatus,
    sent: bool,  # noqa: FBT001
) -> None:
    """Goal: REQ-OBS-003 holds in the projection too, and the withheld number is counted."""
    mapped = numeric_to_observation(sample(status=status), ORIGIN)
    assert (mapped.value.value_quantity is not None) is sent
    assert (mapped.value.data_absent_reason is None) is sent
    assert any("withheld" in loss for loss in mapped.losses) is not sent
    assert back(mapped.value).status is status


@pytest.mark.parametrize(
    ("special", "reason"),
    [
        (float_type.FloatSpecial.NAN, "not-a-number"),
        (float_type.FloatSpecial.NRES, "unsupported"),
        (float_type.FloatSpecial.POSITIVE_INFINITY, "positive-infinity"),
        (float_type.FloatSpecial.NEGATIVE_INFINITY, "negative-infinity"),
    ],
)
def test_specials_become_reasons_and_come_back(special: int, reason: str) -> None:
    observation = numeric_to_observation(sample(value=int(special)), ORIGIN).value
    assert observation.data_absent_reason
    assert observation.data_absent_reason.coding[0].code == reason
    assert back(observation).value == special


def test_a_reserved_pattern_is_said_to_be_no_number() -> None:
    mapped = numeric_to_observation(sample(value=float_type.RESERVED), ORIGIN)
    assert "reserved" in mapped.losses[0]
    assert back(mapped.value).value == float_type.FloatSpecial.NAN


def test_an_absent_value_without_unit_loses_nothing() -> None:
    special = int(float_type.FloatSpecial.NRES)
    numeric = sample(value=special, unit_code=UNIT_UNSPECIFIED)
    mapped = numeric_to_observation(numeric, ORIGIN)
    assert mapped.losses == ()
    assert back(mapped.value) == numeric


def test_a_reason_of_another_system_is_kept_as_not_available() -> None:
    reason = CodeableConcept(
        coding=(
            Coding(system="urn:reasons", code="lead-off"),
            Coding(
                system="http://terminology.hl7.org/CodeSystem/data-absent-reason",
                code="asked-unknown",
            ),
        )
    )
    mapped = observation_to_numerics(
        observation(value_quantity=None, data_absent_reason=reason),
        device=DEVICE,
        start_ns=START_NS,
    )
    assert mapped.value[0].status is MeasurementStatus.NOT_AVAILABLE
    assert any(loss.startswith("dataAbsentReason") for loss in mapped.losses)


def test_a_bundle_may_bring_the_device_along() -> None:
    entries = (
        fhir.BundleEntry(resource=fhir.Device(status="active")),
        fhir.BundleEntry(resource=observation()),
    )
    mapped = bundle_to_numerics(fhir.Bundle(type="batch", entry=entries), device=DEVICE)
    assert len(mapped.value.numerics) == 1


def test_an_unknown_unit_keeps_its_code() -> None:
    strange = 4 << 16 | 0xF001
    mapped = numeric_to_observation(sample(mdc_code=1024 << 16 | 3, unit_code=strange), ORIGIN)
    assert mapped.losses
    assert back(mapped.value).unit_code == strange


def observation(**changes: Any) -> fhir.Observation:
    return msgspec.structs.replace(numeric_to_observation(sample(), ORIGIN).value, **changes)


def quantity(**changes: Any) -> Quantity:
    fields = {"value": FhirDecimal("60"), "system": fhir.UCUM_SYSTEM, "code": "/min"}
    return Quantity(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "entered-in-error"},
        {"status": "registered"},
        {"code": CodeableConcept(coding=(Coding(system="http://loinc.org", code="8867-4"),))},
        {"code": CodeableConcept(coding=(Coding(system=fhir.MDC_SYSTEM, code="heart"),))},
        {"code": CodeableConcept(coding=(Coding(system=fhir.MDC_SYSTEM, code="4294967296"),))},
        {"code": CodeableConcept(coding=(Coding(system=fhir.MDC_SYSTEM, code="0"),))},
        {"effective_date_time": None},
        {"effective_date_time": "2021"},
        {"effective_date_time": "2000-01-01T00:00:00Z"},
        {"effective_date_time": "2100-01-01T00:00:00Z"},
        {"value_quantity": None},
        {"value_quantity": quantity(value=None)},
        {"value_quantity": quantity(comparator="<")},
        {"value_quantity": quantity(system="urn:units")},
        {"value_quantity": quantity(code="bpm")},
        {"value_quantity": quantity(code=None)},
        {"data_absent_reason": CodeableConcept(text="lead off")},
    ],
    ids=str,
)
def test_what_is_no_measured_value_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        observation_to_numerics(observation(**changes), device=DEVICE, start_ns=START_NS)


@pytest.mark.parametrize(
    "unit", [{"code": "mm[Hg]"}, {"system": fhir.MDC_SYSTEM, "code": "266016"}]
)
def test_a_unit_of_the_wrong_dimension_is_refused(unit: dict[str, str]) -> None:
    wrong = observation(value_quantity=quantity(**unit))
    with pytest.raises(ContentMismatch):
        observation_to_numerics(wrong, device=DEVICE, start_ns=START_NS)


def test_a_private_metric_is_data_in_any_unit() -> None:
    """Goal: REQ-OBS-005; the value is taken, and it is said that nobody checked its unit."""
    private = CodeableConcept(coding=(Coding(system=fhir.MDC_SYSTEM, code=str(1024 << 16 | 5)),))
    for code in ("kPa", "furlong"):
        mapped = observation_to_numerics(
            observation(code=private, value_quantity=quantity(code=code)),
            device=DEVICE,
            start_ns=START_NS,
        )
        assert any("not checked" in loss for loss in mapped.losses)
        assert mapped.value[0].unit_code == (KPA if code == "kPa" else UNIT_UNSPECIFIED)


def test_a_number_too_fine_is_rounded_and_said_to_be() -> None:
    noisy = observation(value_quantity=quantity(value=FhirDecimal("36.600000381469727")))
    mapped = observation_to_numerics(noisy, device=DEVICE, start_ns=START_NS)
    assert str(float_type.to_decimal(mapped.value[0].value)) == "36.60000"
    assert any("rounded" in loss for loss in mapped.losses)


def test_a_number_too_large_is_refused() -> None:
    huge = observation(value_quantity=quantity(value=FhirDecimal("9E150")))
    with pytest.raises(LimitExceeded):
        observation_to_numerics(huge, device=DEVICE, start_ns=START_NS)


def test_what_has_no_place_is_counted_one_by_one() -> None:
    rich = observation(
        category=(CodeableConcept(text="vital signs"),),
        code=CodeableConcept(
            coding=(
                Coding(system="http://loinc.org", code="8867-4"),
                Coding(system=fhir.MDC_SYSTEM, code=str(HEART_RATE)),
            ),
            text="HR",
        ),
        effective_date_time=None,
        effective_period=Period(start="2023-11-14T22:13:20.2Z", end="2023-11-14T22:13:21Z"),
        interpretation=(
            CodeableConcept(
                coding=(
                    Coding(
                        system="http://terminology.hl7.org/CodeSystem/measurement-status",
                        code="in-alarm",
                    ),
                )
            ),
        ),
        device=Reference(reference="DeviceMetric/HR"),
    )
    mapped = observation_to_numerics(rich, device=DEVICE, start_ns=START_NS)
    names = {loss.partition(":")[0] for loss in mapped.losses}
    assert names == {"category", "code.coding", "code.text", "effectivePeriod.end", "effective",
                     "interpretation", "handle"}  # fmt: skip
    assert 1 <= mapped.value[0].handle <= 65_535


@pytest.mark.parametrize(
    "reference", ["", "DeviceMetric/x", "-1", "-0", "-65536", "-123456", "-7x"]
)
def test_only_our_own_reference_carries_a_handle(reference: str) -> None:
    own = numeric_to_observation(sample(), ORIGIN).value.device
    assert own
    text = (own.reference or "").removesuffix("-7") + reference
    expected = 1 if reference == "-1" else None
    mapped = observation_to_numerics(
        observation(device=Reference(reference=text)), device=DEVICE, start_ns=START_NS
    )
    derived = any(loss.startswith("handle") for loss in mapped.losses)
    assert derived is (expected is None)


def test_another_devices_metric_is_not_taken_for_our_handle() -> None:
    other = DeviceId.from_eui64(1)
    mapped = observation_to_numerics(observation(), device=other, start_ns=START_NS)
    assert any(loss.startswith("handle") for loss in mapped.losses)


@given(st.lists(numerics, min_size=1, max_size=4))
def test_a_bundle_carries_the_whole_batch(batch: list[Numeric]) -> None:
    bundle = numerics_to_bundle(batch, ORIGIN, epoch=3, sequence=2**63).value
    read = fhir_codec.decode_bundle(fhir_codec.encode(bundle)).resource
    assert batch_of(read) == (3, 2**63)
    mapped = bundle_to_numerics(read, device=DEVICE)
    assert mapped.value.start_ns == START_NS + min(n.offset_ms for n in batch) * 1_000_000
    assert [n.mdc_code for n in mapped.value.numerics] == [n.mdc_code for n in batch]
    assert len({e.full_url for e in bundle.entry}) == len(batch)


@pytest.mark.parametrize("value", [None, "1", "1.", "1.x", "1.2.3", "-1.2", "9" * 21 + ".1"])
def test_a_batch_is_named_by_two_numbers(value: str | None) -> None:
    bundle = numerics_to_bundle([sample()], ORIGIN, epoch=1, sequence=1).value
    assert bundle.identifier
    wrong = msgspec.structs.replace(
        bundle, identifier=Identifier(system=bundle.identifier.system, value=value)
    )
    with pytest.raises(InputError):
        batch_of(wrong)


def test_a_bundle_without_a_batch_names_none() -> None:
    assert batch_of(fhir.Bundle(type="transaction")) is None


@pytest.mark.parametrize(
    "bundle",
    [
        fhir.Bundle(type="searchset"),
        fhir.Bundle(type="transaction", entry=(fhir.BundleEntry(full_url="urn:uuid:0"),)),
        fhir.Bundle(
            type="transaction",
            entry=(fhir.BundleEntry(request=fhir.BundleRequest(method="DELETE", url="Patient/1")),),
        ),
    ],
)
def test_a_device_only_adds_measurements(bundle: fhir.Bundle) -> None:
    with pytest.raises(InputError):
        observations_of(bundle)


def test_waveforms_and_texts_in_a_bundle_are_counted_not_guessed() -> None:
    words = observation(value_quantity=None, value_string="sinus")
    entries = tuple(fhir.BundleEntry(resource=r) for r in (words, observation()))
    mapped = bundle_to_numerics(fhir.Bundle(type="collection", entry=entries), device=DEVICE)
    assert len(mapped.value.numerics) == 1
    assert "observation: its kind of value is no numeric" in mapped.losses
    with pytest.raises(InputError):
        bundle_to_numerics(fhir.Bundle(type="collection", entry=entries[:1]), device=DEVICE)
