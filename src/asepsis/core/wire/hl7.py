"""A lazy HL7 v2 reader: bytes in, elements out. No socket, clock or log; the caller owns I/O.

A message is checked and cut into fields once, by a handful of C calls; nothing below a field is cut
until it is read, and values are handed out as bytes of the message. What `parse` accepts can be
read without a limit error afterwards. Every step is linear in the bytes received.

A device repeats the *shape* of its messages: the same segments with the same number of fields. A
`MessageReader` keeps the shapes of one connection and proves, at each message, that a kept one
fits; where none does the message is measured afresh: a wrong guess costs time, never correctness.

Source: HL7 v2.8.2 chapter 2 (control).
"""

from collections.abc import Iterator
from typing import Final

from asepsis.core.wire.hl7_clean import (
    Clean,
    Tolerance,
    Tolerated,
    clean,
    clean_thoroughly,
)
from asepsis.core.wire.hl7_header import Header, separator_of
from asepsis.core.wire.hl7_parts import (
    DEFAULT_LIMITS,
    DELIMITER_FIELDS,
    STANDARD,
    Delimiters,
    Hl7Limits,
    Path,
    check_parts,
    delimiters_of,
    leaf_of,
    part_span,
    path_of,
)
from asepsis.core.wire.hl7_segment import Segment
from asepsis.core.wire.hl7_shape import ABSENT, SEPARATOR, Shape, cut, measure
from asepsis.core.wire.hl7_text import CharacterSet, CharsetSource, text_of

__all__ = [
    "DEFAULT_LIMITS",
    "STANDARD",
    "CharacterSet",
    "CharsetSource",
    "Delimiters",
    "Header",
    "Hl7Limits",
    "Message",
    "MessageReader",
    "Segment",
    "Tolerance",
    "Tolerated",
]

SHAPES_MAX: Final = 64
"""Shapes one reader keeps; a device sends fewer than ten."""
_SHAPE_SEGMENTS_MAX: Final = 1_024
"""Longer messages are rare and not worth remembering; this bounds a reader's memory."""


