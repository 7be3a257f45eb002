"""Writing HL7 v2: values in, bytes out; what is written can be read back to the same values.

A field is written as Python nests it: a `str` is one leaf, a tuple holds components (a tuple inside
it subcomponents), a list holds repetitions, and `Verbatim` bytes go out as they are.

Source: HL7 v2.8.2 sections 2.5 (framework), 2.6 (construction rules) and 2.7 (escape sequences).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded, UnsupportedMedia
from asepsis.core.wire.hl7_parts import CR, DEFAULT_LIMITS, STANDARD, Delimiters
from asepsis.core.wire.hl7_text import CODECS, escape

NULL: Final = '""'
"""The HL7 null: "delete the value you have". Source: HL7 v2.8.2 section 2.5.3."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Bytes of one field that are on the wire already, such as a field echoed in an answer.

    Attributes:
        data: Escaped with the delimiters of the message it goes into.

    Source: HL7 v2.8.2 section 2.5.3.
    """

    data: bytes


Component = str | tuple[str, ...]
Repetition = str | tuple[Component, ...]
Field = Repetition | list[Repetition] | Verbatim
Fields = Mapping[int, Field] | Sequence[Field]
"""Fields of one segment: by number from 1, or all in order from field 1 (MSH: from MSH-3)."""


class Writer:
    """Writes the segments of messages in one character set and with one set of delimiters.

    Args:
        delimiters: For MSH-1 and MSH-2.
        charset: Name of HL7 table 0211; the caller puts it into MSH-18.

    Raises:
        UnsupportedMedia: A character set that is not written.

    Source: HL7 v2.8.2 sections 2.5.4 and 2.14.9.18.
    """

    __slots__ = ("_codec", "_delimiters")

    def __init__(
        self, *, delimiters: Delimiters = STANDARD, charset: str = "UNICODE UTF-8"
    ) -> None:
        if charset not in CODECS:
            raise UnsupportedMedia("a character set that is not written")
        self._codec = CODECS[charset]
        self._delimiters = delimiters

    def segment(self, name: str, fields: Fields) -> bytes:
        """Return one segment without its carriage return; trailing empty fields are left out.

        Args:
            name: Three letters such as "PID".
            fields: By number from 1, or in order. In MSH, the separator and MSH-2 are written by
                the writer: the order begins at MSH-3 and the numbers 1 and 2 are refused.

        Raises:
            InputError: A bad name or number, or text that cannot be written.

        Source: HL7 v2.8.2 sections 2.5.2, 2.5.3 and 2.6.
        """
        if len(name) != 3 or not (name.isascii() and name.isalnum() and name.isupper()):
            raise InputError("not a segment name")
        first = 3 if name == "MSH" else 1
        numbered = fields if isinstance(fields, Mapping) else dict(enumerate(fields, first))
        last = max(numbered, default=0)
        if min(numbered, default=first) < first or last > DEFAULT_LIMITS.fields_max:
            raise InputError("field number out of range")
        written = [self.field(numbered.get(number, "")) for number in range(first, last + 1)]
        while written and not written[-1]:
            written.pop()
        head = [name.encode("ascii")]
        if name == "MSH":
            head.append(self._delimiters.encoding)
        return self._delimiters.field.join(head + written)

    def field(self, value: Field) -> bytes:
        """Return one field.

        Args:
            value: Leaf, components, repetitions or bytes that are written already.

        Raises:
            InputError: Text that cannot be written with these delimiters or in this character set,
                or verbatim bytes that hold a field separator or a control byte.

        Source: HL7 v2.8.2 sections 2.5.3 and 2.7.
        """
        if isinstance(value, Verbatim):
            return self._verbatim(value.data)
        if isinstance(value, list):
            return self._delimiters.repetition.join(map(self._repetition, value))
        return self._repetition(value)

    def _verbatim(self, data: bytes) -> bytes:
        if self._delimiters.field in data or any(byte < 0x20 and byte != 0x09 for byte in data):
            raise InputError("verbatim field holds a separator or a control byte")
        return data

    def _repetition(self, value: Repetition) -> bytes:
        if isinstance(value, str):
            return self._leaf(value)
        return _trimmed(self._delimiters.component, [self._component(part) for part in value])

    def _component(self, value: Component) -> bytes:
        if isinstance(value, str):
            return self._leaf(value)
        if len(value) > 1 and not self._delimiters.subcomponent:
            raise InputError("subcomponents, and MSH-2 names no separator for them")
        return _trimmed(self._delimiters.subcomponent, [self._leaf(part) for part in value])

    def _leaf(self, text: str) -> bytes:
        return escape(text, self._delimiters, self._codec)


def _trimmed(separator: bytes, parts: list[bytes]) -> bytes:
    while parts and not parts[-1]:
        parts.pop()
    return separator.join(parts)


def join_segments(segments: Sequence[bytes], *, bytes_max: int = DEFAULT_LIMITS.bytes_max) -> bytes:
    """Return one message of written segments, each ended by a carriage return.

    Args:
        segments: MSH first, at least one.
        bytes_max: Largest message the other side takes, in bytes.

    Raises:
        InputError: The first is no MSH.
        LimitExceeded: The message is longer than `bytes_max`.

    Source: HL7 v2.8.2 section 2.6.
    """
    if not segments or not segments[0].startswith(b"MSH"):
        raise InputError("message does not begin with MSH")
    message = CR.join((*segments, b""))
    if len(message) > bytes_max:
        raise LimitExceeded(f"message is over {bytes_max} bytes")
    return message
