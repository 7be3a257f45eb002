"""Device trees and what the hub says of itself."""

import pytest

from asepsis.core import errors
from asepsis.core.mapping.fhir_device import (
    ChannelNode,
    MdsNode,
    MetricNode,
    VmdNode,
    tree_to_resources,
)
from asepsis.core.mapping.fhir_server import capability_statement, outcome_of
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire import fhir, fhir_codec

METRICS = (
    MetricNode(handle=1, mdc_code=147842, unit_code=264864, label="HR"),
    MetricNode(handle=2, mdc_code=131330, unit_code=266418, is_waveform=True),
    MetricNode(handle=3, mdc_code=1024 << 16 | 7, unit_code=4 << 16 | 0xF001, is_setting=True),
)


def monitor(device: DeviceId) -> MdsNode:
    return MdsNode(
        device=device,
        mdc_code=69965,
        manufacturer="Example",
        model="PM1",
        serial="123456",
        firmware="2.1.0",
        vmds=(VmdNode(mdc_code=69798, channels=(ChannelNode(mdc_code=70739, metrics=METRICS),)),),
    )


def test_a_tree_becomes_resources_with_their_parents_first() -> None:
    mapped = tree_to_resources(monitor(DeviceId.from_eui64(0x0123456789ABCDEF)))
    kinds = [type(resource).__name__ for resource in mapped.value]
    assert kinds == ["Device", "Device", "Device", "DeviceMetric", "DeviceMetric", "DeviceMetric"]
    known: set[str] = set()
    for resource in mapped.value:
        if resource.parent:
            assert resource.parent.reference in known
        known.add(f"{type(resource).__name__}/{resource.id}")
        text = fhir_codec.encode(resource)
        assert fhir_codec.decode(text, type(resource)).resource == resource
    assert mapped.losses == ("metric 3: its unit could not be checked",)


def test_an_eui64_is_written_as_the_guide_writes_it() -> None:
    mds = tree_to_resources(monitor(DeviceId.from_eui64(0x0123456789ABCDEF))).value[0]
    assert isinstance(mds, fhir.Device)
    assert mds.identifier[0].system == fhir.EUI64_SYSTEM
    assert mds.identifier[0].value == "01-23-45-67-89-AB-CD-EF"
    assert not mds.udi_carrier


def test_a_udi_is_carried_as_a_udi() -> None:
    mds = tree_to_resources(monitor(DeviceId.from_udi("00012345678905", "123456"))).value[0]
    assert isinstance(mds, fhir.Device)
    assert mds.udi_carrier[0].carrier_hrf == "(01)00012345678905(21)123456"
    assert mds.udi_carrier[0].device_identifier == "00012345678905"


def test_a_metric_with_an_impossible_unit_is_refused() -> None:
    wrong = MetricNode(handle=1, mdc_code=147842, unit_code=266016)
    tree = monitor(DeviceId.from_eui64(1))
    vmd = VmdNode(mdc_code=1, channels=(ChannelNode(mdc_code=2, metrics=(wrong,)),))
    broken = MdsNode(
        device=tree.device,
        mdc_code=1,
        manufacturer="",
        model="",
        serial="",
        firmware="",
        vmds=(vmd,),
    )
    with pytest.raises(errors.ContentMismatch):
        tree_to_resources(broken)


def test_the_capabilities_name_version_and_transaction() -> None:
    statement = capability_statement(software_version="0.1.0", date_ns=1_700_000_000 * 10**9)
    assert statement.fhir_version == "4.0.1"
    assert statement.rest[0].interaction[0].code == "transaction"
    text = fhir_codec.encode(statement)
    assert fhir_codec.decode(text, fhir.CapabilityStatement).resource == statement


def all_errors() -> list[type[errors.AsepsisError]]:
    """Return the list of `errors.py`, whatever else a test process has loaded."""
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, errors.AsepsisError)]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda k: k.code)
def test_every_error_has_an_outcome(kind: type[errors.AsepsisError]) -> None:
    (issue,) = outcome_of(kind("wrong", hint="do this")).issue
    assert issue.diagnostics == f"{kind.code}: wrong (do this)"
    assert outcome_of(kind("wrong")).issue[0].diagnostics == f"{kind.code}: wrong"
    assert issue.code
