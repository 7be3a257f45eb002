"""Philips IntelliVue data export: association control. Bytes in, values out; pure.

The session, presentation and ACSE headers of the protocol are fixed octet strings; only lengths
and the user data vary. What a monitor answers is recognised by its session type and by where its
user data stands; nothing in it is believed but the limits that it offers.

Source: Philips IntelliVue Patient Monitor, Data Export Interface Programming Guide
4535 642 59271, "Association Control Protocol"; ISO/IEC 8327-1, 8823-1, 8650-1 as profiled there.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asepsis.core.errors import FramingError

DATAGRAM_BYTES_MAX: Final = 2_048
"""A monitor sends at most its maximum transmission unit, 1,364 to 1,500 bytes."""
MTU_BYTES: Final = 1_456
TICKS_PER_S: Final = 8_000
"""A RelativeTime counts eighths of a millisecond."""


class SessionType(IntEnum):
    """First octet of an association message."""

    FINISH = 0x09
    DISCONNECT = 0x0A
    REFUSE = 0x0C
    CONNECT = 0x0D
    ACCEPT = 0x0E
    ABORT = 0x19


_SESSION: Final = bytes.fromhex("0508130100160102800014020002")
_ABSTRACT: Final = bytes.fromhex("2a8648ce14020100000001 01")
_TRANSFER: Final = bytes.fromhex("2a8648ce14020100000002 01")
_CONTEXT: Final = bytes.fromhex("2a8648ce14020100000003 01")
_REQUEST_HEAD: Final = (
    bytes.fromhex("3180a0808001010000a280a003000001a48030800201010604520100013080")
    + bytes.fromhex("060251010000000030800201 02 060c")
    + _ABSTRACT
    + bytes.fromhex("3080060c")
    + _TRANSFER
    + bytes.fromhex("000000000000 6180 3080 020101 a080 6080 a180 060c")
    + _CONTEXT
    + bytes.fromhex("0000 be80 2880 060c")
    + _ABSTRACT
    + bytes.fromhex("020102 81")
)
_TRAILER: Final = bytes(16)
_USER_DATA: Final = bytes.fromhex("020102 81")
"""Stands before the length of the user data, in request and response alike."""

RELEASE_REQUEST: Final = bytes.fromhex("0918c116618030800201 01a0806280800100 0000000000000000 00")
RELEASE_RESPONSE: Final = bytes.fromhex("0a18c116618030800201 01a0806380800100 0000000000000000 00")
ABORT: Final = bytes.fromhex(
    "192e110103c129a080a0803080020101060251010000000061803080020101a080648080010100000000000000"
    "000000"
)

_USER_INFO: Final = struct.Struct(">IIIII")
_PROFILE: Final = struct.Struct(">IIIIII")
_AVA: Final = struct.Struct(">HH")

MDDL_VERSION: Final = 0x8000_0000
NOMENCLATURE_VERSION: Final = 0x4000_0000
SYSTEM_CLIENT: Final = 0x8000_0000
COLD_START: Final = 0x2000_0000
POLL_PROFILE: Final = 0x0001
POLL_PROFILE_EXT: Final = 0xF001
POLL_OPTIONS: Final = 0x6000_0000
"""Objects may come and go while associated."""
EXT_OPTIONS: Final = 0x8C00_0000 | 0x0200_0000
"""Numerics each second, waveforms, enumerations, priority lists."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a monitor agreed to.

    Attributes:
        poll_period_s: Shortest time between two polls, seconds.
        datagram_bytes: Largest datagram that it sends.
    """

    poll_period_s: float
    datagram_bytes: int


def encode_length(length: int) -> bytes:
    """Write a session or presentation length: one octet up to 254, else 255 and two.

    Source: 4535 642 59271, "LI field".
    """
    return bytes((length,)) if length < 0xFF else b"\xff" + length.to_bytes(2, "big")


def encode_request(*, poll_period_s: float = 1.0) -> bytes:
    """Write an association request for extended polls of numerics, waveforms and alarms.

    Args:
        poll_period_s: Shortest time between two polls, seconds.

    Source: 4535 642 59271, "Association Request Message", "MDSEUserInfoStd".
    """
    ext = _AVA.pack(POLL_PROFILE_EXT, 8) + struct.pack(">IHH", EXT_OPTIONS, 0, 0)
    profile = _PROFILE.pack(
        MDDL_VERSION,
        int(poll_period_s * TICKS_PER_S),
        MTU_BYTES,
        MTU_BYTES,
        0xFFFF_FFFF,
        POLL_OPTIONS,
    )
    profile += struct.pack(">HH", 1, len(ext)) + ext
    supported = _AVA.pack(POLL_PROFILE, len(profile)) + profile
    info = _USER_INFO.pack(
        MDDL_VERSION, NOMENCLATURE_VERSION, 0, SYSTEM_CLIENT, COLD_START
    ) + struct.pack(">HHHH", 0, 0, 1, len(supported))
    user = info + supported
    presentation = _REQUEST_HEAD + bytes((len(user),)) + user + _TRAILER
    body = _SESSION + b"\xc1" + encode_length(len(presentation)) + presentation
    return bytes((SessionType.CONNECT,)) + encode_length(len(body)) + body


def session_type(datagram: bytes) -> SessionType | None:
    """Return what association message a datagram is, None for anything else."""
    try:
        return SessionType(datagram[0]) if datagram else None
    except ValueError:
        return None


def decode_accept(datagram: bytes) -> Accepted:
    """Read what a monitor agreed to.

    Raises:
        FramingError: No user data where it must stand, or too short.

    Source: 4535 642 59271, "Association Response Message", "PollProfileSupport".
    """
    at = datagram.find(_USER_DATA)
    if at < 0:
        raise FramingError("association response without user data")
    user = _user_data(datagram, at + len(_USER_DATA))
    at = _USER_INFO.size
    # The option list is skipped by its own length; the profiles follow it.
    at += 4 + _u16(user, at + 2)
    end = at + 4 + _u16(user, at + 2)
    at += 4
    while at + _AVA.size <= min(end, len(user)):
        attribute, length = _AVA.unpack_from(user, at)
        at += _AVA.size
        if attribute == POLL_PROFILE and length >= _PROFILE.size and at + length <= len(user):
            _, period, _, transmits, _, _ = _PROFILE.unpack_from(user, at)
            return Accepted(period / TICKS_PER_S, min(transmits, DATAGRAM_BYTES_MAX))
        at += length
    raise FramingError("association response without a poll profile")


def _user_data(datagram: bytes, at: int) -> bytes:
    """Return the user data behind its ASN.1 length, in the short form or 81 or 82."""
    if at >= len(datagram):
        raise FramingError("association response ends before its user data")
    length, at = datagram[at], at + 1
    if length & 0x80:
        octets = length & 0x7F
        if octets not in {1, 2} or at + octets > len(datagram):
            raise FramingError("length of the user data is not understood")
        length, at = int.from_bytes(datagram[at : at + octets], "big"), at + octets
    if at + length > len(datagram):
        raise FramingError("association response ends inside its user data")
    return datagram[at : at + length]


def _u16(data: bytes, at: int) -> int:
    if at + 2 > len(data):
        raise FramingError("user data ends inside a list")
    return int.from_bytes(data[at : at + 2], "big")
