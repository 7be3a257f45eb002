"""Philips IntelliVue data export: what the attributes of polled objects say. Bytes in, values out.

Source: Philips IntelliVue Patient Monitor, Data Export Interface Programming Guide
4535 642 59271, "Attribute Data Types and Constants", "Numeric Object", "Wave Object",
"Alert Monitor Object".
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from asepsis.core.errors import FramingError
from asepsis.core.model.alarm import AlarmPriority, Inactivation
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire.intellivue import ELEMENTS_MAX, elements

NUMERIC_VALUE: Final = 0x0950
NUMERIC_COMPOUND: Final = 0x094B
WAVE_VALUE: Final = 0x096E
WAVE_COMPOUND: Final = 0x0967
WAVE_SPECIFICATION: Final = 0x096D
WAVE_SCALE: Final = 0x096F
WAVE_FIXED: Final = 0x0A16
SAMPLE_PERIOD: Final = 0x098D
UNIT: Final = 0x0996
TIME_ABSOLUTE: Final = 0x0987
TIME_RELATIVE: Final = 0x098F
STAMP_ABSOLUTE: Final = 0x0990
ALERTS_PHYSIOLOGICAL: Final = 0x0902
ALERTS_TECHNICAL: Final = 0x0904
SYSTEM_MODEL: Final = 0x0928

INVALID: Final = 0x8000
QUESTIONABLE: Final = 0x4000
UNAVAILABLE: Final = 0x2000
CALIBRATION: Final = 0x1000
TEST: Final = 0x0800
DEMO: Final = 0x0400

LATCHED: Final = 0x2000
_STATES: Final = (
    (INVALID, MeasurementStatus.INVALID),
    (UNAVAILABLE, MeasurementStatus.NOT_AVAILABLE),
    (CALIBRATION, MeasurementStatus.CALIBRATING),
    (TEST | DEMO, MeasurementStatus.TEST),
    (QUESTIONABLE, MeasurementStatus.QUESTIONABLE),
)
_PRIORITIES: Final = (
    (0x0404, AlarmPriority.HIGH),
    (0x0202, AlarmPriority.MEDIUM),
    (0x0101, AlarmPriority.LOW),
)
_INACTIVATIONS: Final = (
    (0x8000, Inactivation.ALARM_OFF),
    (0x4000, Inactivation.ALARM_PAUSED),
    (0x1000, Inactivation.ACKNOWLEDGED),
)
_NUMERIC: Final = struct.Struct(">HHHI")
_SAMPLES: Final = struct.Struct(">HHH")
_SPECIFICATION: Final = struct.Struct(">HBBH")
_SCALE: Final = struct.Struct(">IIHH")
_PAIR: Final = struct.Struct(">HH")
_ALERT: Final = struct.Struct(">HHHHHHHHH")
_ALERT_INFO: Final = struct.Struct(">HIHH")
ALERT_STRING: Final = 0x0204
TEXT_CHARS_MAX: Final = 60
_EXTENDED_RANGE: Final = 0x1000
_FIXED_INVALID: Final = 1


@dataclass(frozen=True, slots=True)
class NumericValue:
    """One observed number.

    Attributes:
        physio_id: Term in partition 2 of ISO/IEEE 11073-10101, or private from 0xF000 on.
        state: Bits of the measurement state.
        unit: Term in partition 4.
        value: FLOAT-Type, 32 bits.
    """

    physio_id: int
    state: int
    unit: int
    value: int


@dataclass(frozen=True, slots=True)
class WaveValue:
    """One stretch of samples as sent.

    Attributes:
        physio_id: As of a numeric.
        state: Bits of the measurement state.
        data: Its bytes; `WaveSpecification` says how wide a sample is.
    """

    physio_id: int
    state: int
    data: bytes


@dataclass(frozen=True, slots=True)
class WaveSpecification:
    """How the bytes of a waveform are samples.

    Attributes:
        sample_bytes: 1 or 2.
        significant_bits: Of a sample.
        extended: Whether the other bits are marks and must be masked.
    """

    sample_bytes: int
    significant_bits: int
    extended: bool


@dataclass(frozen=True, slots=True)
class WaveScale:
    """Two points of the line from samples to values.

    Attributes:
        lower: FLOAT-Type at `lower_sample`.
        upper: FLOAT-Type at `upper_sample`.
        lower_sample: Sample.
        upper_sample: Sample.
    """

    lower: int
    upper: int
    lower_sample: int
    upper_sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One entry of an alert list.

    Attributes:
        source: Term of what it is about.
        code: Term of the event; its lowest bit says which partition `source` is of.
        kind: Bits of priority and type.
        state: Bits of the alert state.
        handle: Object that it is about.
        text: What the monitor shows, may be empty; untrusted.
    """

    source: int
    code: int
    kind: int
    state: int
    handle: int
    text: str


def status_of(state: int) -> MeasurementStatus:
    """Return what the bits of a measurement state mean; the gravest counts.

    Source: 4535 642 59271, MeasurementState.
    """
    return next((s for bits, s in _STATES if state & bits), MeasurementStatus.VALID)


def priority_of(kind: int) -> AlarmPriority:
    """Return the priority of an alert.

    Source: 4535 642 59271, AlertType.
    """
    return next((p for bits, p in _PRIORITIES if kind & bits), AlarmPriority.LOW)


def inactivation_of(state: int) -> Inactivation:
    """Return the state of an alert's signals.

    Source: 4535 642 59271, AlertState.
    """
    return next((i for bits, i in _INACTIVATIONS if state & bits), Inactivation.NONE)


