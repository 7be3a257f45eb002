"""A small object of our own with one element of every kind that the worker meets later."""

from typing import Final


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr
    value += b"\x00" * (len(value) % 2)
    if vr in {b"OB", b"OW", b"SQ", b"UN", b"UT"}:
        return head + b"\x00\x00" + len(value).to_bytes(4, "little") + value
    return head + len(value).to_bytes(2, "little") + value


def _item(value: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + len(value).to_bytes(4, "little") + value


def _make() -> bytes:
    meta = b"".join(
        (
            _element(0x00020002, b"UI", b"1.2.840.10008.5.1.4.1.1.7"),
            _element(0x00020003, b"UI", b"2.25.1"),
            _element(0x00020010, b"UI", b"1.2.840.10008.1.2.1"),
        )
    )
    body = b"".join(
        (
            _element(0x00080005, b"CS", b"ISO_IR 100"),
            _element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.7"),
            _element(0x00080018, b"UI", b"2.25.1"),
            _element(0x00080020, b"DA", b"20260101"),
            _element(0x00080030, b"TM", b"101500"),
            _element(0x00080050, b"SH", b"1"),
            _element(0x00080060, b"CS", b"OT"),
            _element(0x00100010, b"PN", b"Sample^M\xfcller"),
            _element(0x00100020, b"LO", b"1"),
            _element(0x00101010, b"AS", b"050Y"),
            _element(0x00101030, b"DS", b"70.5"),
            _element(0x0020000D, b"UI", b"2.25.2"),
            _element(0x0020000E, b"UI", b"2.25.3"),
            _element(0x00200011, b"IS", b"1"),
            _element(0x00280010, b"US", b"\x01\x00"),
            _element(0x00280011, b"US", b"\x01\x00"),
            _element(0x00280100, b"US", b"\x08\x00"),
            _element(0x00400275, b"SQ", _item(_element(0x00401001, b"SH", b"1"))),
            _element(0x00420011, b"OB", b"\x01\x02"),
            _element(0x7FE00010, b"OW", b"\x00\x00"),
        )
    )
    return (
        bytes(128)
        + b"DICM"
        + _element(0x00020000, b"UL", len(meta).to_bytes(4, "little"))
        + meta
        + body
    )


SAMPLE: Final = _make()
