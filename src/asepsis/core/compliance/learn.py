"""Proposes a profile from what a device model was seen to send. Pure.

What was seen is no declaration: the proposal names no range at all, because the lowest and highest
numbers of a day are those of patients, not of the device. Its comments say what was seen and how
often; a person completes it from the manual.

Source: docs/howto/enforce-a-profile.md.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.compliance import fields
from asepsis.core.compliance.hl7 import mdc_code_of, type_of, unit_of
from asepsis.core.compliance.profile import (
    BYTES_MAX,
    FORMAT,
    METRICS_MAX,
    Interface,
    read_profile,
)
from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.mapping import nomenclature, ucum
from asepsis.core.wire.hl7 import Message, MessageReader

MESSAGES_MIN: Final = 3
"""Fewer messages of a type say nothing about what is always there."""
DISTINCT_MAX: Final = 64
"""Different values of one thing that are remembered; beyond it there is no closed list."""
TABLE_VALUES_MAX: Final = 12
TABLE_SEEN_MIN: Final = 20
"""A closed list is proposed only of a field that was seen so often."""
MESSAGES_MAX: Final = 1_000_000
LISTED: Final = ("MSH-11", "PID-8", "PV1-2", "OBX-2", "OBX-11")
"""Coded fields of which a closed list is proposed."""
VALUE_CHARS_MAX: Final = 40
BODY_SLACK: Final = 4
"""The proposed size is so many times the largest message: alarms and long names come later."""
_BLOCK_START, _BLOCK_END = b"\x0b", b"\x1c\r"


@dataclass(slots=True)
class Learner:
    """Watches messages and writes what they have in common; it belongs to one thread."""

    messages: int = 0
    unreadable: int = 0
    _bytes_max: int = 0
    _seen: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter[str]))
    _segments: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    _filled: Counter[str] = field(default_factory=Counter[str])
    _rows: Counter[str] = field(default_factory=Counter[str])
    _metrics: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])
    _reader: MessageReader = field(default_factory=MessageReader)

    def take(self, body: bytes) -> None:
        """Watch one message; what cannot be read is counted.

        Raises:
            LimitExceeded: More than `MESSAGES_MAX` messages.
        """
        if self.messages + self.unreadable >= MESSAGES_MAX:
            raise LimitExceeded(f"at most {MESSAGES_MAX} messages are watched")
        try:
            message = self._reader.parse(body)
        except InputError:
            self.unreadable += 1
            return
        self.messages += 1
        self._bytes_max = max(self._bytes_max, len(body))
        self._header(message)
        self._fields(message)
        self._values(message)

    def propose(self, *, name: str, models: Sequence[str] = (), source: str = "") -> str:
        """Return a profile as TOML with comments; `read_profile` takes it.

        Args:
            name: Name of the profile.
            models: Device models that it is for.
            source: What was watched.

        Raises:
            InputError: No message could be read, or the name is none.
        """
        if not self.messages:
            raise InputError("no HL7 v2 message was seen", hint="is it MLLP, and in clear?")
        text = "\n".join(self._lines(name, models, source)) + "\n"
        read_profile(text.encode())
        return text

    def _header(self, message: Message) -> None:
        header = message.header
        self._note("type", _kind(message))
        sender = _plain(header.raw(3)), _plain(header.raw(4))
        self._note("sender", "|".join(part.partition("^")[0] for part in sender))
        for number in (12, 18, 21):
            leaf = header.raw(number).split(message.delimiters.component)[0]
            self._note(f"MSH-{number}", _plain(leaf))

    def _note(self, what: str, value: str) -> None:
        seen = self._seen[what]
        if value in seen or len(seen) < DISTINCT_MAX:
            seen[value] += 1
        else:
            seen["?"] += 1

    def _fields(self, message: Message) -> None:
        kind = _kind(message)
        for segment in {raw.decode("ascii", "replace") for raw in message.names}:
            if len(self._segments) < DISTINCT_MAX * DISTINCT_MAX:
                self._segments[kind, segment] += 1
        for path in fields.NAMES:
            segment, number = path.split("-")
            for raw in message.columns(segment, int(number))[0]:
                self._rows[path] += 1
                if raw.strip(message.delimiters.encoding):
                    self._filled[path] += 1
                    if path in LISTED:
                        self._note(path, _plain(raw))

    def _values(self, message: Message) -> None:
        component = message.delimiters.component
        for kind, code, unit in zip(*message.columns("OBX", 2, 3, 6), strict=True):
            mdc_code = mdc_code_of(code, component) if kind == b"NM" else None
            if mdc_code is not None and len(self._metrics) < METRICS_MAX:
                self._metrics[mdc_code, _plain(unit_of(unit, component).encode())] += 1

    def _lines(self, name: str, models: Sequence[str], source: str) -> Iterator[str]:
        yield f"# Proposed from {self.messages} messages ({self.unreadable} unreadable)."
        yield "# What was seen is no declaration: read it, and complete it from the manual."
        yield f"format = {FORMAT}"
        yield f"name = {_text(name)}"
        yield "version = 1"
        yield f"interface = {_text(Interface.HL7V2)}"
        yield f"models = {_list(models)}"
        yield f"source = {_text(source[: VALUE_CHARS_MAX * 8])}"
        yield f"# The largest message had {self._bytes_max} bytes."
        yield f"bytes_max = {min(BYTES_MAX, max(1_024, self._bytes_max * BODY_SLACK))}"
        yield from self._closed("types", "type")
        yield ""
        yield "# A day of traffic refuses nobody: a person raises these to block."
        yield "[severities]"
        yield 'identity = "warn"'
        yield 'size = "warn"'
        yield ""
        yield "[header]"
        for key, what in (
            ("versions", "MSH-12"),
            ("charsets", "MSH-18"),
            ("profiles", "MSH-21"),
            ("senders", "sender"),
        ):
            yield from self._closed(key, what)
        yield from self._required()
        yield from self._tables()
        yield from self._declared()
        yield ""
        yield "[clock]"
        yield "skew_s_max = 10.0"

    def _closed(self, key: str, what: str) -> Iterator[str]:
        seen = self._seen.get(what, Counter[str]())
        values = sorted(value for value in seen if value or what == "MSH-18")
        open_ended = "?" in seen or (not all(seen) and what != "MSH-18")
        counts = ", ".join(str(seen[value]) for value in values)
        yield f"# Seen {counts} times." if counts else "# Never seen."
        if open_ended:
            yield "# Not a closed list: some messages had none, or what cannot be written here."
        yield f"{key} = {_list(() if open_ended else values)}"

    def _required(self) -> Iterator[str]:
        for kind, count in sorted(self._seen["type"].items()):
            if count < MESSAGES_MIN or kind in ("", "?"):
                continue
            always = sorted(
                segment
                for (of, segment), times in self._segments.items()
                if of == kind and times == count and segment != "MSH"
            )
            for segment in always:
                if len(segment) == 3 and segment.isalnum():
                    yield from self._required_segment(kind, segment, count)

    def _required_segment(self, kind: str, segment: str, count: int) -> Iterator[str]:
        yield ""
        yield f"# In all {count} messages of this type."
        yield "[[required]]"
        yield f"at = {_text(segment)}"
        yield f"types = {_list((kind,))}"
        yield 'severity = "warn"'
        for path in fields.NAMES:
            rows = self._rows[path]
            if path.startswith(f"{segment}-") and rows >= MESSAGES_MIN:
                if self._filled[path] < rows:
                    continue
                yield ""
                yield f"# {fields.NAMES[path].capitalize()}: in all {rows} segments."
                yield "[[required]]"
                yield f"at = {_text(path)}"
                yield f"types = {_list((kind,))}"
                yield 'severity = "warn"'

    def _tables(self) -> Iterator[str]:
        for path in LISTED:
            seen = self._seen.get(path, Counter[str]())
            if "?" in seen or not 0 < len(seen) <= TABLE_VALUES_MAX:
                continue
            if seen.total() < TABLE_SEEN_MIN:
                continue
            yield ""
            yield f"# {fields.NAMES[path].capitalize()}: seen {seen.total()} times."
            yield "[[tables]]"
            yield f"at = {_text(path)}"
            yield f"values = {_list(sorted(seen))}"
            yield 'severity = "warn"'

    def _declared(self) -> Iterator[str]:
        told: set[int] = set()
        for (code, unit), count in sorted(self._metrics.items()):
            if code in told:
                continue
            told.add(code)
            row = nomenclature.metric_of(code)
            yield ""
            yield f"# Seen {count} times. Add low and high as the manual declares them."
            yield "[[metrics]]"
            yield f"code = {code}"
            yield f"refid = {_text(row.refid if row else '')}"
            yield f"unit = {_text(_readable_unit(unit))}"


def messages_in(data: bytes) -> Iterator[bytes]:
    """Yield the payloads of MLLP blocks in bytes that may begin or end in the middle of one.

    Args:
        data: One direction of a connection, from a capture.

    Source: MLLP Release 1, block format.
    """
    at = 0
    while (start := data.find(_BLOCK_START, at)) >= 0:
        end = data.find(_BLOCK_END, start)
        if end < 0:
            return
        again = data.rfind(_BLOCK_START, start, end)
        yield data[again + 1 : end]
        at = end + len(_BLOCK_END)


def _kind(message: Message) -> str:
    return _plain(type_of(message).encode())


def _plain(raw: bytes) -> str:
    """Return what may stand in a proposal; `?` for what is long or not plain ASCII."""
    if len(raw) > VALUE_CHARS_MAX or not raw.isascii():
        return "?"
    text = raw.decode("ascii")
    return text if text.isprintable() else "?"


def _readable_unit(unit: str) -> str:
    return unit if unit != "?" and _reads(unit) else ""


def _reads(unit: str) -> bool:
    """Tell whether a UCUM expression can be read; an empty one says nothing and can."""
    try:
        return not unit or bool(ucum.parse(unit))
    except InputError:
        return False


def _text(value: str) -> str:
    """Write a TOML basic string; JSON escapes what TOML escapes, for printable text."""
    return json.dumps("".join(c for c in value if c.isprintable()), ensure_ascii=False)


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(_text(value) for value in values)}]"
