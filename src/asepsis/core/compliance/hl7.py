"""Judges HL7 v2 messages: header, required fields, closed lists, and every number. Never raises.

Source: HL7 v2.8.2 chapter 2 (control) and 7 (observations); IHE PCD-01 (OBX in MDC and UCUM).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

from asepsis.core.compliance import fields
from asepsis.core.compliance.profile import Profile, Required, Table
from asepsis.core.compliance.values import UNKNOWN_UNIT, ValueJudge, unit_text
from asepsis.core.compliance.verdict import Finding, Rule, Severity, Verdict
from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_header import Header
from asepsis.core.wire.hl7_parts import Path, path_of

OCCURRENCES_MAX: Final = 2_000
"""Segments of one name that are looked at; a message has some hundred OBX."""
NUMBER_CHARS_MAX: Final = 64
_MDC: Final = b"MDC"
_UCUM: Final = b"UCUM"
_ANY: Final = "*"


@dataclass(slots=True)
class Hl7Judge:
    """Judges the messages of one profile; it belongs to one thread.

    Attributes:
        profile: What the device declares.
    """

    profile: Profile
    values: ValueJudge = field(init=False)

    def __post_init__(self) -> None:
        self.values = ValueJudge(self.profile)

    def body(self, body: bytes) -> Verdict:
        """Judge bytes as they came, without their MLLP envelope."""
        if len(body) > self.profile.bytes_max:
            reason = f"{len(body)} bytes, the device declares {self.profile.bytes_max}"
            return Verdict.of((self._found(Rule.SIZE, reason),))
        try:
            message = Message.parse(body)
        except LimitExceeded as error:
            return Verdict.of((self._found(Rule.SIZE, str(error)),))
        except InputError as error:
            return Verdict.of((self._found(Rule.FRAMING, str(error)),))
        return self.message(message)

    def message(self, message: Message) -> Verdict:
        """Judge a parsed message: its form and all its numbers."""
        return Verdict.of((*self._form(message), *self._numbers(message)))

    def form(self, message: Message) -> Verdict:
        """Judge header, required fields and closed lists, not the numbers."""
        return Verdict.of((*self._form(message), *self._size(message)))

    def refusal(self, message: Message) -> Verdict:
        """Judge only what may refuse a message that can be read: its size and its sender.

        It is asked for each message on its way in, so it looks at nothing else.
        """
        return Verdict.of((*self._size(message), *self._sender(message.header)))

    def _size(self, message: Message) -> Iterator[Finding]:
        if len(message.body) > self.profile.bytes_max:
            reason = f"{len(message.body)} bytes, the device declares {self.profile.bytes_max}"
            yield self._found(Rule.SIZE, reason)

    def _form(self, message: Message) -> Iterator[Finding]:
        kind = type_of(message)
        yield from self._header(message.header, kind)
        for rule in self.profile.required:
            if _holds(rule, kind):
                yield from _missing(message, rule)
        for table in self.profile.tables:
            if _holds(table, kind):
                yield from _unlisted(message, table)

    def _header(self, header: Header, kind: str) -> Iterator[Finding]:
        said, profile = self.profile.header, self.profile
        if profile.types and not _is_among(kind, profile.types):
            yield self._found(Rule.MESSAGE_TYPE, "not a type that the device declares", "MSH-9")
        for rule, number, allowed in (
            (Rule.VERSION, 12, said.versions),
            (Rule.CHARSET, 18, said.charsets),
            (Rule.MESSAGE_PROFILE, 21, said.profiles),
        ):
            if allowed and _text(header, number) not in allowed:
                yield self._found(rule, "not what the device declares", f"MSH-{number}")
        try:
            header.character_set.codec.encode()
        except InputError as error:
            yield self._found(Rule.CHARSET, str(error), "MSH-18")
        yield from self._sender(header)

    def _sender(self, header: Header) -> Iterator[Finding]:
        senders = self.profile.header.senders
        if senders and f"{_text(header, 3)}|{_text(header, 4)}" not in senders:
            yield self._found(Rule.IDENTITY, "another sender than the device declares", "MSH-3")

    def _numbers(self, message: Message) -> Iterator[Finding]:
        component = message.delimiters.component
        columns = message.columns("OBX", 2, 3, 5, 6)
        rows = zip(*columns, strict=True)
        for row, (kind, code, value, unit) in enumerate(rows, start=1):
            if row > OCCURRENCES_MAX:
                return
            if kind != b"NM":
                continue
            mdc_code = mdc_code_of(code, component)
            if mdc_code is None:
                yield self._found(Rule.CODE, "no code of MDC", f"OBX[{row}]-3")
                continue
            number, readable = _number(value)
            if not readable:
                yield self._found(Rule.RANGE, "not a number", f"OBX[{row}]-5")
            for found in self.values.value(mdc_code, unit_of(unit, component), number):
                at = fields.OF_VALUE.get(found.rule, 5)
                yield Finding(found.rule, found.severity, found.reason, f"OBX[{row}]-{at}")

    def _found(self, rule: Rule, reason: str, where: str = "") -> Finding:
        return Finding(rule, self.profile.severity(rule), reason, where)


def type_of(message: Message) -> str:
    """Return MSH-9 as `ORU^R01`; what is not ASCII is shown as `?`.

    Source: HL7 v2.8.2 section 2.14.9.9.
    """
    parts = message.header.raw(9).split(message.delimiters.component)[:2]
    return b"^".join(parts).decode("ascii", "replace")


def _is_among(kind: str, types: Iterable[str]) -> bool:
    code = kind.partition("^")[0]
    return any(one in (kind, f"{code}^{_ANY}", _ANY) for one in types)


def _holds(rule: Required | Table, kind: str) -> bool:
    return not rule.types or _is_among(kind, rule.types)


def _missing(message: Message, rule: Required) -> Iterator[Finding]:
    severity = Severity.named(rule.severity)
    name = rule.at[:3]
    count = min(message.names.count(name.encode()), OCCURRENCES_MAX)
    if not count:
        yield Finding(Rule.REQUIRED, severity, "the segment is missing", name)
        return
    if len(rule.at) == len(name):
        return
    place = path_of(rule.at)
    for occurrence, raw in _each(message, place, count):
        if not raw.strip(message.delimiters.encoding):
            where = fields.named(place, occurrence if count > 1 else 0)
            yield Finding(Rule.REQUIRED, severity, "is empty", where)


def _unlisted(message: Message, table: Table) -> Iterator[Finding]:
    place, severity = path_of(table.at), Severity.named(table.severity)
    count = min(message.names.count(place.segment), OCCURRENCES_MAX)
    for occurrence, raw in _each(message, place, count):
        if not raw:
            continue
        try:
            listed = message.decode(raw) in table.values
        except InputError:
            listed = False
        if not listed:
            where = fields.named(place, occurrence if count > 1 else 0)
            yield Finding(Rule.TABLE, severity, "not a value that the device declares", where)


def _each(message: Message, place: Path, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of one element of every segment of a name."""
    at = -1
    for occurrence in range(1, count + 1):
        at = message.names.index(place.segment, at + 1)
        yield occurrence, message.element(at, place)


