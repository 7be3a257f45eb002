"""The rows of a PCD-01 message: device, metric, unit, number and time of each OBX, losses counted.

Source: IHE PCD Technical Framework volume 2, appendix B (OBR, OBX, PRT segments of PCD-01).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final, NamedTuple

from asepsis.core.errors import ContentMismatch, InputError
from asepsis.core.mapping import nomenclature
from asepsis.core.mapping.fhir_numeric import UNIT_UNSPECIFIED, float_of
from asepsis.core.mapping.loss import Mapped
from asepsis.core.mapping.pcd01_clock import SenderClock, TimeOf
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire.float_type import FloatSpecial
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageFindings

NUMBER_CHARS_MAX: Final = 64
_KEPT_BYTES_MAX: Final = 256
_UNNAMED: Final = ("unit: no MDC code is known for it",)
_CODE_MAX: Final = 0xFFFFFFFF
_MEASURED: Final = frozenset((b"F", b"R", b"P", b"C", b"U", b""))
"""OBX-11: final, entered but not verified (what devices send), preliminary, corrected."""
_ABSENT: Final = b"X"
_STATUSES: Final = {
    b"INV": MeasurementStatus.INVALID,
    b"QUES": MeasurementStatus.QUESTIONABLE,
    b"NAV": MeasurementStatus.NOT_AVAILABLE,
    b"CALI": MeasurementStatus.CALIBRATING,
    b"TEST": MeasurementStatus.TEST,
}
_MDC: Final = b"MDC"
_UCUM: Final = b"UCUM"
SURE: Final = frozenset((Certainty.OFFSET, Certainty.ZONE, Certainty.AMBIGUOUS))


class Value(NamedTuple):
    """One number with all that must be known of it.

    Attributes:
        device: Name of its device.
        path: OBX-4.
        mdc_code: Metric.
        unit_code: Unit.
        value: FLOAT-Type.
        status: Quality.
        at_ns: When it was measured, nanoseconds since 1970.
        later_by_ns: How much later it may have been, where the hour is repeated.
        certainty: How surely `at_ns` is known.
    """

    device: str
    path: bytes
    mdc_code: int
    unit_code: int
    value: int
    status: MeasurementStatus
    at_ns: int
    later_by_ns: int
    certainty: Certainty


class _Row(NamedTuple):
    kind: bytes
    code: bytes
    path: bytes
    value: bytes
    unit: bytes
    flags: bytes
    status: bytes
    at: bytes
    word: bytes


@dataclass(slots=True)
class _Order:
    """One OBR with its rows; each row with the device words of the PRT behind it."""

    at: bytes
    words: list[bytes] = field(default_factory=list[bytes])
    rows: list[tuple[_Row, list[bytes]]] = field(default_factory=list[tuple[_Row, list[bytes]]])


class _Loss(Exception):  # noqa: N818 - it is one, and never leaves this module
    """Why a row has no place in the result."""


def read(
    message: Message, findings: MessageFindings, *, unfit: bool = False
) -> Mapped[Sequence[Value]]:
    """Return every number of an ORU^R01 that is said without doubt.

    Args:
        message: The message.
        findings: What its gateway found out; names the devices and the zone.
        unfit: Whether a value in a unit that its metric never has is returned, too.
    """
    values: list[Value] = []
    losses: list[str] = []
    devices = dict(findings.peer.devices)
    clock = SenderClock(message, findings)
    for order in _orders(message):
        systems = _systems(order, devices, message)
        for row, words in order.rows:
            if not row.kind and not row.value:
                continue  # A device, subsystem or channel: the containment itself, no value.
            try:
                device = _device(row, words, order, devices, systems, message)
                at = clock.time(row.at or order.at)
                values.append(_value(row, device, message, at, losses, unfit=unfit))
            except _Loss as loss:
                losses.append(str(loss))
    return Mapped(tuple(values), tuple(losses))


def times(message: Message, findings: MessageFindings) -> Mapping[str, frozenset[TimeOf]]:
    """Return the times of the values of each device, without looking at the values where it can.

    Args:
        message: An ORU^R01.
        findings: What its gateway found out.
    """
    devices = dict(findings.peer.devices)
    if not devices:
        return {}
    kinds, ats, words = message.columns("OBX", 2, 14, 18)
    named = {devices.get(word, "") for word in set(words) if word}
    if len(named) == 1 and "" not in named and b"PRT" not in message.names:
        requests = message.columns("OBR", 7)[0]
        written = {at for kind, at in set(zip(kinds, ats, strict=True)) if kind}
        if b"" not in written or len(requests) <= 1:
            clock = SenderClock(message, findings)
            stands_in = requests[0] if requests else b""
            return {named.pop(): frozenset(clock.time(at or stands_in) for at in written)}
    found: dict[str, set[TimeOf]] = {}
    for value in read(message, findings).value:
        time = TimeOf(value.at_ns, value.later_by_ns, value.certainty)
        found.setdefault(value.device, set()).add(time)
    return {device: frozenset(each) for device, each in found.items()}


def _orders(message: Message) -> Iterator[_Order]:
    columns = message.columns("OBX", 2, 3, 4, 5, 6, 8, 11, 14, 18)
    rows = iter(list(map(_Row, *columns)))
    requests = iter(message.columns("OBR", 7)[0])
    parts = iter(message.columns("PRT", 10)[0])
    order = _Order(b"")
    for name in message.names:
        if name == b"OBR":
            yield order
            order = _Order(next(requests))
        elif name == b"OBX":
            order.rows.append((next(rows), []))
        elif name == b"PRT":
            (order.rows[-1][1] if order.rows else order.words).append(next(parts))
    yield order


def _systems(order: _Order, devices: Mapping[bytes, str], message: Message) -> dict[bytes, str]:
    """Return the device of each medical device system, "" where two are named for one."""
    found: dict[bytes, str] = {}
    for row, words in order.rows:
        for word in _words((row.word, *words), message):
            system = row.path.split(b".", 1)[0]
            device = devices.get(word, "")
            if found.setdefault(system, device) != device:
                found[system] = ""
    return found


def _words(raw: Sequence[bytes], message: Message) -> Sequence[bytes]:
    """Return the device words of fields, one for each repetition that says something."""
    said = [whole for whole in raw if whole]
    if not said:
        return ()
    delimiters = message.delimiters
    return [
        word
        for whole in said
        for word in (
            whole.split(delimiters.repetition) if delimiters.repetition in whole else (whole,)
        )
        if word.strip(delimiters.component)
    ]


def _device(
    row: _Row,
    words: list[bytes],
    order: _Order,
    devices: Mapping[bytes, str],
    systems: Mapping[bytes, str],
    message: Message,
) -> str:
    """Return whose value a row is.

    Raises:
        _Loss: Nobody's, somebody's whom the gateway may not speak for, or two devices'.
    """
    named = _words((row.word, *words), message) or _words(order.words, message)
    found = {devices.get(word, "") for word in named}
    if not found:
        found = {systems.get(row.path.split(b".", 1)[0], "")}
    if len(found) != 1 or "" in found:
        raise _Loss("device: unverified")
    return found.pop()


def _value(
    row: _Row,
    device: str,
    message: Message,
    at: "TimeOf",
    losses: list[str],
    *,
    unfit: bool,
) -> Value:
    if row.kind != b"NM":
        raise _Loss(f"value: type {_shown(row.kind)} is no number")
    component = message.delimiters.component
    kept = len(row.code) + len(row.unit) + len(row.value) <= _KEPT_BYTES_MAX
    code = (_metric if kept else _metric.__wrapped__)(row.code, component)
    status, special = _status(row, message)
    number, unit = int(special or 0), UNIT_UNSPECIFIED
    if special is None:
        number, rounded = (_number if kept else _number.__wrapped__)(row.value)
        unit, unnamed = (_unit if kept else _unit.__wrapped__)(row.unit, component, code, unfit)
        losses += (*rounded, *unnamed)
    if at.certainty not in SURE:
        losses.append(f"time: {at.certainty.value}, time of arrival taken")
    return Value(
        device, row.path, code, unit, number, status, at.at_ns, at.later_by_ns, at.certainty
    )


@lru_cache(maxsize=4_096)  # A device says the same metrics, units and numbers again and again.
def _metric(raw: bytes, component: bytes) -> int:
    """Return the MDC code of OBX-3, from its first or its alternate triplet.

    Raises:
        _Loss: No code of MDC, or a number and a name that are not the same metric.
    """
    parts = raw.split(component)
    for start in (0, 3):
        number, name, system = (*parts[start : start + 3], b"", b"", b"")[:3]
        if system == _MDC and number.isdigit() and len(number) <= 10:
            code = int(number)
            if not 0 < code <= _CODE_MAX:
                break
            metric = nomenclature.METRICS_BY_CODE.get(code)
            if metric is None:
                raise _Loss("metric: its MDC code is not in the tables")
            if name and name.decode("ascii", "replace") != metric.refid:
                raise _Loss("metric: number and name of its code contradict each other")
            return code
    raise _Loss("metric: no MDC code")


def _status(row: _Row, message: Message) -> tuple[MeasurementStatus, FloatSpecial | None]:
    """Return the status of a row, and a special where it has no number.

    Raises:
        _Loss: OBX-11 says that this is no measurement, or there is no value and no reason.
    """
    flags = row.flags.split(message.delimiters.repetition) if row.flags else ()
    found = [_STATUSES[flag] for flag in flags if flag in _STATUSES]
    status = max(found) if found else MeasurementStatus.VALID
    if row.status == _ABSENT:
        return MeasurementStatus.NOT_AVAILABLE, FloatSpecial.NAN
    if row.status not in _MEASURED:
        raise _Loss("status: OBX-11 says that it is no measurement")
    if not row.value:
        if not found:
            raise _Loss("value: empty, and no reason given")
        return status, FloatSpecial.NAN
    return status, None


@lru_cache(maxsize=4_096)
def _number(raw: bytes) -> tuple[int, tuple[str, ...]]:
    """Return OBX-5 as FLOAT-Type, and what it could not carry.

    Raises:
        _Loss: Not a number.
    """
    losses: list[str] = []
    try:
        if len(raw) > NUMBER_CHARS_MAX:
            raise _Loss("value: not a number")
        value = Decimal(raw.decode("ascii"))
        if not value.is_finite():
            raise _Loss("value: not a number")
        return float_of(value, losses), tuple(losses)
    except (UnicodeDecodeError, InvalidOperation, InputError) as error:
        raise _Loss("value: not a number") from error


@lru_cache(maxsize=4_096)
def _unit(
    raw: bytes,
    component: bytes,
    code: int,
    unfit: bool,  # noqa: FBT001 - a key of the cache
) -> tuple[int, tuple[str, ...]]:
    """Return the MDC code of OBX-6, which is in MDC or UCUM, and what it could not carry.

    Raises:
        _Loss: No unit, an unknown one, or one that the metric never has, unless `unfit` are taken.
    """
    identifier, _, system = (*raw.split(component)[:3], b"", b"", b"")[:3]
    try:
        if system == _MDC and identifier.isdigit() and len(identifier) <= 10:
            unit = int(identifier)
            if unfit and nomenclature.dimension_of(unit) is not None:
                return unit, ()
            if not nomenclature.check_unit(code, unit):
                raise _Loss("unit: its MDC code is not in the tables")
            return unit, ()
        if system == _UCUM and identifier:
            text = identifier.decode("ascii")
            if not unfit:
                nomenclature.check_ucum(code, text)
            found = nomenclature.unit_code_for(code, text)
            return (UNIT_UNSPECIFIED, _UNNAMED) if found is None else (found, ())
    except ContentMismatch as error:
        raise _Loss("unit: of the wrong dimension for its metric") from error
    except (InputError, UnicodeDecodeError) as error:
        raise _Loss("unit: not UCUM") from error
    raise _Loss("unit: neither MDC nor UCUM")


def _shown(raw: bytes) -> str:
    return raw.decode("ascii") if raw.isalnum() and len(raw) <= 3 else "unknown"
