"""Makes the new artefact from the old one and a difference; the result's signed hash decides.

A difference is a stranger's input for a decoder in machine code. So it is looked at only after its
own SHA-256 was found to be the signed one, what its header promises must be exactly the signed
length before a byte is decoded, and the verifier that does this has no network and a limit on its
memory. Whatever fails, the full artefact is fetched instead.

Source: ADR 0060; HDiffPatch's format HDIFF13; RFC 8878 section 3.1.1 (frame header of zstd).
"""

import hashlib
from enum import StrEnum
from typing import Final

import hdiffpatch
from backports import zstd

from asepsis.core.errors import ContentMismatch, FramingError, LimitExceeded

ARTEFACT_BYTES_MAX: Final = 1 << 30
"""Both artefacts are held in memory; larger ones are fetched whole."""
WINDOW_LOG_MAX: Final = 30
"""Window of zstd, as a power of two: all of the old artefact must lie within it."""
HEADER_BYTES_MAX: Final = 64
_HDIFF: Final = b"HDIFF13&"
_PACKERS: Final = frozenset({b"", b"zstd", b"lzma2"})
"""How a difference may be packed; the library knows more decoders than we want to reach."""
_NUMBER_BYTES_MAX: Final = 9
_PREFIX_BYTES_MIN: Final = 8
_MIB: Final = 1 << 20


class Method(StrEnum):
    """How a device comes to the new artefact; the words of the release document, and `full`."""

    HDIFFPATCH = "hdiffpatch"
    ZSTD = "zstd"
    FULL = "full"


def apply(
    method: Method, *, old: bytes, patch: bytes, patch_sha256: str, length: int, sha256: str
) -> bytes:
    """Return the new artefact, or refuse.

    Args:
        method: Not `FULL`.
        old: The artefact that the device has.
        patch: The difference, as it came.
        patch_sha256: Of the difference, from the signed release document; hexadecimal.
        length: Bytes of the new artefact, signed.
        sha256: Of the new artefact, signed; hexadecimal.

    Raises:
        ContentMismatch: Not the signed difference, or not the signed artefact.
        FramingError: No difference of this method, or none from this old artefact.
        LimitExceeded: Larger than a device rebuilds.
    """
    if max(length, len(old), len(patch)) > ARTEFACT_BYTES_MAX:
        raise LimitExceeded("an artefact is too large to be rebuilt from a difference")
    if hashlib.sha256(patch).hexdigest() != patch_sha256:
        raise ContentMismatch("the difference is not the signed one")
    made = _unpacked(method, old, patch, length)
    if len(made) != length or hashlib.sha256(made).hexdigest() != sha256:
        raise ContentMismatch("the difference does not lead to the signed artefact")
    return made


def make(method: Method, *, old: bytes, new: bytes, packer: str = "lzma2") -> bytes:
    """Return a difference; for a vendor, who has both.

    Args:
        method: Not `FULL`.
        old: What devices have.
        new: What they are to have.
        packer: How `HDIFFPATCH` packs: `lzma2` or `zstd`.

    Raises:
        LimitExceeded: Too large.
        FramingError: The library fails.
    """
    if max(len(old), len(new)) > ARTEFACT_BYTES_MAX:
        raise LimitExceeded("artefacts of over 1 GiB are not compared")
    if method is Method.ZSTD:
        compressor = zstd.ZstdCompressor(
            options={
                zstd.CompressionParameter.compression_level: 19,
                zstd.CompressionParameter.window_log: _window_log(len(old) + len(new)),
                zstd.CompressionParameter.enable_long_distance_matching: 1,
            },
            zstd_dict=_prefix(old),
        )
        compressor.set_pledged_input_size(len(new))
        return compressor.compress(new, zstd.ZstdCompressor.FLUSH_FRAME)
    packed = hdiffpatch.Lzma2Config(level=9) if packer == "lzma2" else hdiffpatch.ZStdConfig(19)
    try:
        return hdiffpatch.diff(old, new, packed, validate=False)
    except hdiffpatch.HDiffPatchError as error:
        raise FramingError("no difference could be made") from error


def memory_bytes(method: Method, *, old: int, new: int, patch: int) -> int:
    """Return the memory that applying takes at most, by sizes in bytes; measured beside it.

    Both methods hold old, new and patch; unpacking takes a window as large as what is unpacked.
    """
    if method is Method.FULL:
        return 4 * _MIB
    return old + 2 * new + patch + 16 * _MIB


def _unpacked(method: Method, old: bytes, patch: bytes, length: int) -> bytes:
    if method is Method.ZSTD:
        return _from_prefix(old, patch, length)
    if method is not Method.HDIFFPATCH:
        raise FramingError("a full artefact is no difference")
    if _promised(patch) != (length, len(old)):
        raise FramingError("the difference is not between these two artefacts")
    try:
        return hdiffpatch.apply(old, patch)
    except (hdiffpatch.HDiffPatchError, MemoryError) as error:
        raise FramingError("the difference is damaged") from error


def _from_prefix(old: bytes, patch: bytes, length: int) -> bytes:
    try:
        if zstd.get_frame_info(patch).decompressed_size != length:
            raise FramingError("the difference is not between these two artefacts")
        decompressor = zstd.ZstdDecompressor(
            zstd_dict=_prefix(old),
            options={
                zstd.DecompressionParameter.window_log_max: _window_log(len(old) + length),
            },
        )
        made = decompressor.decompress(patch, max_length=length + 1)
        whole = decompressor.eof and not decompressor.unused_data
    except (zstd.ZstdError, ValueError, MemoryError) as error:
        raise FramingError("the difference is damaged") from error
    if not whole:
        raise FramingError("the difference is cut, or something stands behind it")
    return made


def _promised(patch: bytes) -> tuple[int, int]:
    """Return the lengths of the new and the old artefact that the header says."""
    head = patch[:HEADER_BYTES_MAX]
    packer, end, rest = head.removeprefix(_HDIFF).partition(b"\0")
    if not head.startswith(_HDIFF) or not end or packer not in _PACKERS:
        raise FramingError("not a difference of HDiffPatch as we make them")
    new, at = _number(rest, 0)
    return new, _number(rest, at)[0]


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(at, min(at + _NUMBER_BYTES_MAX, len(data))):
        value = value << 7 | data[place] & 0x7F
        if not data[place] & 0x80:
            return value, place + 1
    raise FramingError("the header of the difference is damaged")


def _prefix(old: bytes) -> tuple[zstd.ZstdDict, int] | None:
    """Return the old artefact as what the new one is compared with; the library wants 8 bytes."""
    return zstd.ZstdDict(old, is_raw=True).as_prefix if len(old) >= _PREFIX_BYTES_MIN else None


def _window_log(size: int) -> int:
    return min(max(size.bit_length(), 20), WINDOW_LOG_MAX)
