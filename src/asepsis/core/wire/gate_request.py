"""Requests to a critical compartment as bytes: of fixed size, so there is next to nothing to read.

    `ARQ1` | kind u8 | 0 u8 | handle u16 | low i32 | high i32 | device 16 | challenge 16 | id 8

and behind that, for a request that an operator signed, 64 bytes of ES256 over all of it. Limits are
in thousandths of the numeric's unit; the smallest number says that there is no limit on that side.

Source: our own; between an operator and the critical compartment nobody else reads it.
"""

import hashlib
import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asepsis.core.errors import FramingError, InputError

MAGIC: Final = b"ARQ1"
CHALLENGE_BYTES: Final = 16
ID_BYTES: Final = 8
TAG_BYTES: Final = 16
SIGNATURE_BYTES: Final = 64
CODE_CHARS: Final = 6
"""Characters of the code by which a person confirms exactly the request that was shown."""
NO_CHALLENGE: Final = bytes(CHALLENGE_BYTES)
"""Challenge of a request that no operator signs."""
LIMIT_MAX: Final = 2_000_000.0
"""Largest limit, in the unit of its numeric."""
_FORM: Final = struct.Struct(">4sBBHii16s16s8s")
REQUEST_BYTES: Final = _FORM.size
FRAME_BYTES_MAX: Final = REQUEST_BYTES + SIGNATURE_BYTES
_NONE: Final = -(1 << 31)
_SCALE: Final = 1_000


class RequestKind(IntEnum):
    """What is asked."""

    ALARM_LIMIT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRequest:
    """Asks for other alarm limits of one numeric.

    Attributes:
        handle: Numeric, 1 to 65,535.
        low: New lower limit in its unit, at most `LIMIT_MAX` in size; None for none.
        high: New upper limit likewise.
        device: `device_tag` of the device that is meant.
        challenge: The device's challenge that an operator's signature answers, else `NO_CHALLENGE`.
        request_id: Random, 8 bytes; names the request in answers and records.
    """

    handle: int
    low: float | None
    high: float | None
    device: bytes
    challenge: bytes = NO_CHALLENGE
    request_id: bytes


def device_tag(name: str) -> bytes:
    """Return what stands for a device in a request: 16 bytes of the SHA-256 of its name."""
    return hashlib.sha256(name.encode()).digest()[:TAG_BYTES]


def encode(request: LimitRequest) -> bytes:
    """Write a request, without a signature.

    Raises:
        InputError: A field outside its range.
    """
    parts = (
        (request.device, TAG_BYTES),
        (request.challenge, CHALLENGE_BYTES),
        (request.request_id, ID_BYTES),
    )
    if any(len(part) != size for part, size in parts) or request.handle < 1:
        raise InputError("a field of the request is outside its range")
    try:
        return _FORM.pack(
            MAGIC,
            RequestKind.ALARM_LIMIT,
            0,
            request.handle,
            _scaled(request.low),
            _scaled(request.high),
            *(part for part, _ in parts),
        )
    except struct.error as error:
        raise InputError("a field of the request is outside its range") from error


def decode(frame: bytes) -> tuple[LimitRequest, bytes]:
    """Read a request; nothing of it is believed yet.

    Returns:
        The request, and the signature behind it, empty if there is none.

    Raises:
        FramingError: Another form.
    """
    if len(frame) not in {REQUEST_BYTES, FRAME_BYTES_MAX}:
        raise FramingError(f"a request has {REQUEST_BYTES} or {FRAME_BYTES_MAX} bytes")
    magic, kind, zero, handle, low, high, device, challenge, own = _FORM.unpack_from(frame)
    if magic != MAGIC or zero or not handle or kind != RequestKind.ALARM_LIMIT:
        raise FramingError("not a request of this version")
    request = LimitRequest(
        handle=handle,
        low=_limit(low),
        high=_limit(high),
        device=device,
        challenge=challenge,
        request_id=own,
    )
    return request, frame[REQUEST_BYTES:]


def code_of(frame: bytes) -> str:
    """Return the code by which a person confirms exactly these bytes: six hexadecimal digits."""
    return hashlib.sha256(frame).hexdigest()[:CODE_CHARS]


def _scaled(limit: float | None) -> int:
    if limit is None:
        return _NONE
    if not math.isfinite(limit) or abs(limit) > LIMIT_MAX:
        raise InputError(f"a limit is at most {LIMIT_MAX:,.0f} in size")
    return round(limit * _SCALE)


def _limit(scaled: int) -> float | None:
    if scaled == _NONE:
        return None
    if abs(scaled) > LIMIT_MAX * _SCALE:
        raise FramingError("a limit is outside its range")
    return scaled / _SCALE
