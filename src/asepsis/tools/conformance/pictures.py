"""Images of the suite: right ones, and ones that are wrong in one way on purpose.

Written byte by byte, since a library that writes DICOM would not write what is wrong.

Source: DICOM PS3.10 section 7.1; PS3.5 sections 7.1, 7.5 and A.5.
"""

import secrets
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from asepsis.core.wire.dicom_file import DEFLATED, EXPLICIT, PREAMBLE_BYTES

SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
PATIENT: Final = "ADP-CONFORMANCE"
PATIENT_NAME: Final = "Suite^Conformance"
SIDE: Final = 16
NESTED: Final = 4_000
"""Sequences within sequences that nobody needs."""
BOMB_BLOCK: Final = 1 << 20
BOMB_BLOCKS: Final = 2_048
"""Two gibibytes of zeros in two megabytes."""
_LONG: Final = frozenset({"OB", "OW", "SQ"})
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = struct.pack("<HHI", 0xFFFE, 0xE000, _UNDEFINED)
_ENDS: Final = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)


def element(tag: int, vr: str, value: bytes, *, length: int | None = None) -> bytes:
    """Return one data element in Explicit VR Little Endian.

    Args:
        tag: Group and element.
        vr: Its value representation.
        value: Its value, padded here to an even length.
        length: What its header says instead of the truth.
    """
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB") else b" "
    said = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    return head + struct.pack("<xxI" if vr in _LONG else "<H", said) + value


def uid() -> str:
    """Return a UID of its own.

    Source: DICOM PS3.5 annex B.2.
    """
    return f"2.25.{secrets.randbits(127)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One image.

    Attributes:
        study: Study Instance UID.
        series: Series Instance UID.
        instance: SOP Instance UID.
        said: SOP Instance UID of the file meta information; that of the data set if empty.
        syntax: Transfer syntax that the file names.
        preamble: First 128 bytes of the file.
        before_pixels: Elements that stand before the pixels.
        pixels: Their value.
    """

    study: str = field(default_factory=uid)
    series: str = field(default_factory=uid)
    instance: str = field(default_factory=uid)
    said: str = ""
    syntax: str = EXPLICIT
    preamble: bytes = bytes(PREAMBLE_BYTES)
    before_pixels: bytes = b""
    pixels: bytes = bytes(range(256))

    @property
    def path(self) -> str:
        """Where the instance is found once it is stored."""
        return f"/studies/{self.study}/series/{self.series}/instances/{self.instance}"

    def data_set(self) -> bytes:
        """Return the elements of the data set."""
        side = struct.pack("<H", SIDE)
        return b"".join(
            (
                element(0x00080016, "UI", SECONDARY_CAPTURE.encode()),
                element(0x00080018, "UI", self.instance.encode()),
                element(0x00080060, "CS", b"OT"),
                element(0x00100010, "PN", PATIENT_NAME.encode()),
                element(0x00100020, "LO", PATIENT.encode()),
                element(0x0020000D, "UI", self.study.encode()),
                element(0x0020000E, "UI", self.series.encode()),
                element(0x00280002, "US", struct.pack("<H", 1)),
                element(0x00280004, "CS", b"MONOCHROME2"),
                element(0x00280010, "US", side),
                element(0x00280011, "US", side),
                element(0x00280100, "US", struct.pack("<H", 8)),
                element(0x00280101, "US", struct.pack("<H", 8)),
                element(0x00280102, "US", struct.pack("<H", 7)),
                element(0x00280103, "US", struct.pack("<H", 0)),
                self.before_pixels,
                element(0x7FE00010, "OB", self.pixels),
            )
        )

    def file(self, data_set: bytes | None = None) -> bytes:
        """Return the file, with these bytes after the file meta information if any are given."""
        meta = b"".join(
            (
                element(0x00020001, "OB", b"\0\1"),
                element(0x00020002, "UI", SECONDARY_CAPTURE.encode()),
                element(0x00020003, "UI", (self.said or self.instance).encode()),
                element(0x00020010, "UI", self.syntax.encode()),
                element(0x00020012, "UI", b"2.25.1"),
            )
        )
        head = element(0x00020000, "UL", struct.pack("<I", len(meta)))
        return self.preamble + b"DICM" + head + meta + (data_set or self.data_set())


def untrue() -> Sequence[tuple[str, Picture, bytes]]:
    """Return images that nobody may hold: what is wrong, the image, its file.

    Source: REQ-IMG-007; CVE-2019-11687.
    """
    made = [Picture() for _ in range(7)]
    program = replace(made[0], preamble=b"MZ".ljust(PREAMBLE_BYTES, b"\x90"))
    text = replace(made[1], preamble=b"#!/bin/sh\n".ljust(PREAMBLE_BYTES, b"\n"))
    lying = replace(made[2], before_pixels=element(0x00281199, "OB", b"\0\0", length=1 << 30))
    nested = replace(made[3], before_pixels=nest(NESTED))
    other = replace(made[4], said=uid())
    nameless = replace(made[5], instance="no uid")
    bomb = replace(made[6], syntax=DEFLATED)
    whole = [
        ("a preamble that is a program", program),
        ("a preamble that is a script", text),
        ("an element that is longer than its object", lying),
        ("sequences within sequences without end", nested),
        ("file meta information of another object", other),
        ("an instance without a UID", nameless),
    ]
    bombed = bomb.file(inflating(bomb.data_set()))
    return [
        *((what, each, each.file()) for what, each in whole),
        ("a data set that inflates to two gibibytes", bomb, bombed),
    ]


def nest(depth: int) -> bytes:
    """Return sequences within sequences (0008,1115), each with one item of undefined length."""
    begun = element(0x00081115, "SQ", b"", length=_UNDEFINED) + _ITEM
    return begun * depth + _ENDS * depth


def inflating(data_set: bytes) -> bytes:
    """Return a deflated data set that ends in one element of two gibibytes of zeros."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    total = BOMB_BLOCK * BOMB_BLOCKS
    begun = data_set + element(0x7FE10010, "OB", b"", length=total)
    first = squeeze.compress(begun) + squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(bytes(BOMB_BLOCK)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return first + block * BOMB_BLOCKS + squeeze.flush()
