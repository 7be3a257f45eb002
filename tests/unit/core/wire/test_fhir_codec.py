"""FHIR JSON: every digit kept, everything bounded, nothing but our errors."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire import fhir, fhir_codec
from asepsis.core.wire.fhir_types import (
    DECIMAL_DIGITS_MAX,
    DECIMAL_EXPONENT_MAX,
    CodeableConcept,
    Coding,
    FhirDecimal,
    Quantity,
    Reference,
)

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "hr",
    "status": "final",
    "code": {"coding": [{"system": fhir.MDC_SYSTEM, "code": "147842"}]},
    "effectiveDateTime": "2021-07-09T11:33:24+02:00",
    "valueQuantity": {"value": 60, "system": fhir.UCUM_SYSTEM, "code": "/min"},
}


def bundle(*resources: dict[str, Any], **more: Any) -> bytes:
    entries = [{"resource": resource} for resource in resources]
    body = {"resourceType": "Bundle", "type": "collection", "entry": entries, **more}
    return json.dumps(body).encode()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
decimals = st.decimals(-(10**20), 10**20, places=4) | st.builds(
    lambda m, e: Decimal(m).scaleb(e), st.integers(-(2**23), 2**23), st.integers(-128, 127)
)
codings = st.builds(Coding, system=texts, code=texts | st.none(), display=texts | st.none())
concepts = st.builds(CodeableConcept, coding=st.tuples(codings), text=texts | st.none())
quantities = st.builds(Quantity, value=decimals.map(FhirDecimal), code=texts)
observations = st.builds(
    fhir.Observation,
    id=st.from_regex(r"[A-Za-z0-9\-.]{1,64}", fullmatch=True),
    status=st.sampled_from(["final", "amended", "entered-in-error"]),
    code=concepts,
    value_quantity=quantities | st.none(),
    interpretation=st.lists(concepts, max_size=2).map(tuple),
    device=st.builds(Reference, reference=texts) | st.none(),
    component=st.lists(
        st.builds(fhir.Component, code=concepts, value_quantity=quantities), max_size=2
    ).map(tuple),
)
bundles = st.builds(
    fhir.Bundle,
    type=st.sampled_from(["transaction", "collection"]),
    entry=st.lists(st.builds(fhir.BundleEntry, resource=observations), max_size=3).map(tuple),
)


@given(bundles)
def test_what_is_written_is_read_again(sent: fhir.Bundle) -> None:
    received = fhir_codec.decode_bundle(fhir_codec.encode(sent))
    assert received.resource == sent
    assert received.ignored == 0
    for before, after in zip(sent.entry, received.resource.entry, strict=True):
        ours, theirs = before.resource, after.resource
        assert isinstance(ours, fhir.Observation)
        assert isinstance(theirs, fhir.Observation)
        if ours.value_quantity:
            assert theirs.value_quantity
            # Decimals are equal without being the same: 60.10 must not come back as 60.1.
            assert str(theirs.value_quantity.value) == str(ours.value_quantity.value)


@given(bundles, st.data())
def test_a_truncated_bundle_is_refused(sent: fhir.Bundle, data: st.DataObject) -> None:
    whole = fhir_codec.encode(sent)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(InputError):
        fhir_codec.decode_bundle(whole[:cut])


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "ignore")))
def test_arbitrary_bytes_meet_only_our_errors(junk: bytes) -> None:
    with pytest.raises(InputError):
        fhir_codec.decode_bundle(junk)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([*OBSERVATION, "x", "_status", "component", "extension", "meta"]),
        json_values,
        max_size=5,
    )
)
def test_a_mutated_observation_is_read_or_refused(changes: dict[str, Any]) -> None:
    """Goal: any JSON in any place gives a typed resource or our error, also on the slow path."""
    try:
        decoded = fhir_codec.decode_bundle(bundle(OBSERVATION | changes))
    except InputError:
        return
    assert isinstance(decoded.resource, fhir.Bundle)


@pytest.mark.parametrize("text", ["60", "60.10", "-0.0", "1E+2", "6e-7", "0.10000000000000000001"])
def test_a_decimal_keeps_every_digit(text: str) -> None:
    data = bundle(OBSERVATION).replace(b'"value": 60', b'"value": ' + text.encode())
    decoded = fhir_codec.decode_bundle(data)
    quantity = first(decoded.resource).value_quantity
    assert quantity
    assert quantity.value is not None
    assert str(quantity.value) == str(Decimal(text))
    assert str(Decimal(text)).encode() in fhir_codec.encode(decoded.resource)


def first(read: fhir.Bundle) -> fhir.Observation:
    resource = read.entry[0].resource
    assert isinstance(resource, fhir.Observation)
    return resource


@pytest.mark.parametrize("text", ['"60"', "true", "[60]", '{"a": 1}', "NaN", "1e999999999", "1e"])
def test_what_is_no_bounded_number_is_refused(text: str) -> None:
    data = bundle(OBSERVATION).replace(b'"value": 60', b'"value": ' + text.encode())
    with pytest.raises(InputError):
        fhir_codec.decode_bundle(data)


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "sNaN",
        "abc",
        "",
        f"1E{DECIMAL_EXPONENT_MAX + 1}",
        f"1E-{DECIMAL_EXPONENT_MAX + 1}",
        "1" * (DECIMAL_DIGITS_MAX + 1),
    ],
)
def test_a_decimal_is_finite_and_bounded(value: str) -> None:
    with pytest.raises(LimitExceeded):
        FhirDecimal(value)


def test_a_number_of_a_megabyte_costs_nothing() -> None:
    """Goal: digits are counted before they are turned into a number."""
    for digits in ("1" * 500_000, "0." + "1" * 500_000):
        for known in (OBSERVATION, OBSERVATION | {"foo": 1}):
            data = bundle(known).replace(b'"value": 60', b'"value": ' + digits.encode())
            with pytest.raises(InputError):
                fhir_codec.decode_bundle(data)


def test_unknown_fields_are_ignored_and_counted() -> None:
    strange = OBSERVATION | {"foo": {"a": [1, {"b": 2}]}, "_status": {"id": "x"}}
    strange["valueQuantity"] = strange["valueQuantity"] | {"bar": 1}
    decoded = fhir_codec.decode_bundle(bundle(strange, OBSERVATION, zzz=None))
    assert decoded.ignored == 4
    assert first(decoded.resource) == first(fhir_codec.decode_bundle(bundle(OBSERVATION)).resource)


def test_the_slow_path_keeps_digits_too() -> None:
    data = bundle(OBSERVATION | {"foo": 1}).replace(b'"value": 60', b'"value": 60.10')
    quantity = first(fhir_codec.decode_bundle(data).resource).value_quantity
    assert quantity
    assert str(quantity.value) == "60.10"


@pytest.mark.parametrize("name", ["modifierExtension", "implicitRules"])
def test_a_modifier_is_never_ignored(name: str) -> None:
    """Goal: a field that can turn a statement into its opposite is refused, not skipped."""
    with pytest.raises(InputError, match=name):
        fhir_codec.decode_bundle(bundle(OBSERVATION | {name: [{"url": "urn:not-measured"}]}))


def test_deep_nesting_is_a_limit_and_no_crash() -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        for depth in (2_000, 40_000):
            nested = opening * depth + b"1" + closing * depth
            with pytest.raises(LimitExceeded):
                fhir_codec.decode_bundle(b'{"resourceType":"Bundle","x":' + nested + b"}")


def test_a_number_in_the_place_of_an_object_is_refused_on_the_slow_path_too() -> None:
    with pytest.raises(InputError, match="valueQuantity"):
        fhir_codec.decode_bundle(bundle(OBSERVATION | {"foo": 1, "valueQuantity": 60}))


def test_extensions_are_two_deep_and_no_deeper() -> None:
    inner: dict[str, Any] = {"url": "c", "valueCode": "x"}
    middle = {"url": "b", "extension": [inner]}
    data = bundle(OBSERVATION | {"extension": [{"url": "a", "extension": [middle]}]})
    assert fhir_codec.decode_bundle(data).ignored == 1


def test_size_entries_and_nodes_are_limited() -> None:
    data = bundle(OBSERVATION, OBSERVATION)
    small = fhir_codec.FhirLimits(bytes_max=len(data) - 1)
    with pytest.raises(LimitExceeded, match="bytes"):
        fhir_codec.decode_bundle(data, limits=small)
    with pytest.raises(LimitExceeded, match="entries"):
        fhir_codec.decode_bundle(data, limits=fhir_codec.FhirLimits(entries_max=1))
    with pytest.raises(LimitExceeded, match="objects"):
        fhir_codec.decode_bundle(data, limits=fhir_codec.FhirLimits(nodes_max=5))


def test_bytes_that_are_not_utf8_are_refused_even_where_nobody_looks() -> None:
    with pytest.raises(InputError, match="UTF-8"):
        fhir_codec.decode_bundle(b'{"resourceType":"Bundle","type":"batch","x":"\xff"}')


def test_a_refusal_names_the_place_and_never_the_content() -> None:
    with pytest.raises(InputError) as refusal:
        fhir_codec.decode_bundle(bundle(OBSERVATION | {"status": "CANARY^JANE"}))
    assert "$.entry[0].resource.status" in str(refusal.value)
    assert "CANARY" not in str(refusal.value) + refusal.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"status": "done"},
        {"code": None},
        {"id": "h r"},
        {"id": "x" * 65},
        {"effectiveDateTime": "yesterday"},
        {"effectiveDateTime": "2021-07-09T11:33:24"},
        {"effectiveDateTime": "2021-13-09"},
        {"resourceType": "Patient"},
        {"valueQuantity": 60},
    ],
    ids=str,
)
def test_what_is_no_observation_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        fhir_codec.decode_bundle(bundle(OBSERVATION | change))


def test_each_resource_reads_what_it_wrote() -> None:
    samples: list[fhir.AnyResource] = [
        fhir.Device(udi_carrier=(fhir.UdiCarrier(carrier_hrf="(01)1"),), status="active"),
        fhir.DeviceMetric(type=CodeableConcept(text="HR"), category="measurement"),
        fhir.OperationOutcome(issue=(fhir.Issue(severity="error", code="structure"),)),
        fhir.CapabilityStatement(
            status="active",
            date="2026-01-01",
            kind="instance",
            fhir_version="4.0.1",
            format=("json",),
        ),
    ]
    for resource in samples:
        text = fhir_codec.encode(resource)
        assert json.loads(text)["resourceType"] == type(resource).__name__
        assert fhir_codec.decode(text, type(resource)).resource == resource
    assert b"carrierHRF" in fhir_codec.encode(samples[0])
