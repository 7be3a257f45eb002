"""The bytes that the signer signs besides certificates: time and tree heads. Pure, stdlib only.

Each statement starts with a magic of its own, so that a signature over one kind never verifies as
another. All integers are big-endian.
"""

import struct
from typing import Final

from asepsis.core.errors import InputError

NONCE_BYTES_MIN: Final = 8
NONCE_BYTES_MAX: Final = 32
TIME_MAGIC: Final = b"ATM1"
TREE_HEAD_MAGIC: Final = b"ATH1"
ROOT_BYTES: Final = 32
_TIME_TAIL: Final = struct.Struct(">QI")
_TREE_HEAD: Final = struct.Struct(">4sQQ32s")
_U64_MAX: Final = 2**64 - 1
_U32_MAX: Final = 2**32 - 1


def time_statement(*, nonce: bytes, wall_ns: int, uncertainty_ms: int) -> bytes:
    """Return the bytes that are signed as time.

    Layout: `ATM1`, nonce length (1 byte), nonce, nanoseconds since 1970 (8), uncertainty in
    milliseconds (4).

    Args:
        nonce: 8 to 32 bytes of the asker's choice.
        wall_ns: Nanoseconds since 1970, 0 to 2**64 - 1.
        uncertainty_ms: Largest error, 0 to 2**32 - 1 milliseconds.

    Raises:
        InputError: Nonce of another size, or a number out of range.

    Source: REQ-ID-018, REQ-ID-020; nonce as in RFC 3161 section 2.4.1.
    """
    if not (0 <= wall_ns <= _U64_MAX and 0 <= uncertainty_ms <= _U32_MAX):
        raise InputError("time or uncertainty is out of range")
    return _time_head(nonce) + _TIME_TAIL.pack(wall_ns, uncertainty_ms)


def read_time_statement(statement: bytes, *, nonce: bytes) -> tuple[int, int]:
    """Return (nanoseconds since 1970, uncertainty in ms) of a statement that answers `nonce`.

    The caller has verified signature and chain.

    Raises:
        InputError: Malformed, or an answer to another nonce (a replay).

    Source: REQ-ID-020.
    """
    head = _time_head(nonce)
    if len(statement) != len(head) + _TIME_TAIL.size or not statement.startswith(head):
        raise InputError("signed time does not answer this nonce")
    wall_ns, uncertainty_ms = _TIME_TAIL.unpack_from(statement, len(head))
    return int(wall_ns), int(uncertainty_ms)


def tree_head_statement(*, size: int, root: bytes, timestamp_ns: int) -> bytes:
    """Return the bytes that are signed as a tree head of the audit log.

    Layout: `ATH1`, number of entries (8 bytes), nanoseconds since 1970 (8), Merkle root (32).

    Raises:
        InputError: Root not of 32 bytes, or a number out of range.

    Source: RFC 9162 section 4.10, in a shorter encoding of our own.
    """
    if len(root) != ROOT_BYTES or not (0 <= size <= _U64_MAX and 0 <= timestamp_ns <= _U64_MAX):
        raise InputError("tree head is out of range")
    return _TREE_HEAD.pack(TREE_HEAD_MAGIC, size, timestamp_ns, root)


def _time_head(nonce: bytes) -> bytes:
    if not NONCE_BYTES_MIN <= len(nonce) <= NONCE_BYTES_MAX:
        raise InputError(f"nonce has {NONCE_BYTES_MIN} to {NONCE_BYTES_MAX} bytes")
    return TIME_MAGIC + bytes([len(nonce)]) + nonce
