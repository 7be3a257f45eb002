"""The structure of a DICOM file, judged without trusting a length in it.

Walks preamble, file meta information and every data element by its header alone; values are
skipped, so that a long object costs no more than a short one. What is wrong has a word of
`Reason`; an object with a word is quarantined, never passed on. Pure: bytes come from a `Source`.

Source: DICOM PS3.10 section 7.1 (file meta information), PS3.5 sections 7 (data elements and
sequences) and A.4 (encapsulated pixel data); CVE-2019-11687 (preambles that are programs).
"""

import struct
import zlib
from typing import Final, NamedTuple

from asepsis.core.wire.dicom_facts import Facts, Held, ObjectRefusedError, Reason, Source

PREAMBLE_BYTES: Final = 128
META_BYTES_MAX: Final = 65_536
DEPTH_MAX: Final = 16
"""Sequences within sequences."""
ELEMENTS_MAX: Final = 500_000
"""Data elements, items and fragments of one object."""
INFLATED_BYTES_MAX: Final = 128 << 20
"""What a deflated data set may inflate to."""
VALUE_BYTES_MAX: Final = 4_096
"""Longest value that the walk itself reads."""

IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
_IMPLICIT_PRIVATE: Final = "1.2.840.113619.5.2"
"""GE: implicit, with pixel data in the other byte order."""

_PROGRAMS: Final = (
    b"MZ", b"\x7fELF", b"#!", b"\xfe\xed\xfa", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe", b"PK\x03\x04", b"%PDF", b"<?php", b"<script", b"<html", b"<!DOCTYPE",
    b"@echo", b"dex\n", b"\x00asm",
)  # fmt: skip
"""First bytes by which other programs run or open a file."""
_TIFF: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ UC UN UR UT SV UV".split())
_SHORT_VRS: Final = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()
)
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_PIXELS: Final = 0x7FE00010
_META_LENGTH: Final = 0x00020000


class _Element(NamedTuple):
    tag: int
    vr: bytes
    length: int
    value_at: int


class _Order(NamedTuple):
    tag: struct.Struct
    short: struct.Struct
    long: struct.Struct


_LITTLE: Final = _Order(struct.Struct("<HH"), struct.Struct("<H"), struct.Struct("<I"))
_BIG: Final = _Order(struct.Struct(">HH"), struct.Struct(">H"), struct.Struct(">I"))
_ROWS, _COLUMNS, _SAMPLES, _BITS, _FRAMES, _PHOTOMETRIC = (
    0x00280010, 0x00280011, 0x00280002, 0x00280100, 0x00280008, 0x00280004,
)  # fmt: skip
_WANTED: Final = frozenset(
    {0x00080016, 0x00080018, _ROWS, _COLUMNS, _SAMPLES, _BITS, _FRAMES, _PHOTOMETRIC}
)


def judge(source: Source) -> Facts:
    """Walk a whole object.

    Raises:
        ObjectRefusedError: Something in it is not what it says it is.
    """
    _judge_preamble(source)
    facts = Facts()
    _read_meta(source, facts)
    if facts.transfer_syntax == DEFLATED:
        facts.inflated = inflate(source, facts.start)
        source, start = Held(facts.inflated), 0
    else:
        start = facts.start
    implicit = facts.transfer_syntax in {IMPLICIT, _IMPLICIT_PRIVATE}
    order = _BIG if facts.transfer_syntax == BIG_ENDIAN else _LITTLE
    _Walk(source, facts, order).elements(start, source.length, implicit=implicit)
    _compare(facts, order)
    return facts


def inflate(source: Source, start: int) -> bytes:
    """Inflate a data set, never further than `INFLATED_BYTES_MAX`.

    Raises:
        ObjectRefusedError: It would grow further, or is broken.

    Source: DICOM PS3.5 annex A.5; RFC 1951.
    """
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    found = bytearray()
    at = start
    while at < source.length and not machine.eof:
        chunk = source.read(at, 65_536)
        at += len(chunk)
        try:
            found += machine.decompress(chunk, INFLATED_BYTES_MAX + 1 - len(found))
        except zlib.error as error:
            raise ObjectRefusedError(Reason.DEFLATE_BROKEN) from error
        if len(found) > INFLATED_BYTES_MAX:
            raise ObjectRefusedError(Reason.INFLATES_TOO_FAR)
    if not machine.eof:
        raise ObjectRefusedError(Reason.DEFLATE_BROKEN)
    return bytes(found)


