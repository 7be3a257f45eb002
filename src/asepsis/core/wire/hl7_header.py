"""The MSH segment of an HL7 v2 message, read lazily: who sends what to whom, and in which form.

Source: HL7 v2.8.2 section 2.14.9 (MSH - message header segment).
"""

from collections.abc import Sequence
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire.hl7_parts import (
    DEFAULT_LIMITS,
    Delimiters,
    Hl7Limits,
    delimiters_of,
    part_span,
)
from asepsis.core.wire.hl7_text import CharacterSet, character_set, text_of

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff", b"M\x00", b"\x00M", b"\x00\x00")
_LINE_ENDS: Final = b"\r\n"
_SALVAGE_BYTES_MAX: Final = 8_192


class Header:
    """MSH of one message; each property reads its field when asked.

    Text properties give the first leaf of the field, unescaped and decoded, or "" if it is absent;
    they raise `InputError` where the bytes are not valid in the declared character set.

    Args:
        fields: Fields of the segment as they stand: "MSH", MSH-2, MSH-3 ... (MSH-1 is no field on
            the wire).
        delimiters: Of the message.
        marked: Whether a UTF-8 byte order mark stood before it.

    Source: HL7 v2.8.2 section 2.14.9.
    """

    __slots__ = ("_fields", "_marked", "delimiters")

    def __init__(self, fields: Sequence[bytes], delimiters: Delimiters, *, marked: bool) -> None:
        self._fields = fields
        self._marked = marked
        self.delimiters = delimiters

    @classmethod
    def salvage(cls, data: bytes, *, limits: Hl7Limits = DEFAULT_LIMITS) -> "Header":
        """Read only the header of bytes that may be wrong further on, to be able to answer them.

        Args:
            data: A message as received; nothing after the first segment is looked at.
            limits: Fields accepted in the segment.

        Raises:
            InputError: Not even a header can be read.
            LimitExceeded: The first segment is longer than 8,192 bytes or has too many fields.

        Source: HL7 v2.8.2 section 2.9.2 (acknowledgement of a rejected message).
        """
        marked = data.startswith(BYTE_ORDER_MARK)
        head = data[3 if marked else 0 :][: _SALVAGE_BYTES_MAX + 1]
        ends = [at for at in (head.find(end) for end in _LINE_ENDS) if at >= 0]
        line = head[: min(ends)] if ends else head
        if len(line) > _SALVAGE_BYTES_MAX:
            raise LimitExceeded(f"MSH is longer than {_SALVAGE_BYTES_MAX} bytes")
        separator = separator_of(line)
        fields = line.split(separator, limits.fields_max)
        if len(fields) > limits.fields_max:
            raise LimitExceeded(f"a segment has more than {limits.fields_max} fields")
        return cls(fields, delimiters_of(separator, fields[1]), marked=marked)

    def raw(self, field: int) -> bytes:
        """Return the bytes of MSH-`field` as they stand; b"" if absent.

        Args:
            field: From 1, as the standard counts: MSH-1 is the separator, MSH-2 the other four.

        Source: HL7 v2.8.2 section 2.14.9.
        """
        if field == 1:
            return self.delimiters.field
        return self._fields[field - 1] if 1 < field <= len(self._fields) else b""

    def text(self, field: int, component: int = 1, repetition: int = 1) -> str:
        """Return one component of MSH-`field` as text; "" if absent.

        Args:
            field: From 3; MSH-1 and MSH-2 hold no text.
            component: From 1.
            repetition: From 1.

        Raises:
            InputError: Not valid in the message's character set.
            UnsupportedMedia: The message declares a character set that is not taken.

        Source: HL7 v2.8.2 section 2.14.9.
        """
        whole = self.raw(field)
        if not whole:
            return ""
        start, end = part_span(
            whole, self.delimiters, repetition=repetition, component=component, subcomponent=1
        )
        leaf = whole[start:end]
        codec = "ascii" if leaf.isascii() else self.character_set.codec
        return text_of(leaf, self.delimiters, codec)

    @property
    def sending_application(self) -> str:
        """MSH-3, namespace id. Source: HL7 v2.8.2 section 2.14.9.3."""
        return self.text(3)

    @property
    def sending_facility(self) -> str:
        """MSH-4, namespace id. Source: HL7 v2.8.2 section 2.14.9.4."""
        return self.text(4)

    @property
    def receiving_application(self) -> str:
        """MSH-5, namespace id. Source: HL7 v2.8.2 section 2.14.9.5."""
        return self.text(5)

    @property
    def receiving_facility(self) -> str:
        """MSH-6, namespace id. Source: HL7 v2.8.2 section 2.14.9.6."""
        return self.text(6)

    @property
    def message_code(self) -> str:
        """MSH-9.1 such as "ORU". Source: HL7 v2.8.2 section 2.14.9.9 and table 0076."""
        return self.text(9)

    @property
    def trigger_event(self) -> str:
        """MSH-9.2 such as "R01". Source: HL7 v2.8.2 section 2.14.9.9 and table 0003."""
        return self.text(9, 2)

    @property
    def structure(self) -> str:
        """MSH-9.3 such as "ORU_R01". Source: HL7 v2.8.2 section 2.14.9.9 and table 0354."""
        return self.text(9, 3)

    @property
    def control_id(self) -> str:
        """MSH-10; the answer carries it in MSA-2. Source: HL7 v2.8.2 section 2.14.9.10."""
        return self.text(10)

    @property
    def processing_id(self) -> str:
        """MSH-11.1: P, T or D. Source: HL7 v2.8.2 section 2.14.9.11."""
        return self.text(11)

    @property
    def version(self) -> str:
        """MSH-12.1 such as "2.6". Source: HL7 v2.8.2 section 2.14.9.12."""
        return self.text(12)

    @property
    def accept_acknowledgement(self) -> str:
        """MSH-15: AL, NE, ER, SU or "". Source: HL7 v2.8.2 section 2.14.9.15 and table 0155."""
        return self.text(15)

    @property
    def application_acknowledgement(self) -> str:
        """MSH-16: AL, NE, ER, SU or "". Source: HL7 v2.8.2 section 2.14.9.16 and table 0155."""
        return self.text(16)

    @property
    def enhanced(self) -> bool:
        """Whether the sender asks for the enhanced mode. Source: HL7 v2.8.2 section 2.9.3."""
        return bool(self.raw(15) or self.raw(16))

    @property
    def character_set(self) -> CharacterSet:
        """The character set that MSH-18 and the byte order mark name.

        Raises:
            UnsupportedMedia: A set that is not taken.
            ContentMismatch: Mark and MSH-18 contradict each other.

        Source: HL7 v2.8.2 section 2.14.9.18 and table 0211.
        """
        return character_set(self.raw(18), self.delimiters, marked=self._marked)


def separator_of(data: bytes) -> bytes:
    """Return MSH-1 of bytes that begin with a message header.

    Args:
        data: A message without byte order mark, or its first segment.

    Raises:
        InputError: They do not begin with MSH and a delimiter.

    Source: HL7 v2.8.2 section 2.5.4.
    """
    if data[:3] != b"MSH":
        wide = data.startswith(_WIDE_MARKS)
        hint = "UTF-16 and UTF-32 are not taken; send UNICODE UTF-8" if wide else ""
        raise InputError("message does not begin with MSH", hint=hint)
    separator = data[3:4]
    if not separator or separator in _LINE_ENDS:
        raise InputError("MSH names no delimiters")
    return separator
