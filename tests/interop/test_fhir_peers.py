"""Judges of other makers: what we send is valid FHIR to them, and what they refuse we refuse.

`fhir.resources` (R4B, which differs from R4 in nothing that we send), `fhirkit-rs` (R4 4.0.1) and
npm `fhir` 4.12 (R4 4.0.1 with code bindings), each the real program.
"""

import copy
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import fhirkit
import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asepsis.core.errors import InputError
from asepsis.core.mapping.fhir_bundle import numerics_to_bundle
from asepsis.core.mapping.fhir_delivery import transaction_of
from asepsis.core.mapping.fhir_device import (
    ChannelNode,
    MdsNode,
    MetricNode,
    VmdNode,
    tree_to_resources,
)
from asepsis.core.mapping.fhir_numeric import Origin, numeric_to_observation
from asepsis.core.mapping.fhir_server import capability_statement, outcome_of
from asepsis.core.mapping.fhir_waveform import waveform_to_observation
from asepsis.core.mapping.hl7_device import device_words
from asepsis.core.mapping.hl7_envelope import Envelope, Subject
from asepsis.core.mapping.nomenclature import METRICS_BY_CODE
from asepsis.core.mapping.pcd01_out import observations_to_message
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.observation import Observation as Measured
from asepsis.core.model.patient import PatientId
from asepsis.core.wire import fhir, fhir_codec, float_type, frames
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageEntry, MessageFindings, MessagePeer

DEVICE = DeviceId.from_udi("00012345678905", "123456")
ORIGIN = Origin(device=DEVICE, start_ns=1_700_000_000_000_000_001)


def _npm_peer() -> ModuleType:
    """Load the helper beside this file; test folders are no packages."""
    if "npm_peer" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "npm_peer", Path(__file__).with_name("npm_peer.py")
        )
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["npm_peer"] = module
    return sys.modules["npm_peer"]


NPM_JUDGE = """
const {Fhir} = require('fhir');
const fhir = new Fhir();
require('readline').createInterface({input: process.stdin}).on('line', (line) => {
  let verdict;
  try {
    verdict = fhir.validate(JSON.parse(line), {errorOnUnexpected: true});
  } catch (error) {
    verdict = {valid: false, messages: [{severity: 'error', message: String(error)}]};
  }
  const errors = verdict.messages.filter((m) => m.severity === 'error' || m.severity === 'fatal');
  const lines = errors.map((m) => `${m.location}: ${m.message}`);
  console.log(JSON.stringify(verdict.valid ? [] : lines));
});
"""


def npm_findings(resources: list[bytes]) -> list[list[str]]:
    return _npm_peer().run(NPM_JUDGE, [text.decode() for text in resources])


def fhirkit_findings(text: bytes) -> list[str]:
    return [str(issue) for issue in fhirkit.validate(json.loads(text))]


def fhir_resources_findings(text: bytes) -> list[str]:
    body = json.loads(text)
    try:
        get_fhir_model_class(body["resourceType"]).model_validate(body)
    except ValidationError as error:
        return [str(error)]
    return []


LOCAL_JUDGES: tuple[Callable[[bytes], list[str]], ...] = (fhirkit_findings, fhir_resources_findings)


def numeric(**changes: Any) -> Numeric:
    fields = {"handle": 7, "mdc_code": 147842, "unit_code": 264864, "value": 60, "offset_ms": 40}
    return Numeric(**{"status": MeasurementStatus.VALID, **fields, **changes})


def every_metric() -> list[Numeric]:
    """Return one numeric for each numeric metric of the table, in each usual unit."""
    return [
        numeric(mdc_code=metric.code, unit_code=unit, value=0xFE000000 | 1234, handle=1 + i)
        for metric in METRICS_BY_CODE.values()
        if metric.is_numeric
        for i, unit in enumerate(metric.units)
    ]


def odd_numerics() -> list[Numeric]:
    specials = [numeric(value=int(special)) for special in float_type.FloatSpecial]
    stati = [numeric(status=status) for status in MeasurementStatus]
    sizes = [numeric(value=(e & 0xFF) << 24 | 0x7FFFFD) for e in (-128, -7, 0, 7, 127)]
    private = [numeric(mdc_code=1024 << 16 | 1, unit_code=4 << 16 | 0xF001)]
    return [*specials, *stati, *sizes, *private]


def waveform() -> fhir.Observation:
    metric = frames.WaveformMetric(
        handle=2,
        mdc_code=131330,
        unit_code=266418,
        period_ns=4_000_000,
        scale=float_type.from_float(0.005, decimals=3),
        offset=0,
    )
    data = frames.encode_frame(
        metric, samples=[0, -5, frames.SAMPLE_MISSING, 900], frame_sequence=1, wall_ns=10**18
    )
    return waveform_to_observation(frames.decode_frame(data), ORIGIN).value


def tree() -> list[fhir.Device | fhir.DeviceMetric]:
    metrics = (
        MetricNode(handle=1, mdc_code=147842, unit_code=264864, label="HR"),
        MetricNode(handle=2, mdc_code=131330, unit_code=266418, is_waveform=True),
    )
    vmd = VmdNode(mdc_code=69798, channels=(ChannelNode(mdc_code=70739, metrics=metrics),))
    mds = MdsNode(
        device=DEVICE,
        mdc_code=69965,
        manufacturer="Example",
        model="PM1",
        serial="123456",
        firmware="2.1.0",
        vmds=(vmd,),
    )
    return list(tree_to_resources(mds).value)


