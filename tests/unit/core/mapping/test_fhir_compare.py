"""A bundle beside a signed batch says the same, or the first difference is named."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ContentMismatch, LimitExceeded
from asepsis.core.mapping.fhir_compare import SAME_METRIC_MAX, equal_to_signed
from asepsis.core.mapping.fhir_numeric import Origin, mdc_concept, numeric_to_observation
from asepsis.core.mapping.nomenclature import METRICS_BY_CODE
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.wire import float_type
from asepsis.core.wire.fhir import Component, Observation
from asepsis.core.wire.fhir_types import FhirDecimal, Quantity, Reference

DEVICE = DeviceId.from_eui64(0xACDE480000000001)
START_NS = 1_700_000_000_000_000_000
ORIGIN = Origin(device=DEVICE, start_ns=START_NS)
HEART_RATE, SYS, TEMP = 147842, 150021, 150344
PER_MIN, MMHG, KPA, DEGC = 264864, 266016, 265987, 268192

numerics = st.builds(
    lambda handle, pair, mantissa, exponent, status, offset_ms: Numeric(
        handle=handle,
        mdc_code=pair[0],
        unit_code=pair[1],
        value=(exponent & 0xFF) << 24 | mantissa & 0xFFFFFF,
        status=status,
        offset_ms=offset_ms,
    ),
    st.integers(1, 50),
    st.sampled_from(sorted(METRICS_BY_CODE)).flatmap(
        lambda code: st.tuples(st.just(code), st.sampled_from(METRICS_BY_CODE[code].units))
    ),
    st.integers(-float_type.MANTISSA_MAX, float_type.MANTISSA_MAX),
    st.integers(-12, 12),
    st.sampled_from(MeasurementStatus),
    st.integers(0, 1000),
)


def numeric(code: int = HEART_RATE, unit: int = PER_MIN, value: int = 60, **more: Any) -> Numeric:
    fields = {"handle": 7, "status": MeasurementStatus.VALID, "offset_ms": 0, **more}
    return Numeric(mdc_code=code, unit_code=unit, value=value, **fields)


def seen(*signed: Numeric) -> list[Observation]:
    return [numeric_to_observation(one, ORIGIN).value for one in signed]


def in_unit(value: str, unit: str) -> Quantity:
    return Quantity(value=FhirDecimal(value), system="http://unitsofmeasure.org", code=unit)


@given(st.lists(numerics, max_size=6), st.randoms(use_true_random=False))
def test_what_we_project_equals_what_was_signed_in_any_order(
    signed: list[Numeric], rng: Any
) -> None:
    observations = seen(*signed)
    rng.shuffle(observations)
    equal_to_signed(observations, signed, device=DEVICE, start_ns=START_NS)


@given(st.lists(numerics, min_size=1, max_size=4), st.data())
def test_one_missing_or_added_numeric_is_found(signed: list[Numeric], data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(signed) - 1))
    rest = signed[:gone] + signed[gone + 1 :]
    with pytest.raises(ContentMismatch, match="lacks"):
        equal_to_signed(seen(*rest), signed, device=DEVICE)
    with pytest.raises(ContentMismatch):
        equal_to_signed(seen(*signed), rest, device=DEVICE)


@given(numerics, st.integers(1, 4))
def test_a_number_changed_in_its_last_digit_is_found(signed: Numeric, change: int) -> None:
    mantissa = (signed.value + change) & 0xFFFFFF
    other = numeric(
        signed.mdc_code,
        signed.unit_code,
        signed.value & 0xFF000000 | mantissa,
        handle=signed.handle,
        status=signed.status,
        offset_ms=signed.offset_ms,
    )
    same = seen(signed)[0] == seen(other)[0]  # Both withheld, for example.
    if same or not float_type.is_number(other.value):
        return
    with pytest.raises(ContentMismatch):
        equal_to_signed(seen(other), [signed], device=DEVICE)


CHANGES: list[tuple[str, Callable[[Observation], Observation]]] = [
    ("value", lambda o: change(o, value_quantity=in_unit("60.1", "/min"))),
    ("unit", lambda o: change(o, value_quantity=in_unit("60", "mV"))),
    ("unit", lambda o: change(o, value_quantity=in_unit("60", "bpm"))),
    ("unit", lambda o: change(o, value_quantity=Quantity(value=FhirDecimal(60), code="/min"))),
    ("value", lambda o: change(o, value_quantity=in_unit("60", "Hz"))),
    ("value", lambda o: change(o, value_quantity=None)),
    ("value", lambda o: change(o, value_quantity=Quantity(code="/min"))),
    ("time", lambda o: change(o, effective_date_time="2023-11-14T22:13:20.001Z")),
    ("status", lambda o: change(o, interpretation=marked(MeasurementStatus.QUESTIONABLE))),
    (
        "reason for an absent value",
        lambda o: change(o, data_absent_reason=seen(numeric(value=0x7FFFFF))[0].data_absent_reason),
    ),
    ("which is not signed", lambda o: change(o, code=mdc_concept(SYS))),
    ("which is not signed", lambda o: change(o, device=other_handle(o))),
]


def change(observation: Observation, **fields: Any) -> Observation:
    return msgspec.structs.replace(observation, **fields)


def marked(status: MeasurementStatus) -> Any:
    return seen(numeric(status=status))[0].interpretation


def other_handle(observation: Observation) -> Reference:
    assert observation.device
    return Reference(reference=(observation.device.reference or "")[:-1] + "8")


@pytest.mark.parametrize(
    ("what", "forge"), CHANGES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CHANGES)]
)
def test_each_kind_of_difference_is_named(
    what: str, forge: Callable[[Observation], Observation]
) -> None:
    with pytest.raises(ContentMismatch, match=what) as found:
        equal_to_signed([forge(seen(numeric())[0])], [numeric()], device=DEVICE, start_ns=START_NS)
    assert "60" not in str(found.value), "clinical values do not belong into an error"


def test_another_unit_with_the_same_size_is_equal() -> None:
    signed = [numeric(SYS, KPA, 0xFD000000 | 15_998), numeric(TEMP, DEGC, 37)]
    observations = seen(*signed)
    observations[1] = change(observations[1], value_quantity=in_unit("98.6", "[degF]"))
    observations[0] = change(observations[0], value_quantity=in_unit("15998", "Pa"))
    equal_to_signed(observations, signed, device=DEVICE)
    observations[1] = change(observations[1], value_quantity=in_unit("98.60001", "[degF]"))
    with pytest.raises(ContentMismatch, match="MDC_TEMP differs"):
        equal_to_signed(observations, signed, device=DEVICE)


def test_two_sensors_of_one_kind_are_told_apart_by_handle() -> None:
    left, right = numeric(handle=1, value=60), numeric(handle=2, value=61)
    equal_to_signed(seen(right, left), [left, right], device=DEVICE)
    swapped = seen(numeric(handle=1, value=61), numeric(handle=2, value=60))
    with pytest.raises(ContentMismatch, match="value"):
        equal_to_signed(swapped, [left, right], device=DEVICE)


def test_the_same_value_twice_must_be_signed_twice() -> None:
    with pytest.raises(ContentMismatch, match="not signed"):
        equal_to_signed(seen(numeric(), numeric()), [numeric()], device=DEVICE)


def test_a_compound_observation_counts_once_for_each_part() -> None:
    signed = [
        numeric(SYS + step, MMHG, value, handle=step + 1)
        for step, value in enumerate((120, 80, 90))
    ]
    parts = tuple(Component(code=o.code, value_quantity=o.value_quantity) for o in seen(*signed))
    whole = change(
        seen(signed[0])[0], code=mdc_concept(150020), value_quantity=None, component=parts
    )
    equal_to_signed([whole], signed, device=DEVICE, start_ns=START_NS)
    with pytest.raises(ContentMismatch):
        equal_to_signed([whole], signed[:2], device=DEVICE)


def test_a_private_unit_is_equal_by_its_code() -> None:
    signed = numeric(1024 << 16 | 1, 4 << 16 | 0xF001, 5)
    equal_to_signed(seen(signed), [signed], device=DEVICE)
    with pytest.raises(ContentMismatch, match="unit"):
        equal_to_signed(
            seen(signed), [numeric(signed.mdc_code, 4 << 16 | 0xF002, 5)], device=DEVICE
        )
    with pytest.raises(ContentMismatch, match="value"):
        equal_to_signed(
            seen(signed), [numeric(signed.mdc_code, signed.unit_code, 6)], device=DEVICE
        )


def test_the_number_of_comparisons_is_limited() -> None:
    signed = [numeric(handle=1 + i) for i in range(SAME_METRIC_MAX + 1)]
    equal_to_signed(seen(*signed[:-1])[::-1], signed[:-1], device=DEVICE)
    with pytest.raises(LimitExceeded):
        equal_to_signed(seen(*signed), signed, device=DEVICE)