def _text(header: Header, number: int) -> str:
    try:
        return header.text(number)
    except InputError:
        return "?"


def mdc_code_of(raw: bytes, component: bytes) -> int | None:
    """Return the MDC code of OBX-3, from its first or its alternate triplet."""
    parts = raw.split(component)
    for start in (0, 3):
        number, _, system = (*parts[start : start + 3], b"", b"", b"")[:3]
        if system == _MDC and number.isdigit() and len(number) <= 10:
            code = int(number)
            if 0 < code <= 0xFFFFFFFF:
                return code
    return None


def unit_of(raw: bytes, component: bytes) -> str:
    """Return OBX-6 as UCUM; `UNKNOWN_UNIT` where it is neither MDC nor UCUM."""
    identifier, _, system = (*raw.split(component)[:3], b"", b"", b"")[:3]
    if system == _MDC and identifier.isdigit() and len(identifier) <= 10:
        return unit_text(int(identifier))
    if system == _UCUM and len(identifier) <= NUMBER_CHARS_MAX:
        return identifier.decode("ascii", "replace")
    return UNKNOWN_UNIT


def _number(raw: bytes) -> tuple[Decimal | None, bool]:
    """Return a number, or None and whether its absence is an honest one."""
    if not raw:
        return None, True
    try:
        value = Decimal(raw.decode("ascii")) if len(raw) <= NUMBER_CHARS_MAX else None
    except (UnicodeDecodeError, InvalidOperation):
        return None, False
    return (value, True) if value is not None and value.is_finite() else (None, False)