def _judge_preamble(source: Source) -> None:
    head = source.read(0, PREAMBLE_BYTES + 4)
    if any(head.startswith(start) for start in _PROGRAMS):
        raise ObjectRefusedError(Reason.PREAMBLE_PROGRAM)
    if head[PREAMBLE_BYTES:] != b"DICM":
        raise ObjectRefusedError(Reason.NO_MAGIC)
    preamble = head[:PREAMBLE_BYTES]
    if preamble.strip(b"\x00") and preamble[:4] not in _TIFF:
        raise ObjectRefusedError(Reason.PREAMBLE_CONTENT)


def _read_meta(source: Source, facts: Facts) -> None:
    data = source.read(PREAMBLE_BYTES + 4, META_BYTES_MAX)
    meta = _Walk(Held(data), Facts(), _LITTLE)
    at, end, values = 0, None, dict[int, bytes]()
    while at + 8 <= len(data) and data[at : at + 2] == b"\x02\x00":
        element = meta.header(at, len(data), implicit=False)
        if element.length == _UNDEFINED or element.value_at + element.length > len(data):
            raise ObjectRefusedError(Reason.META_BROKEN)
        at = element.value_at + element.length
        values[element.tag] = data[element.value_at : at]
        if element.tag == _META_LENGTH and element.length == 4:
            end = at + int.from_bytes(values[element.tag], "little")
    if end is not None and end != at:
        raise ObjectRefusedError(Reason.META_BROKEN)
    facts.sop_class = uid(values.get(0x00020002, b""))
    facts.sop_instance = uid(values.get(0x00020003, b""))
    facts.transfer_syntax = uid(values.get(0x00020010, b""))
    facts.start = PREAMBLE_BYTES + 4 + at
    if not facts.transfer_syntax:
        raise ObjectRefusedError(Reason.META_BROKEN)


def uid(value: bytes) -> str:
    """Return a UID without its padding; empty if it is none.

    Source: DICOM PS3.5 section 9.1.
    """
    text = value.rstrip(b"\x00 ")
    parts = text.split(b".")
    sound = 0 < len(text) <= 64 and all(part.isdigit() for part in parts)
    return text.decode("ascii") if sound else ""


class _Frame(NamedTuple):
    """What is being walked: the elements of a data set, or the items of a sequence."""

    end: int
    implicit: bool
    items: bool
    delimited: bool


