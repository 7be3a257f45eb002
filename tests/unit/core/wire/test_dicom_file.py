"""The structure of DICOM files: true ones pass, each kind of lie has its reason."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.core.wire import dicom_file
from asepsis.core.wire.dicom_facts import Held, ObjectRefusedError, Reason
from asepsis.core.wire.dicom_file import judge, uid

CT = b"1.2.840.10008.5.1.4.1.1.2\x00"
LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT"}
UNDEFINED = 0xFFFFFFFF


def element(tag: int, vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
    count = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in LONG:
        return head + b"\x00\x00" + struct.pack("<I", count) + value
    return head + struct.pack("<H", count) + value


def item(value: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value) if length is None else length) + value


ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
BASE = element(0x00080016, b"UI", CT) + element(0x00080018, b"UI", b"1.2.34")


def file(
    body: bytes,
    *,
    syntax: bytes = b"1.2.840.10008.1.2.1\x00",
    preamble: bytes = bytes(128),
    instance: bytes = b"1.2.34",
    group: int = 0,
) -> bytes:
    meta = element(0x00020002, b"UI", CT) + element(0x00020003, b"UI", instance)
    meta += element(0x00020010, b"UI", syntax)
    size = struct.pack("<I", len(meta) + group)
    return preamble + b"DICM" + element(0x00020000, b"UL", size) + meta + body


def reason_of(data: bytes) -> Reason | None:
    try:
        judge(Held(data))
    except ObjectRefusedError as error:
        return error.reason
    return None


NATIVE = (
    element(0x00280002, b"US", b"\x01\x00")
    + element(0x00280010, b"US", b"\x04\x00")
    + element(0x00280011, b"US", b"\x04\x00")
    + element(0x00280100, b"US", b"\x10\x00")
)
DEEP = 40


@pytest.mark.parametrize(
    "body",
    [
        BASE,
        BASE + NATIVE + element(0x7FE00010, b"OW", bytes(32)),
        BASE + NATIVE + element(0x7FE00010, b"OW", bytes(34)),
        BASE + element(0x00400275, b"SQ", item(element(0x00401001, b"SH", b"1 "))),
        BASE
        + element(0x00400275, b"SQ", item(ITEM_END, length=UNDEFINED), length=UNDEFINED)
        + SEQUENCE_END,
        BASE + element(0x7FE00010, b"OB", item(b"") + item(b"ab"), length=UNDEFINED) + SEQUENCE_END,
        BASE + element(0x00091001, b"UN", item(b"") + SEQUENCE_END, length=UNDEFINED),
    ],
)
def test_true_objects_pass(body: bytes) -> None:
    assert reason_of(file(body)) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.NO_MAGIC),
        (file(BASE)[:131], Reason.NO_MAGIC),
        (file(BASE, preamble=b"MZ" + bytes(126)), Reason.PREAMBLE_PROGRAM),
        (file(BASE, preamble=b"\x7fELF" + bytes(124)), Reason.PREAMBLE_PROGRAM),
        (file(BASE, preamble=b"#!/bin/sh\n" + bytes(118)), Reason.PREAMBLE_PROGRAM),
        (file(BASE, preamble=bytes(127) + b"\x01"), Reason.PREAMBLE_CONTENT),
        (file(BASE, preamble=b"II*\x00" + b"\x01" * 124), None),
        (file(BASE, group=2), Reason.META_BROKEN),
        (bytes(128) + b"DICM" + BASE, Reason.META_BROKEN),
        (file(BASE, instance=b"1.2.35"), Reason.META_MISMATCH),
        (file(element(0x00080016, b"UI", CT)), Reason.UID_MISSING),
        (file(BASE + element(0x00100010, b"PN", b"a", length=400)), Reason.LENGTH_BEYOND_END),
        (
            file(BASE + element(0x00400275, b"SQ", item(b"", length=900))),
            Reason.LENGTH_BEYOND_END,
        ),
        (
            file(BASE + element(0x00400275, b"SQ", item(b"abcd", length=UNDEFINED))),
            Reason.ELEMENT_BROKEN,
        ),
        (file(BASE + element(0x00400275, b"SQ", b"", length=UNDEFINED)), Reason.LENGTH_BEYOND_END),
        (file(BASE + b"\x10\x00\x10\x00??\x00\x00"), Reason.ELEMENT_BROKEN),
        (file(BASE + b"\x10\x00"), Reason.ELEMENT_BROKEN),
        (file(BASE + SEQUENCE_END), Reason.ELEMENT_BROKEN),
        (file(BASE + NATIVE + element(0x7FE00010, b"OW", bytes(30))), Reason.PIXELS_SHORT),
        (
            file(BASE + element(0x7FE00010, b"OB", item(b"", length=99), length=UNDEFINED)),
            Reason.LENGTH_BEYOND_END,
        ),
        (
            file(
                BASE
                + (
                    struct.pack("<HH", 0x40, 0x275)
                    + b"SQ\x00\x00\xff\xff\xff\xff"
                    + item(b"", length=UNDEFINED)
                )
                * DEEP
            ),
            Reason.TOO_DEEP,
        ),
        (file(b"\xff\xff", syntax=b"1.2.840.10008.1.2.1.99"), Reason.DEFLATE_BROKEN),
    ],
)
def test_each_lie_has_its_reason(data: bytes, reason: Reason | None) -> None:
    """REQ-IMG-007."""
    assert reason_of(data) is reason


def deflated(body: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = machine.compress(body) + machine.flush()
    return file(data, syntax=b"1.2.840.10008.1.2.1.99")


def test_deflated_objects_pass_and_bombs_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """REQ-IMG-007."""
    assert reason_of(deflated(BASE)) is None
    monkeypatch.setattr(dicom_file, "INFLATED_BYTES_MAX", 1 << 20)
    bomb = deflated(BASE + element(0x7FE00010, b"OW", bytes(4 << 20)))
    assert len(bomb) < 10_000
    assert reason_of(bomb) is Reason.INFLATES_TOO_FAR


def test_too_many_elements_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_file, "ELEMENTS_MAX", 100)
    assert reason_of(file(BASE + element(0x00080060, b"CS", b"CT") * 200)) is Reason.TOO_MANY


class Counted(Held):
    """Counts what is read of it."""

    read_bytes = 0

    def read(self, offset: int, count: int) -> bytes:
        found = Held.read(self, offset, count)
        Counted.read_bytes += len(found)
        return found


def test_values_are_skipped_and_not_read() -> None:
    data = file(BASE + NATIVE + element(0x7FE00010, b"OW", bytes(1 << 20)))
    judge(Counted(data))
    assert Counted.read_bytes < 70_000  # Of a megabyte; most of it the meta information.


GOOD = file(BASE + NATIVE + element(0x00400275, b"SQ", item(element(0x00401001, b"SH", b"1 "))))


@settings(max_examples=300)
@given(
    changes=st.lists(
        st.tuples(st.integers(128, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8
    ),
    end=st.integers(0, len(GOOD)),
)
def test_changed_and_cut_objects_raise_nothing_else(
    changes: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    reason_of(bytes(data))
    reason_of(bytes(data[:end]))


@pytest.mark.parametrize(
    ("value", "text"),
    [(b"1.2\x00", "1.2"), (b"1..2", ""), (b"", ""), (b"1.2a", ""), (b"1" * 65, ""), (b"1 ", "1")],
)
def test_a_uid_is_digits_and_points(value: bytes, text: str) -> None:
    assert uid(value) == text