class Message:
    """One parsed message.

    Attributes:
        body: The message in its canonical form: a carriage return after every segment, no byte
            order mark, no empty segments. All spans count in it.
        delimiters: Those of MSH-1 and MSH-2.

    Source: HL7 v2.8.2 sections 2.5 and 2.6.
    """

    __slots__ = ("_fields", "_shape", "_tolerated", "body", "delimiters")

    def __init__(
        self, cleaned: Clean, delimiters: Delimiters, fields: list[bytes], shape: Shape
    ) -> None:
        """Internal; use `Message.parse` or `MessageReader.parse`."""
        self.body, self._tolerated = cleaned
        self.delimiters = delimiters
        self._fields = fields
        self._shape = shape

    @classmethod
    def parse(cls, data: bytes, *, limits: Hl7Limits = DEFAULT_LIMITS) -> "Message":
        """Check one message and return it.

        Segments may end with CR, LF or CR LF as long as one message uses one of them; a byte order
        mark of UTF-8, empty segments and a missing last CR are taken too. `tolerated` lists it.

        Args:
            data: One message, without its MLLP envelope.
            limits: Largest sizes accepted.

        Raises:
            InputError: No MSH, delimiters that can be confused, mixed line ends, a second header,
                a segment name that is none, or a byte that belongs to MLLP (VT, FS) or to no text
                (NUL).
            LimitExceeded: More bytes, segments, fields or parts than `limits` allow.

        Source: HL7 v2.8.2 sections 2.5.4 (delimiters) and 2.6 (message construction rules).
        """
        return MessageReader(limits=limits).parse(data)

    def __bytes__(self) -> bytes:
        return self.body

    def __len__(self) -> int:
        return len(self._shape.names)

    @property
    def tolerated(self) -> tuple[Tolerance, ...]:
        """What was accepted although the standard does not allow it, and how often.

        Source: HL7 v2.8.2 section 2.6 is what it deviates from.
        """
        return self._tolerated

    @property
    def header(self) -> Header:
        """MSH. Source: HL7 v2.8.2 section 2.14.9."""
        marked = any(found.kind is Tolerated.BYTE_ORDER_MARK for found in self._tolerated)
        return Header(self._fields[: self._shape.widths[0] + 1], self.delimiters, marked=marked)

    @property
    def character_set(self) -> CharacterSet:
        """The character set the text is read in.

        Raises:
            UnsupportedMedia: MSH-18 names a set that is not taken.
            ContentMismatch: MSH-18 contradicts the byte order mark.

        Source: HL7 v2.8.2 section 2.14.9.18.
        """
        return self.header.character_set

    @property
    def names(self) -> tuple[bytes, ...]:
        """Names of all segments in order. Source: HL7 v2.8.2 section 2.5.2."""
        return self._shape.names

    def columns(self, segment: str, *fields: int) -> list[tuple[bytes, ...]]:
        """Return fields of every segment of one name as raw bytes: the fast way to read many.

        ``for code, value in zip(*message.columns("OBX", 3, 5), strict=True)`` walks the segments.

        Args:
            segment: Segment name such as "OBX".
            fields: Field numbers from 1, named by the calling code, not by a peer.

        Returns:
            For each of `fields` one tuple with a value for each segment, in message order; b"" for
            an absent field.

        Source: HL7 v2.8.2 section 2.5.3.
        """
        plan = self._shape.columns.get((segment, fields))
        if plan is None:
            plan = self._shape.plan_columns(segment, fields)
        values = self._fields
        return [pick(values) for pick in plan]

    def first(self, segment: str, *fields: int) -> tuple[bytes, ...]:
        """Return fields of the first segment of one name as raw bytes: the fast way to read one.

        Args:
            segment: Segment name such as "PID".
            fields: Field numbers from 1, named by the calling code, not by a peer.

        Returns:
            One value for each of `fields`; b"" for an absent field or segment.

        Source: HL7 v2.8.2 section 2.5.3.
        """
        pick = self._shape.firsts.get((segment, fields))
        if pick is None:
            pick = self._shape.plan_first(segment, fields)
        return pick(self._fields)

    def segments(self, name: str = "") -> Iterator[Segment]:
        """Iterate over the segments of one name, or over all of them.

        Args:
            name: Segment name such as "OBX"; "" means all.

        Source: HL7 v2.8.2 section 2.5.2.
        """
        wanted = name.encode()
        for index, found in enumerate(self._shape.names):
            if found == wanted or not wanted:
                yield Segment(self, index)

    def raw(self, path: str) -> bytes:
        """Return the bytes of the element that `path` names, as they stand; b"" if it is absent.

        ``PID-3`` is the whole field with all repetitions; ``PID-3.4`` the whole fourth component
        of the first repetition.

        Args:
            path: Such as ``PID-5.1``, ``OBX[3]-5`` or ``PID-3[2].4.1``.

        Raises:
            InputError: Not a path.

        Source: HL7 v2.8.2 section 2.5.3.
        """
        place = path_of(path)
        index = self._shape.find(place.segment, place.occurrence)
        return self.element(index, place) if index is not None else b""

    def get(self, path: str) -> str:
        """Return the text of the first leaf of the element that `path` names; "" if it is absent.

        A level that is not given means the first, so ``PID-3`` reads the same as ``PID-3[1].1.1``.
        The HL7 null (delete what you have) is returned as it is written: two double quotes.

        Args:
            path: Such as ``PID-5.1``, ``OBX[3]-5`` or ``PID-3[2].4.1``.

        Raises:
            InputError: Not a path, or bytes that are not valid in the message's character set.
            UnsupportedMedia: A character set that is not taken.

        Source: HL7 v2.8.2 sections 2.5.3, 2.7 and 2.8.
        """
        raw = self.raw(path)
        return raw.decode("ascii") if _holds_delimiters(path_of(path)) else self.decode(raw)

    def span(self, path: str) -> tuple[int, int]:
        """Return where in `body` the element stands that `raw` would return; nothing is copied.

        Args:
            path: As for `raw`.

        Returns:
            Start and end offset; an empty span at (0, 0) where segment or field are absent.

        Raises:
            InputError: Not a path.

        Source: HL7 v2.8.2 section 2.5.3.
        """
        place = path_of(path)
        index = self._shape.find(place.segment, place.occurrence)
        at = self._shape.locate(index, place.field) if index is not None else ABSENT
        if at == ABSENT or index is None:
            return 0, 0
        if at == SEPARATOR:
            return 3, 4
        start = sum(map(len, self._fields[:at])) + at - index
        inner = self._inner_span(self._fields[at], place)
        return start + inner[0], start + inner[1]

    def repetitions(self, path: str) -> list[bytes]:
        """Return the repetitions of a field as raw bytes; an absent or empty field has none.

        Args:
            path: A path to a field, such as ``PID-3``; deeper levels are not looked at.

        Raises:
            InputError: Not a path.

        Source: HL7 v2.8.2 section 2.5.3 (repetition).
        """
        place = path_of(path)._replace(repetition=0, component=0, subcomponent=0)
        index = self._shape.find(place.segment, place.occurrence)
        whole = self.element(index, place) if index is not None else b""
        if not whole or _holds_delimiters(place):
            return [whole] if whole else []
        return whole.split(self.delimiters.repetition)

    def decode(self, raw: bytes) -> str:
        """Return the text of the first leaf of raw bytes that this message handed out.

        Args:
            raw: From `raw`, `columns`, `repetitions` or a segment; not MSH-1 or MSH-2.

        Raises:
            InputError: Bytes that are not valid in the message's character set.
            UnsupportedMedia: A character set that is not taken.

        Source: HL7 v2.8.2 sections 2.7 and 2.8.
        """
        leaf = leaf_of(raw, self.delimiters)
        return text_of(leaf, self.delimiters, self.character_set.codec) if leaf else ""

    def element(self, index: int, place: Path) -> bytes:
        """Return the bytes of an element of the segment at `index`; b"" if it is absent.

        Args:
            index: Of the segment, from 0.
            place: The element; its segment name and occurrence are not looked at.

        Source: HL7 v2.8.2 section 2.5.3.
        """
        whole = self._fields[self._shape.locate(index, place.field)]
        start, end = self._inner_span(whole, place)
        return whole[start:end]

    def field_count(self, index: int) -> int:
        """Return how many fields the segment at `index` (from 0) has, MSH-1 included in MSH.

        Source: HL7 v2.8.2 section 2.5.3.
        """
        return self._shape.field_count(index)

    def _inner_span(self, whole: bytes, place: Path) -> tuple[int, int]:
        if _holds_delimiters(place):
            return 0, len(whole)
        return part_span(
            whole,
            self.delimiters,
            repetition=place.repetition,
            component=place.component,
            subcomponent=place.subcomponent,
        )