def numerics_of(attributes: Mapping[int, bytes]) -> Iterator[NumericValue]:
    """Return the observed numbers of an object, single or compound.

    Raises:
        FramingError: Cut short, or more than `ELEMENTS_MAX`.

    Source: 4535 642 59271, NuObsValue, NuObsValCmp.
    """
    single = attributes.get(NUMERIC_VALUE, b"")
    compound = attributes.get(NUMERIC_COMPOUND)
    data = single + (elements(compound) if compound is not None else b"")
    if len(data) % _NUMERIC.size or len(data) > ELEMENTS_MAX * _NUMERIC.size:
        raise FramingError("numeric value is cut short or too long")
    for fields in _NUMERIC.iter_unpack(data):
        yield NumericValue(*fields)


def waves_of(attributes: Mapping[int, bytes]) -> Iterator[WaveValue]:
    """Return the observed samples of an object, single or compound.

    Raises:
        FramingError: Cut short, or more than `ELEMENTS_MAX`.

    Source: 4535 642 59271, SaObsValue, SaObsValueCmp.
    """
    compound = attributes.get(WAVE_COMPOUND)
    data = attributes.get(WAVE_VALUE, b"")
    data += elements(compound) if compound is not None else b""
    at = found = 0
    while at < len(data):
        found += 1
        if at + _SAMPLES.size > len(data) or found > ELEMENTS_MAX:
            raise FramingError("samples are cut short or too many")
        physio_id, state, length = _SAMPLES.unpack_from(data, at)
        at += _SAMPLES.size
        if at + length > len(data):
            raise FramingError("samples are longer than their attribute")
        yield WaveValue(physio_id, state, data[at : at + length])
        at += length


def wave_specification(data: bytes) -> WaveSpecification:
    """Read how samples are stored.

    Raises:
        FramingError: Cut short, or a width that no monitor sends.

    Source: 4535 642 59271, SaSpec.
    """
    if len(data) < _SPECIFICATION.size:
        raise FramingError("sample array specification is cut short")
    _, bits, significant, flags = _SPECIFICATION.unpack_from(data)
    if bits not in {8, 16} or not 1 <= significant <= bits:
        raise FramingError("samples of this width are not known")
    return WaveSpecification(bits // 8, significant, bool(flags & _EXTENDED_RANGE))


def wave_scale(data: bytes) -> WaveScale:
    """Read the scale of a waveform.

    Raises:
        FramingError: Cut short.

    Source: 4535 642 59271, ScaleRangeSpec16.
    """
    if len(data) < _SCALE.size:
        raise FramingError("scale is cut short")
    return WaveScale(*_SCALE.unpack_from(data))


def invalid_mark(data: bytes) -> int:
    """Return the bits that mark a sample as invalid, 0 if none do.

    Source: 4535 642 59271, SaFixedValSpec16, SA_FIX_INVALID_MASK.
    """
    content = elements(data)
    whole = content[: len(content) - len(content) % _PAIR.size]
    return next((value for kind, value in _PAIR.iter_unpack(whole) if kind == _FIXED_INVALID), 0)


def raw_samples(wave: WaveValue, how: WaveSpecification) -> Sequence[int]:
    """Return the samples as unsigned numbers, marks included.

    Raises:
        FramingError: Half a sample at the end.
    """
    if how.sample_bytes == 1:
        return wave.data
    if len(wave.data) % 2:
        raise FramingError("samples end inside one")
    return struct.unpack(f">{len(wave.data) // 2}H", wave.data)


def alerts_of(data: bytes) -> Iterator[Alert]:
    """Read a list of active alerts.

    Raises:
        FramingError: Cut short, or more than `ELEMENTS_MAX`.

    Source: 4535 642 59271, DevAlarmList, DevAlarmEntry, StrAlMonInfo.
    """
    content = elements(data)
    at = found = 0
    while at < len(content):
        found += 1
        if at + _ALERT.size + 2 > len(content) or found > ELEMENTS_MAX:
            raise FramingError("alert list is cut short or too long")
        source, code, kind, state, _, _, handle, info, length = _ALERT.unpack_from(content, at)
        at += _ALERT.size
        if at + length > len(content):
            raise FramingError("alert is longer than its list")
        text = _alert_text(content[at : at + length]) if info == ALERT_STRING else ""
        at += length
        yield Alert(source=source, code=code, kind=kind, state=state, handle=handle, text=text)


def _alert_text(info: bytes) -> str:
    at = _ALERT_INFO.size
    if len(info) < at + 2:
        return ""
    length = int.from_bytes(info[at : at + 2], "big")
    return text_of(info[at + 2 : at + 2 + length])


def text_of(data: bytes) -> str:
    """Return a monitor's text: UTF-16 up to its first NUL, printable characters only.

    Source: 4535 642 59271, String.
    """
    text = data[: len(data) - len(data) % 2].decode("utf-16-be", "replace").partition("\0")[0]
    return "".join(c for c in text if c.isprintable()).strip()[:TEXT_CHARS_MAX]


def label_of(data: bytes) -> str:
    """Return the first of a list of labels, such as a model; printable ASCII only.

    Source: 4535 642 59271, VariableLabel.
    """
    length = int.from_bytes(data[:2], "big")
    text = data[2 : 2 + length].decode("ascii", "replace").partition("\0")[0]
    return "".join(c for c in text if c.isprintable()).strip()[:TEXT_CHARS_MAX]


def absolute_s(data: bytes) -> float | None:
    """Return an AbsoluteTime as seconds since 1970 if it were UTC; None if it says no time.

    The monitor's zone is unknown: only differences between two of its times mean something.

    Source: 4535 642 59271, AbsoluteTime (binary coded decimals).
    """
    digits = data[:8].hex()
    if len(digits) < 16 or not digits.isdigit():
        return None
    century, year, month, day, hour, minute, second = (
        int(digits[n : n + 2]) for n in range(0, 14, 2)
    )
    try:
        moment = datetime(100 * century + year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp()