class _Walk:
    """Walks element headers; holds no value."""

    def __init__(self, source: Source, facts: Facts, order: _Order) -> None:
        self._source = source
        self._facts = facts
        self._order = order

    def elements(self, at: int, end: int, *, implicit: bool) -> None:
        """Walk a data set to its end."""
        stack = [_Frame(end, implicit=implicit, items=False, delimited=False)]
        while stack:
            frame = stack[-1]
            if at >= frame.end:
                if at > frame.end or frame.delimited:
                    raise ObjectRefusedError(Reason.LENGTH_BEYOND_END)
                stack.pop()
                continue
            self._count(len(stack))
            step = self._item if frame.items else self._element
            at = step(at, frame, stack)

    def header(self, at: int, end: int, *, implicit: bool) -> _Element:
        """Read one element header; its value may still be longer than what holds it.

        Raises:
            ObjectRefusedError: Cut short, or no value representation.
        """
        raw = self._source.read(at, 12)
        if at + 8 > end or len(raw) < 8:
            raise ObjectRefusedError(Reason.ELEMENT_BROKEN)
        group, number = self._order.tag.unpack_from(raw)
        tag = group << 16 | number
        if implicit or group == 0xFFFE:
            return _Element(tag, b"", self._order.long.unpack_from(raw, 4)[0], at + 8)
        vr = raw[4:6]
        if vr in _SHORT_VRS:
            return _Element(tag, vr, self._order.short.unpack_from(raw, 6)[0], at + 8)
        if vr not in _LONG_VRS or at + 12 > end or len(raw) < 12:
            raise ObjectRefusedError(Reason.ELEMENT_BROKEN)
        return _Element(tag, vr, self._order.long.unpack_from(raw, 8)[0], at + 12)

    def _count(self, depth: int) -> None:
        self._facts.elements += 1
        if self._facts.elements > ELEMENTS_MAX:
            raise ObjectRefusedError(Reason.TOO_MANY)
        if depth > 2 * DEPTH_MAX + 1:
            raise ObjectRefusedError(Reason.TOO_DEEP)

    def _element(self, at: int, frame: _Frame, stack: list[_Frame]) -> int:
        element = self.header(at, frame.end, implicit=frame.implicit)
        if element.tag == _ITEM_END and frame.delimited:
            stack.pop()
            return element.value_at
        if element.tag >> 16 == 0xFFFE:
            raise ObjectRefusedError(Reason.ELEMENT_BROKEN)
        if element.tag >> 16 & 1:
            self._facts.private = True
        if element.length == _UNDEFINED:
            return self._undefined(element, frame, stack)
        if element.value_at + element.length > frame.end:
            raise ObjectRefusedError(Reason.LENGTH_BEYOND_END)
        if element.vr == b"SQ":
            self._push(stack, element.value_at + element.length, implicit=frame.implicit)
            return element.value_at
        if len(stack) == 1:
            self._note(element)
        return element.value_at + element.length

    def _undefined(self, element: _Element, frame: _Frame, stack: list[_Frame]) -> int:
        if element.tag == _PIXELS and not frame.implicit and element.vr in {b"OB", b"OW"}:
            return self._fragments(element.value_at, frame.end)
        if element.vr not in {b"SQ", b"UN", b""}:
            raise ObjectRefusedError(Reason.ELEMENT_BROKEN)
        # PS3.5 section 6.2.2 note 7: what is unknown and undefined is implicit inside.
        implicit = frame.implicit or element.vr == b"UN"
        stack.append(_Frame(frame.end, implicit=implicit, items=True, delimited=True))
        return element.value_at

    def _push(self, stack: list[_Frame], end: int, *, implicit: bool) -> None:
        stack.append(_Frame(end, implicit=implicit, items=True, delimited=False))

    def _item(self, at: int, frame: _Frame, stack: list[_Frame]) -> int:
        element = self.header(at, frame.end, implicit=True)
        if element.tag == _SEQUENCE_END and frame.delimited:
            stack.pop()
            return element.value_at
        if element.tag != _ITEM:
            raise ObjectRefusedError(Reason.ELEMENT_BROKEN)
        delimited = element.length == _UNDEFINED
        end = frame.end if delimited else element.value_at + element.length
        if end > frame.end:
            raise ObjectRefusedError(Reason.LENGTH_BEYOND_END)
        stack.append(_Frame(end, implicit=frame.implicit, items=False, delimited=delimited))
        return element.value_at

    def _fragments(self, at: int, end: int) -> int:
        while True:
            self._count(0)
            element = self.header(at, end, implicit=True)
            if element.tag == _SEQUENCE_END:
                return element.value_at
            if element.tag != _ITEM or element.length == _UNDEFINED:
                raise ObjectRefusedError(Reason.ELEMENT_BROKEN)
            at = element.value_at + element.length
            if at > end:
                raise ObjectRefusedError(Reason.LENGTH_BEYOND_END)

    def _note(self, element: _Element) -> None:
        if element.tag == _PIXELS:
            self._facts.pixel_bytes = element.length
        elif element.tag in _WANTED and element.length <= VALUE_BYTES_MAX:
            value = self._source.read(element.value_at, element.length)
            self._facts.values[element.tag] = value


def _compare(facts: Facts, order: _Order) -> None:
    """Compare file meta information, data set and pixel data with each other."""
    sop_class = uid(facts.values.get(0x00080016, b""))
    sop_instance = uid(facts.values.get(0x00080018, b""))
    if not sop_class or not sop_instance:
        raise ObjectRefusedError(Reason.UID_MISSING)
    if (sop_class, sop_instance) != (facts.sop_class, facts.sop_instance):
        raise ObjectRefusedError(Reason.META_MISMATCH)
    expected = _pixels_expected(facts, order)
    if facts.pixel_bytes is not None and facts.pixel_bytes < expected:
        raise ObjectRefusedError(Reason.PIXELS_SHORT)


def _pixels_expected(facts: Facts, order: _Order) -> int:
    """Return the bytes that native pixel data must have at least; 0 if that cannot be said."""
    numbers = [_number(facts.values.get(tag, b""), order) for tag in (_ROWS, _COLUMNS, _BITS)]
    if facts.pixel_bytes is None or b"_42" in facts.values.get(_PHOTOMETRIC, b""):
        return 0
    rows, columns, bits = numbers
    samples = _number(facts.values.get(_SAMPLES, b""), order) or 1
    frames_text = facts.values.get(_FRAMES, b"1").strip(b" \x00")
    frames = int(frames_text) if frames_text.isdigit() and len(frames_text) < 13 else 1
    return rows * columns * samples * max(1, frames) * bits // 8


def _number(value: bytes, order: _Order) -> int:
    return order.short.unpack_from(value)[0] if len(value) >= 2 else 0