class MessageReader:
    """Parses the messages of one connection and remembers their shapes.

    Args:
        limits: Largest sizes accepted.

    Source: HL7 v2.8.2 section 2.6.
    """

    __slots__ = ("_limits", "_parts_free_bytes", "_shapes")

    def __init__(self, *, limits: Hl7Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._shapes: dict[tuple[int, int], Shape] = {}
        # A field with n repetitions has at least n - 1 bytes, so shorter messages need no count.
        self._parts_free_bytes = min(
            limits.repetitions_max, limits.components_max, limits.subcomponents_max
        )

    def parse(self, data: bytes) -> Message:
        """Check one message and return it; `Message.parse` says what is accepted.

        Args:
            data: One message, without its MLLP envelope.

        Raises:
            InputError: As `Message.parse`.
            LimitExceeded: As `Message.parse`.

        Source: HL7 v2.8.2 sections 2.5.4 and 2.6.
        """
        body, tolerated = clean(data, self._limits.bytes_max)
        separator = b"|" if body.startswith(b"MSH|") else separator_of(body)
        fields, returns = cut(body, separator, self._limits)
        shape = self._shapes.get((len(fields), returns))
        if shape is None or not shape.fits(fields):
            if body.find(b"\r\r") >= 0:  # Empty segments; kept shapes have none.
                body, tolerated = clean_thoroughly(data)
                fields, returns = cut(body, separator, self._limits)
            shape = measure(body, separator, fields, self._limits)
            self._keep(shape, len(fields), returns)
        delimiters = delimiters_of(separator, fields[1])
        fields += (separator, b"")
        if len(body) >= self._parts_free_bytes:
            self._check_all_parts(fields, delimiters)
        return Message((body, tolerated), delimiters, fields, shape)

    def _keep(self, shape: Shape, count: int, returns: int) -> None:
        if returns >= _SHAPE_SEGMENTS_MAX:
            return
        self._shapes.pop((count, returns), None)
        if len(self._shapes) >= SHAPES_MAX:
            del self._shapes[next(iter(self._shapes))]
        self._shapes[count, returns] = shape

    def _check_all_parts(self, fields: list[bytes], delimiters: Delimiters) -> None:
        for field in fields:
            if len(field) >= self._parts_free_bytes:
                check_parts(field, delimiters, self._limits)


def _holds_delimiters(place: Path) -> bool:
    """Tell MSH-1 and MSH-2, whose bytes are delimiters and not separated by them."""
    return place.segment == b"MSH" and place.field <= DELIMITER_FIELDS
