"""The containment tree of a device (MDS, VMD, channel, metric) as FHIR Device and DeviceMetric.

Source: HL7 PoCD 1.0.0-ballot3 (MdsDevice, VmdDevice, ChannelDevice, NumericDeviceMetric,
SampleArrayDeviceMetric); ISO/IEEE 11073-10201 (containment).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from asepsis.core.mapping import nomenclature
from asepsis.core.mapping.fhir_numeric import device_key, mdc_concept, metric_reference
from asepsis.core.mapping.loss import Mapped
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire.fhir import (
    EUI64_SYSTEM,
    MDC_SYSTEM,
    POCD,
    Device,
    DeviceMetric,
    DeviceName,
    DeviceVersion,
    UdiCarrier,
)
from asepsis.core.wire.fhir_types import CodeableConcept, Coding, Identifier, Meta, Reference

_EUI64: Final = re.compile(r"urn:dev:mac:([0-9a-f]{16})")
_UDI: Final = re.compile(r"https://id\.gs1\.org/01/(\d{14})/21/(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricNode:
    """One metric of a channel.

    Attributes:
        handle: On the device, 1 to 65 535.
        mdc_code: What it measures.
        unit_code: In which unit.
        label: What the device shows, may be empty.
        is_waveform: Whether it is a sample array.
        is_setting: Whether a person sets it.
    """

    handle: int
    mdc_code: int
    unit_code: int
    label: str = ""
    is_waveform: bool = False
    is_setting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelNode:
    """A group of metrics.

    Attributes:
        mdc_code: Type of the channel (partition 1).
        metrics: In the order of the device.
    """

    mdc_code: int
    metrics: tuple[MetricNode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VmdNode:
    """A virtual medical device, for example the ECG module of a monitor.

    Attributes:
        mdc_code: Type of the VMD (partition 1).
        channels: In the order of the device.
    """

    mdc_code: int
    channels: tuple[ChannelNode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MdsNode:
    """A whole device.

    Attributes:
        device: Its name.
        mdc_code: Type of the MDS (partition 1).
        manufacturer: As on the type plate.
        model: As on the type plate.
        serial: As on the type plate.
        firmware: Version in use.
        vmds: In the order of the device.
    """

    device: DeviceId
    mdc_code: int
    manufacturer: str
    model: str
    serial: str
    firmware: str
    vmds: tuple[VmdNode, ...] = ()


def tree_to_resources(mds: MdsNode) -> Mapped[tuple[Device | DeviceMetric, ...]]:
    """Map a device tree to its FHIR resources, parents before children.

    Source: HL7 PoCD MdsDevice, VmdDevice, ChannelDevice, DeviceMetric profiles.
    """
    losses: list[str] = []
    resources = tuple(_resources(mds, losses))
    return Mapped(resources, tuple(losses))


def _resources(mds: MdsNode, losses: list[str]) -> Iterator[Device | DeviceMetric]:
    key = device_key(mds.device)
    yield _mds(mds, key)
    for v, vmd in enumerate(mds.vmds, start=1):
        yield _part(f"{key}-v{v}", "VmdDevice", vmd.mdc_code, parent=key)
        for c, channel in enumerate(vmd.channels, start=1):
            parent = f"{key}-v{v}c{c}"
            yield _part(parent, "ChannelDevice", channel.mdc_code, parent=f"{key}-v{v}")
            for metric in channel.metrics:
                yield _metric(metric, mds.device, parent, losses)


def device_identity(device: DeviceId) -> tuple[Identifier, UdiCarrier | None]:
    """Return the identifier of a device, and its UDI if its name is one.

    Source: HL7 PoCD MdsDevice (EUI-64 identifier); HL7 FHIR R4 Device.udiCarrier.
    """
    eui64, udi = _EUI64.fullmatch(device.uri), _UDI.fullmatch(device.uri)
    identifier = Identifier(system="urn:ietf:rfc:3986", value=device.uri)
    if eui64:
        octets = [eui64[1][i : i + 2].upper() for i in range(0, 16, 2)]
        identifier = Identifier(system=EUI64_SYSTEM, value="-".join(octets))
    if udi is None:
        return identifier, None
    carrier = UdiCarrier(device_identifier=udi[1], carrier_hrf=f"(01){udi[1]}(21){udi[2]}")
    return identifier, carrier


def _mds(mds: MdsNode, key: str) -> Device:
    identifier, carrier = device_identity(mds.device)
    return Device(
        id=key,
        meta=Meta(profile=(f"{POCD}MdsDevice",)),
        identifier=(identifier,),
        udi_carrier=(carrier,) if carrier else (),
        status="active",
        manufacturer=mds.manufacturer,
        serial_number=mds.serial,
        device_name=(DeviceName(name=mds.model, type="model-name"),),
        model_number=mds.model,
        type=_type(mds.mdc_code),
        version=(DeviceVersion(value=mds.firmware),),
    )


def _type(mdc_code: int) -> CodeableConcept:
    return CodeableConcept(coding=(Coding(system=MDC_SYSTEM, code=str(mdc_code)),))


def _part(key: str, profile: str, mdc_code: int, *, parent: str) -> Device:
    return Device(
        id=key,
        meta=Meta(profile=(f"{POCD}{profile}",)),
        status="active",
        type=_type(mdc_code),
        parent=Reference(reference=f"Device/{parent}"),
    )


def _metric(metric: MetricNode, device: DeviceId, channel: str, losses: list[str]) -> DeviceMetric:
    if not nomenclature.check_unit(metric.mdc_code, metric.unit_code):
        losses.append(f"metric {metric.handle}: its unit could not be checked")
    unit = nomenclature.UNITS_BY_CODE.get(metric.unit_code)
    kind = "SampleArray" if metric.is_waveform else "Numeric"
    concept = mdc_concept(metric.mdc_code)
    return DeviceMetric(
        id=metric_reference(device, metric.handle).removeprefix("DeviceMetric/"),
        meta=Meta(profile=(f"{POCD}{kind}DeviceMetric",)),
        type=CodeableConcept(coding=concept.coding, text=metric.label or None),
        unit=CodeableConcept(
            coding=(
                Coding(
                    system=MDC_SYSTEM,
                    code=str(metric.unit_code),
                    display=unit.refid if unit else None,
                ),
            ),
            text=unit.ucum if unit else None,
        ),
        source=Reference(reference=f"Device/{device_key(device)}"),
        parent=Reference(reference=f"Device/{channel}"),
        category="setting" if metric.is_setting else "measurement",
    )
