"""The MDIB of a ventilator: 20 metrics, 4 waveforms, two alert conditions.

Source: ISO/IEEE 11073-10207 (BICEPS); codes of ISO/IEEE 11073-10101.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

PM: Final = "http://standards.ieee.org/downloads/11073/11073-10207-2017/participant"
MSG: Final = "http://standards.ieee.org/downloads/11073/11073-10207-2017/message"
XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
SAMPLE_PERIOD_MS: Final = 10
PATH: Final = "5dc00000000040008000000000000001"
"""Of the device service: the UUID of its endpoint reference."""
APNOEA, SENSOR_OFF = "ac.apnoea", "ac.sensor"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: handle, MDC codes, resolution, usual value."""

    handle: str
    code: int
    unit: int
    resolution: Decimal
    usual: Decimal


def _row(handle: str, code: int, unit: int, usual: str) -> Row:
    value = Decimal(usual)
    exponent = value.as_tuple().exponent
    return Row(handle, code, unit, Decimal(1).scaleb(int(exponent)), value)


METRICS: Final = (
    _row("rate", 151_586, 264_928, "15"),
    _row("rate.total", 152_490, 264_928, "15"),
    _row("peep", 151_976, 266_048, "5.0"),
    _row("p.peak", 151_973, 266_048, "21.5"),
    _row("p.mean", 151_819, 266_048, "9.5"),
    _row("p.plateau", 151_784, 266_048, "18.0"),
    _row("p.intrinsic", 151_808, 266_048, "0.5"),
    _row("vt", 151_868, 263_762, "480"),
    _row("vt.insp", 152_660, 263_762, "482"),
    _row("vt.exp", 152_664, 263_762, "478"),
    _row("mv", 151_880, 265_216, "7.2"),
    _row("mv.exp", 152_000, 265_216, "7.1"),
    _row("leak", 152_432, 265_216, "0.1"),
    _row("deadspace", 151_984, 263_762, "150"),
    _row("resistance", 151_840, 268_064, "9"),
    _row("resistance.exp", 151_844, 268_064, "10"),
    _row("compliance", 151_688, 268_050, "48"),
    _row("fio2", 152_196, 262_688, "40"),
    _row("eto2", 152_440, 262_688, "35"),
    _row("etco2", 151_708, 266_016, "38"),
)
WAVES: Final = (
    _row("wave.pressure", 151_792, 266_048, "0.1"),
    _row("wave.flow", 151_764, 265_216, "0.1"),
    _row("wave.co2", 151_700, 266_016, "0.1"),
    _row("wave.o2", 151_908, 262_688, "0.1"),
)


def document() -> bytes:
    """Return the MDIB as XML."""
    metrics = "".join(map(_metric, METRICS)) + "".join(map(_wave, WAVES))
    alerts = (
        '<pm:AlertSystem Handle="asy" SelfCheckPeriod="PT5S">'
        + _condition(APNOEA, 199_680, "Phy", "Hi", "Apnoea", "rate")
        + _condition(SENSOR_OFF, 196_916, "Tec", "Me", "Flow sensor disconnected", "vt")
        + _signal(APNOEA, "Aud")
        + _signal(APNOEA, "Vis")
        + _signal(SENSOR_OFF, "Aud")
        + "</pm:AlertSystem>"
    )
    return (
        f'<msg:GetMdibResponse xmlns:msg="{MSG}" xmlns:pm="{PM}" xmlns:xsi="{XSI}" '
        'SequenceId="urn:uuid:00000000-0000-0000-0000-000000000001">'
        '<msg:Mdib SequenceId="urn:uuid:00000000-0000-0000-0000-000000000001"><pm:MdDescription>'
        f'<pm:Mds Handle="mds"><pm:Type Code="70001"/>{alerts}'
        '<pm:SystemContext Handle="context"><pm:PatientContext Handle="patient"/>'
        '<pm:LocationContext Handle="location"/></pm:SystemContext><pm:Vmd Handle="vmd">'
        f'<pm:Channel Handle="channel">{metrics}</pm:Channel></pm:Vmd></pm:Mds>'
        "</pm:MdDescription></msg:Mdib></msg:GetMdibResponse>"
    ).encode()


def _metric(row: Row) -> str:
    return (
        f'<pm:Metric xsi:type="pm:NumericMetricDescriptor" Handle="{row.handle}" '
        f'MetricCategory="Msrmt" MetricAvailability="Cont" Resolution="{row.resolution}">'
        f'<pm:Type Code="{row.code}"/><pm:Unit Code="{row.unit}"/></pm:Metric>'
    )


def _wave(row: Row) -> str:
    return (
        f'<pm:Metric xsi:type="pm:RealTimeSampleArrayMetricDescriptor" Handle="{row.handle}" '
        f'MetricCategory="Msrmt" MetricAvailability="Cont" Resolution="{row.resolution}" '
        f'SamplePeriod="PT0.{SAMPLE_PERIOD_MS:03}S">'
        f'<pm:Type Code="{row.code}"/><pm:Unit Code="{row.unit}"/></pm:Metric>'
    )


def _condition(handle: str, code: int, kind: str, priority: str, text: str, source: str) -> str:
    return (
        f'<pm:AlertCondition Handle="{handle}" Kind="{kind}" Priority="{priority}">'
        f'<pm:Type Code="{code}"><pm:ConceptDescription Lang="en">{text}</pm:ConceptDescription>'
        f"</pm:Type><pm:Source>{source}</pm:Source></pm:AlertCondition>"
    )


def _signal(condition: str, manifestation: str) -> str:
    return (
        f'<pm:AlertSignal Handle="{condition}.{manifestation}" ConditionSignaled="{condition}" '
        f'Manifestation="{manifestation}" Latching="false"/>'
    )