def delivered() -> bytes:
    """Return the transaction that a FHIR server gets of a native device's values."""
    at_ns = ORIGIN.start_ns
    observations = [
        Measured(
            device=DEVICE,
            assurance=Assurance.DEVICE_ORIGIN,
            numeric=one,
            epoch=1,
            sequence=1,
            device_time_ns=at_ns,
            received_at_ns=at_ns,
            late=False,
        )
        for one in every_metric()
    ]
    subject = Subject(patient=PatientId("4711", "HOSP"))
    envelope = Envelope(control_id="1", made_ns=at_ns)
    body = observations_to_message(observations, envelope, subject=subject).value
    message = Message.parse(body)
    words = tuple((word, DEVICE.uri) for word in device_words(message))
    findings = MessageFindings(MessagePeer("native", "UTC", words), 0, at_ns)
    return transaction_of(MessageEntry(1, 0, body, findings), message, key="1.0.0")


@cache
def everything_we_send() -> list[bytes]:
    observations = [
        numeric_to_observation(n, ORIGIN).value for n in (*every_metric(), *odd_numerics())
    ]
    resources: list[fhir.AnyResource] = [
        *observations,
        waveform(),
        *tree(),
        numerics_to_bundle(odd_numerics(), ORIGIN, epoch=3, sequence=9).value,
        capability_statement(software_version="0.1.0", date_ns=10**18),
        outcome_of(InputError("wrong", hint="send it again")),
    ]
    return [*(fhir_codec.encode(resource) for resource in resources), delivered()]


def test_what_we_send_is_valid_to_npm_fhir() -> None:
    sent = everything_we_send()
    findings = npm_findings(sent)
    assert len(findings) == len(sent)
    assert {line for verdict in findings for line in verdict} == set()


@pytest.mark.parametrize("judge", LOCAL_JUDGES, ids=lambda j: j.__name__)
def test_what_we_send_is_valid_to_python_peers(judge: Callable[[bytes], list[str]]) -> None:
    assert {line for text in everything_we_send() for line in judge(text)} == set()


def test_peers_read_the_same_digits() -> None:
    """Goal: no digit is lost between our text and another reader's decimal."""
    for text in everything_we_send():
        if json.loads(text)["resourceType"] == "Observation":
            theirs = get_fhir_model_class("Observation").model_validate_json(text)
            ours = fhir_codec.decode(text, fhir.Observation).resource
            if ours.value_quantity:
                assert theirs.valueQuantity.value == ours.value_quantity.value


GOOD: dict[str, Any] = json.loads(
    fhir_codec.encode(numeric_to_observation(numeric(), ORIGIN).value)
) | {"id": "one"}

BAD: dict[str, dict[str, Any]] = {
    "status that no code system has": {"status": "done"},
    "status missing": {"status": None},
    "code missing": {"code": None},
    "decimal as text": {"valueQuantity": {"value": "60"}},
    "decimal as boolean": {"valueQuantity": {"value": True}},
    "quantity as number": {"valueQuantity": 60},
    "time in words": {"effectiveDateTime": "yesterday"},
    "month thirteen": {"effectiveDateTime": "2021-13-01"},
    "id with a space": {"id": "a b"},
    "coding as object": {"code": {"coding": {"code": "147842"}}},
    "text as number": {"code": {"text": 5}},
    "component without code": {"component": [{"valueQuantity": {"value": 1}}]},
    "sampled data without period": {
        "valueQuantity": None,
        "valueSampledData": {"origin": {"value": 0}, "dimensions": 1, "data": "1"},
    },
    "dimensions zero": {
        "valueQuantity": None,
        "valueSampledData": {"origin": {"value": 0}, "period": 1, "dimensions": 0},
    },
}


def changed(change: dict[str, Any]) -> bytes:
    body = copy.deepcopy(GOOD) | change
    return json.dumps({name: item for name, item in body.items() if item is not None}).encode()


def we_refuse(text: bytes) -> bool:
    try:
        fhir_codec.decode(text, fhir.Observation)
    except InputError:
        return True
    return False


@cache
def npm_verdicts() -> dict[str, bool]:
    found = npm_findings([changed(change) for change in BAD.values()])
    return {name: bool(lines) for name, lines in zip(BAD, found, strict=True)}


@pytest.mark.parametrize("name", BAD)
def test_what_a_peer_refuses_we_refuse(name: str) -> None:
    text = changed(BAD[name])
    peers = [npm_verdicts()[name], *(bool(judge(text)) for judge in LOCAL_JUDGES)]
    assert any(peers), "a bad example that nobody refuses proves nothing"
    assert we_refuse(text)


def test_the_good_example_is_good_to_everybody() -> None:
    text = changed({})
    assert not we_refuse(text)
    assert npm_findings([text]) == [[]]
    assert [judge(text) for judge in LOCAL_JUDGES] == [[], []]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "final", "2021", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["coding", "value", "code", "text", "reference"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)


changes = st.dictionaries(
    st.sampled_from(["status", "code", "valueQuantity", "device", "component", "interpretation"]),
    values,
    max_size=2,
)


@settings(max_examples=60, deadline=None)
@given(changes)
def test_what_we_accept_a_strict_peer_can_read(change: dict[str, Any]) -> None:
    """Goal: after our decoding and encoding, fhirkit finds no type error in what is left."""
    try:
        decoded = fhir_codec.decode(changed(change), fhir.Observation)
    except InputError:
        return
    again = fhir_codec.encode(decoded.resource)
    types = [line for line in fhirkit_findings(again) if "expected a" in line]
    assert types == []
