"""A parcel: what is brought to a running device on a service medium, signed as a whole. Pure.

A medium is a raw block device without file system or partition table: one block with the signature,
then the content. Whoever reads it takes lengths from the first block and nothing else, until the
signature over the content was judged. Only then is the content's own head read.

| at | bytes | first block |
|---|---|---|
| 0 | 8 | magic `ASPMEDI1` |
| 8 | 8 | number of the parcel, little-endian; shown before it is believed |
| 16 | 8 | bytes of the content |
| 24 | 64 | ES256 over the content |

| at | bytes | content |
|---|---|---|
| 0 | 8 | magic `ASPPARC1` |
| 8 | 16 | kind, ended by zeros |
| 24 | 32 | name, ended by zeros |
| 56 | 8 | number of the parcel: the one that counts |
| 64 | | payload |

Source: RFC 7518 section 3.4 (ES256).
"""

import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.core.errors import FramingError, InputError, LimitExceeded

BLOCK: Final = 4_096
CONTENT_BYTES_MAX: Final = 1 << 20
"""Largest content; a live patch has some ten thousand bytes."""
MEDIUM_BYTES: Final = BLOCK + CONTENT_BYTES_MAX
SIGNATURE_BYTES: Final = 64
NUMBER_MAX: Final = 2**63 - 1
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")
_MAGIC: Final = b"ASPMEDI1"
_CONTENT_MAGIC: Final = b"ASPPARC1"
_HEAD: Final = struct.Struct("<8sQQ64s")
_CONTENT: Final = struct.Struct("<8s16s32sQ")


class ParcelKind(StrEnum):
    """What a parcel is."""

    KERNEL_PATCH = "kernel-patch"
    """Payload: a module that patches the running kernel, signed for the kernel too."""
    KERNEL_UNPATCH = "kernel-unpatch"
    """No payload: the patch of this name is withdrawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What is brought.

    Attributes:
        kind: What it is.
        name: Of the patch, lower-case letters, digits and underscores, at most 31.
        number: From 1; a device takes only larger ones than it has taken.
        payload: Bytes.
    """

    kind: ParcelKind
    name: str
    number: int
    payload: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first block of a medium; nothing in it is believed.

    Attributes:
        number: Number of the parcel.
        content_bytes: Length of the content, 64 to `CONTENT_BYTES_MAX`.
        signature: ES256 over the content: r and s, 64 bytes.
    """

    number: int
    content_bytes: int
    signature: bytes


def encode_content(parcel: Parcel) -> bytes:
    """Return the bytes that are signed.

    Raises:
        InputError: The name or the number is none.
        LimitExceeded: The payload is too large.
    """
    if not NAME.fullmatch(parcel.name) or not 1 <= parcel.number <= NUMBER_MAX:
        raise InputError("a parcel has a name of 1 to 31 letters and a number from 1")
    if _CONTENT.size + len(parcel.payload) > CONTENT_BYTES_MAX:
        raise LimitExceeded(f"a parcel has at most {CONTENT_BYTES_MAX} bytes")
    kind, name = parcel.kind.value.encode("ascii"), parcel.name.encode("ascii")
    return _CONTENT.pack(_CONTENT_MAGIC, kind, name, parcel.number) + parcel.payload


def decode_content(content: bytes) -> Parcel:
    """Read a content whose signature was judged.

    Raises:
        FramingError: Another form, kind or name.
        LimitExceeded: Too large.
    """
    if len(content) > CONTENT_BYTES_MAX:
        raise LimitExceeded(f"a parcel has at most {CONTENT_BYTES_MAX} bytes")
    if len(content) < _CONTENT.size or not content.startswith(_CONTENT_MAGIC):
        raise FramingError("not the content of a parcel")
    _, kind, name, number = _CONTENT.unpack_from(content)
    try:
        found = Parcel(
            kind=ParcelKind(kind.rstrip(b"\0").decode("ascii")),
            name=name.rstrip(b"\0").decode("ascii"),
            number=number,
            payload=content[_CONTENT.size :],
        )
    except ValueError as error:  # Not ASCII, or no such kind.
        raise FramingError("a parcel of an unknown kind") from error
    if not NAME.fullmatch(found.name) or not 1 <= number <= NUMBER_MAX:
        raise FramingError("a parcel without a name or a number")
    return found


def encode_head(head: Head) -> bytes:
    """Return the first block of a medium.

    Raises:
        InputError: The signature has another length.
    """
    if len(head.signature) != SIGNATURE_BYTES:
        raise InputError(f"a signature has {SIGNATURE_BYTES} bytes")
    packed = _HEAD.pack(_MAGIC, head.number, head.content_bytes, head.signature)
    return packed.ljust(BLOCK, b"\0")


def decode_head(block: bytes) -> Head | None:
    """Read the first block of a medium; None for an empty one.

    Raises:
        FramingError: Another form.
        LimitExceeded: The content would be too large.
    """
    if not any(block[: _HEAD.size]):
        return None
    if len(block) < _HEAD.size or not block.startswith(_MAGIC):
        raise FramingError("not a service medium")
    _, number, size, signature = _HEAD.unpack_from(block)
    if not _CONTENT.size <= size <= CONTENT_BYTES_MAX:
        raise LimitExceeded(f"a parcel has {_CONTENT.size} to {CONTENT_BYTES_MAX} bytes")
    return Head(number=number, content_bytes=size, signature=signature)
