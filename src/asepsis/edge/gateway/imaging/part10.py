"""The head of a DICOM file: written before a data set that nobody decodes, and read the same way.

Source: DICOM PS3.10 section 7.1; the preamble is zeros, so no other kind of file can hide in it.
"""

import struct
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import FramingError, LimitExceeded
from asepsis.edge.gateway.imaging.pdu import (
    IMPLEMENTATION_UID,
    IMPLEMENTATION_VERSION,
    uid_of,
)

PREAMBLE_BYTES: Final = 128
HEAD_BYTES_MAX: Final = 65_536
"""Preamble and meta information of a file that is read; ours have about 400 bytes."""
_MAGIC: Final = b"DICM"
_LONG: Final = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT", b"UC", b"UR"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What the head says.

    Attributes:
        sop_class: UID.
        sop_instance: UID.
        transfer_syntax: UID.
        source_ae: Source Application Entity Title; may be empty.
        receiving_ae: Receiving Application Entity Title; may be empty.
    """

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    source_ae: str = ""
    receiving_ae: str = ""


def encode_head(meta: Meta) -> bytes:
    """Return preamble, prefix and file meta information."""
    elements = _long(0x0001, b"OB", b"\0\1")
    for element, uid in (
        (0x0002, meta.sop_class),
        (0x0003, meta.sop_instance),
        (0x0010, meta.transfer_syntax),
        (0x0012, IMPLEMENTATION_UID),
    ):
        elements += _short(element, b"UI", uid.encode("ascii"), b"\0")
    elements += _short(0x0013, b"SH", IMPLEMENTATION_VERSION.encode("ascii"), b" ")
    for element, title in ((0x0016, meta.source_ae), (0x0018, meta.receiving_ae)):
        if title:
            elements += _short(element, b"AE", title.encode("latin-1"), b" ")
    length = _short(0x0000, b"UL", struct.pack("<I", len(elements)), b"")
    return bytes(PREAMBLE_BYTES) + _MAGIC + length + elements


def decode_head(data: bytes) -> tuple[Meta, int] | None:
    """Read the head of a file.

    Args:
        data: Its first bytes.

    Returns:
        The meta information and where the data set begins; None if more bytes are needed.

    Raises:
        FramingError: No DICOM file.
        LimitExceeded: A head longer than `HEAD_BYTES_MAX`.
    """
    begin = PREAMBLE_BYTES + len(_MAGIC)
    if len(data) < begin + 12:
        return None
    if data[PREAMBLE_BYTES:begin] != _MAGIC or data[begin : begin + 6] != b"\2\0\0\0UL":
        raise FramingError("no DICOM file with meta information")
    end = begin + 12 + int.from_bytes(data[begin + 8 : begin + 12], "little")
    if end > HEAD_BYTES_MAX:
        raise LimitExceeded("file meta information is too long")
    if len(data) < end:
        return None
    elements = _elements(data[begin + 12 : end])
    meta = Meta(
        sop_class=uid_of(elements.get(0x0002, b"")),
        sop_instance=uid_of(elements.get(0x0003, b"")),
        transfer_syntax=uid_of(elements.get(0x0010, b"")),
        source_ae=elements.get(0x0016, b"").decode("latin-1").strip(),
        receiving_ae=elements.get(0x0018, b"").decode("latin-1").strip(),
    )
    return meta, end


def _elements(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        long = data[at + 4 : at + 6] in _LONG
        begin = at + (12 if long else 8)
        if begin > len(data) or data[at : at + 2] != b"\2\0":
            raise FramingError("file meta information is cut short")
        length = int.from_bytes(data[at + 8 if long else at + 6 : begin], "little")
        if begin + length > len(data):
            raise FramingError("file meta information lies about a length")
        found[int.from_bytes(data[at + 2 : at + 4], "little")] = data[begin : begin + length]
        at = begin + length
    return found


def _short(element: int, vr: bytes, value: bytes, padding: bytes) -> bytes:
    if len(value) % 2:
        value += padding
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def _long(element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2s2xI", 2, element, vr, len(value)) + value
