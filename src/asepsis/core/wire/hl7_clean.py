"""From the bytes a sender really sends to the canonical body of an HL7 v2 message.

Source: HL7 v2.8.2 section 2.5.4: segments end with a carriage return, "which cannot be changed".
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire.hl7_header import BYTE_ORDER_MARK

_VT: Final = 0x0B
_FS: Final = 0x1C
_NUL: Final = 0x00
_LF: Final = 0x0A


class Tolerated(StrEnum):
    """A deviation from the standard that is accepted, counted and never hidden."""

    BYTE_ORDER_MARK = "byte order mark before MSH"
    LINE_FEEDS = "segments end with LF"
    CARRIAGE_RETURN_LINE_FEEDS = "segments end with CR LF"
    NO_FINAL_RETURN = "last segment has no end"
    EMPTY_SEGMENTS = "empty segments left out"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """One accepted deviation.

    Attributes:
        kind: What deviates.
        count: How often, at least 1.
    """

    kind: Tolerated
    count: int


Clean = tuple[bytes, tuple[Tolerance, ...]]
"""The canonical body of a message (CR after every segment, no mark, no empty segments), and what
was changed to get there."""


def clean(data: bytes, bytes_max: int) -> Clean:
    """Refuse what can hide something, and return the body, canonical but for empty segments.

    A second message hides behind VT and FS from a reader that frames again, and text behind NUL
    from a reader that stops there. Looking for empty segments costs more than all the rest, and
    their names fit no kept shape; so the caller calls `clean_thoroughly` where no shape fits.

    Args:
        data: The message as received.
        bytes_max: Largest size, in bytes.

    Raises:
        InputError: It holds VT, FS or NUL, or mixes line ends, so that two readers would see
            different segments.
        LimitExceeded: It is longer than `bytes_max`.

    Source: MLLP Release 1 (VT and FS are block characters); HL7 v2.8.2 section 2.5.4.
    """
    if len(data) > bytes_max:
        raise LimitExceeded(f"message is over {bytes_max} bytes")
    if data.find(_VT) >= 0 or data.find(_FS) >= 0:
        raise InputError("message holds a block character of MLLP (VT or FS)")
    if data.find(_NUL) >= 0:
        raise InputError("message holds NUL", hint="UTF-16 and UTF-32 are not taken")
    if data.find(_LF) < 0 and data.endswith(b"\r") and data.startswith(b"MSH"):
        return data, ()
    return clean_thoroughly(data)


def clean_thoroughly(data: bytes) -> Clean:
    """Return the canonical body and all that had to be tolerated.

    Args:
        data: A message without VT, FS and NUL.

    Raises:
        InputError: It mixes line ends, so that two readers would see different segments.

    Source: HL7 v2.8.2 section 2.5.4.
    """
    found: list[Tolerance] = []
    if data.startswith(BYTE_ORDER_MARK):
        data = data[len(BYTE_ORDER_MARK) :]
        found.append(Tolerance(Tolerated.BYTE_ORDER_MARK, 1))
    data = _with_returns(data, found)
    if not data.endswith(b"\r"):
        found.append(Tolerance(Tolerated.NO_FINAL_RETURN, 1))
    segments = data.split(b"\r")
    full = [segment for segment in segments if segment]
    empty = len(segments) - len(full) - data.endswith(b"\r")
    if empty > 0:
        found.append(Tolerance(Tolerated.EMPTY_SEGMENTS, empty))
    return b"\r".join((*full, b"")), tuple(found)


def _with_returns(data: bytes, found: list[Tolerance]) -> bytes:
    """Replace one kind of line end by CR; refuse two kinds in one message."""
    feeds = data.count(b"\n")
    if not feeds:
        return data
    returns = data.count(b"\r")
    if not returns:
        found.append(Tolerance(Tolerated.LINE_FEEDS, feeds))
        return data.replace(b"\n", b"\r")
    if returns == feeds == data.count(b"\r\n"):
        found.append(Tolerance(Tolerated.CARRIAGE_RETURN_LINE_FEEDS, feeds))
        return data.replace(b"\r\n", b"\r")
    raise InputError(
        "message mixes line ends: readers would see different segments",
        hint="end segments with CR only, and write line breaks in text as an escape",
    )
