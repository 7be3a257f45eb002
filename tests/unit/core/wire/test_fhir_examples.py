"""Every example of the point-of-care device guide, turned from XML to JSON, is read."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asepsis.core.errors import InputError
from asepsis.core.mapping.fhir_numeric import observation_to_numerics
from asepsis.core.mapping.fhir_time import from_date_time
from asepsis.core.mapping.fhir_waveform import sampled_values
from asepsis.core.mapping.nomenclature import name_of
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire import fhir, fhir_codec
from asepsis.core.wire.fhir_types import FhirDecimal

EXAMPLES = Path(__file__).parents[5] / "shared/data/fhir-pocd/examples"
FHIR = "{http://hl7.org/fhir}"
DEVICE = DeviceId.from_eui64(0x0123456789ABCDEF)
OURS = {"Observation": fhir.Observation, "Device": fhir.Device, "DeviceMetric": fhir.DeviceMetric}

NAMES = [
    "Device-BloodPressureChannelDevice",
    "Device-BloodPressureVmdDevice",
    "Device-ECGChannelDevice",
    "Device-ECGVmdDevice",
    "Device-HeartRateChannelDevice",
    "Device-NBPChannelDevice",
    "Device-NBPVmdDevice",
    "Device-PhysioMonitorMdsDevice",
    "DeviceMetric-CVPSampleArrayDeviceMetric",
    "DeviceMetric-ECGSampleArrayDeviceMetric",
    "DeviceMetric-HeartRateNumericDeviceMetric",
    "DeviceMetric-NBPNumericDeviceMetric",
    "DeviceMetric-RhythmStatusEnumerationDeviceMetric",
    "Location-SomeLocation",
    "Observation-CVPSampleArrayObservation",
    "Observation-ECGSampleArrayObservation",
    "Observation-HeartRateNumericObservation",
    "Observation-NBPCompoundNumericObservation",
    "Observation-RhythmStatusEnumerationObservation",
    "Patient-SomePatient",
    "Practitioner-SomePractitioner",
]  # Stated, so that an absent folder is a skip and no empty test.

pytestmark = pytest.mark.data


def to_json(element: ET.Element, shape: msgspec.inspect.Type | None) -> Any:
    """Turn FHIR XML into FHIR JSON; the struct says what is a list, a number or a boolean."""
    if isinstance(shape, msgspec.inspect.UnionType):
        shape = next(t for t in shape.types if not isinstance(t, msgspec.inspect.NoneType))
    if "value" in element.attrib and not len(element):
        return scalar(element.attrib["value"], shape)
    fields = (
        {f.encode_name: f.type for f in shape.fields}
        if isinstance(shape, msgspec.inspect.StructType)
        else {}
    )
    result: dict[str, Any] = {k: v for k, v in element.attrib.items() if k == "url"}
    for child in element:
        name = child.tag.removeprefix(FHIR)
        kind = fields.get(name)
        if isinstance(kind, msgspec.inspect.VarTupleType):
            result.setdefault(name, []).append(to_json(child, kind.item_type))
        else:
            result[name] = to_json(child, kind)
    return result


def scalar(text: str, shape: msgspec.inspect.Type | None) -> Any:
    if isinstance(shape, msgspec.inspect.IntType):
        return int(text)
    if isinstance(shape, msgspec.inspect.BoolType):
        return text == "true"
    if isinstance(shape, msgspec.inspect.CustomType) and shape.cls is FhirDecimal:
        return msgspec.Raw(text.encode())
    return text


def load(path: Path) -> tuple[type[Any], bytes]:
    root = ET.parse(path).getroot()  # noqa: S314 - a file of the public guide
    name = root.tag.removeprefix(FHIR)
    kind = OURS[name]
    body = to_json(root, msgspec.inspect.type_info(kind))
    return kind, msgspec.json.encode({"resourceType": name, **body})


def paths(*kinds: str) -> list[Path]:
    return [EXAMPLES / f"{name}.xml" for name in NAMES if name.split("-")[0] in kinds]


@pytest.mark.parametrize("path", paths(*OURS), ids=lambda p: p.stem)
def test_an_example_is_read_whole_and_written_again(path: Path) -> None:
    kind, text = load(path)
    decoded = fhir_codec.decode(text, kind)
    assert decoded.ignored == 0
    written = fhir_codec.encode(decoded.resource)
    assert json.loads(written, parse_float=str) == json.loads(text, parse_float=str)


@pytest.mark.parametrize("path", paths("Location", "Patient", "Practitioner"), ids=lambda p: p.stem)
def test_resources_that_no_device_sends_are_refused(path: Path) -> None:
    name = path.name.split("-")[0]
    entry = {"resource": {"resourceType": name, "id": "x"}}
    body = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    with pytest.raises(InputError):
        fhir_codec.decode_bundle(json.dumps(body).encode())


def observation(name: str) -> fhir.Observation:
    _, text = load(EXAMPLES / f"Observation-{name}Observation.xml")
    return fhir_codec.decode(text, fhir.Observation).resource


def test_the_examples_stand_for_every_profile() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.xml")) == NAMES


def test_the_heart_rate_becomes_a_numeric() -> None:
    start_ns = from_date_time("2021-07-09T09:33:24Z")
    mapped = observation_to_numerics(
        observation("HeartRateNumeric"), device=DEVICE, start_ns=start_ns
    )
    (numeric,) = mapped.value
    assert (name_of(numeric.mdc_code), name_of(numeric.unit_code), numeric.value) == (
        "MDC_ECG_HEART_RATE",
        "MDC_DIM_BEAT_PER_MIN",
        60,
    )
    assert numeric.offset_ms == 0
    assert len(mapped.losses) == 3  # Category, LOINC coding and the foreign metric's handle.


def test_the_cuff_pressures_become_three_numerics() -> None:
    start_ns = from_date_time("2021-07-09T11:30:11+02:00")
    mapped = observation_to_numerics(
        observation("NBPCompoundNumeric"), device=DEVICE, start_ns=start_ns
    )
    assert [(name_of(n.mdc_code), n.value, n.offset_ms) for n in mapped.value] == [
        ("MDC_PRESS_BLD_NONINV_SYS", 120, 1000),
        ("MDC_PRESS_BLD_NONINV_DIA", 80, 1000),
        ("MDC_PRESS_BLD_NONINV_MEAN", 90, 1000),
    ]


def test_sample_arrays_give_their_values() -> None:
    cvp = observation("CVPSampleArray").value_sampled_data
    assert cvp
    values = sampled_values(cvp)
    assert (len(values), str(values[0]), str(max(v for v in values if v))) == (125, "2.00", "8.00")
    ecg = observation("ECGSampleArray").component
    assert [len(sampled_values(c.value_sampled_data)) for c in ecg if c.value_sampled_data] == [
        125
    ] * 3


def test_an_enumeration_is_no_numeric() -> None:
    with pytest.raises(InputError):
        observation_to_numerics(observation("RhythmStatusEnumeration"), device=DEVICE, start_ns=0)
