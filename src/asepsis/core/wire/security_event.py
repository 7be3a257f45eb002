"""Security events of a device (ASE1): what was denied on it, signed by its origin key.

    ASE1 | device | key id 8 | epoch u64 | sequence u64 | wall ns u64 | kind u8 | alarm u8 |
    count u32 | source | text | ES256 64

Names and texts have their length, one byte, in front. Numbers are dense within a boot epoch, so
what a taken network compartment withholds shows with the next event.

Source: docs/reference/security-events.md; RFC 7518 section 3.4.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asepsis.core.errors import FramingError, InputError
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire.binary import PeekedHeader, device_from_bytes, device_to_bytes

MAGIC: Final = b"ASE1"
MEDIA_TYPE: Final = "application/vnd.asepsis.security-event"
SIGNATURE_BYTES: Final = 64
EVENT_BYTES_MAX: Final = 512
SOURCE_CHARS_MAX: Final = 24
TEXT_BYTES_MAX: Final = 120
_FIXED: Final = struct.Struct(">8sQQQBBI")
_NUMBER_MAX: Final = 2**63 - 1


class DenialKind(IntEnum):
    """What was tried."""

    TRACE = 1
    """To trace another process, or to reach its memory or descriptors."""
    SIGNAL = 2
    SOCKET = 3
    EXECUTE = 4
    PRIVILEGE = 5
    """To gain rights, to mount, to load code into the kernel, to leave a namespace."""
    FILE = 6
    OTHER = 7
    REQUEST = 8
    """To have something of the critical compartment; accepted or not, it stands here."""
    PLUGGED = 9
    """Something was plugged into the machine while it ran; no driver took it."""


ALARMING: Final = frozenset({DenialKind.TRACE, DenialKind.EXECUTE, DenialKind.PRIVILEGE})
"""Kinds that no honest compartment tries: an alarm for the security team."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityEvent:
    """One event.

    Attributes:
        device: Who signs.
        key_id: First 8 bytes of the SHA-256 of the origin key's SPKI DER.
        epoch: Boot epoch, 1 to 2**63 - 1.
        sequence: From 1, dense within the epoch.
        wall_ns: The device's wall time, nanoseconds since 1970.
        kind: What was tried.
        alarm: Whether the security team is called.
        count: How often since the last event of this source and kind, 1 to 2**32 - 1.
        source: Compartment that tried, at most `SOURCE_CHARS_MAX` ASCII characters.
        text: More of it, printable, at most `TEXT_BYTES_MAX` bytes of UTF-8.
    """

    device: DeviceId
    key_id: bytes
    epoch: int
    sequence: int
    wall_ns: int
    kind: DenialKind
    alarm: bool
    count: int
    source: str
    text: str


def encode(event: SecurityEvent) -> bytes:
    """Write the part that is signed.

    Raises:
        InputError: A field outside its range.
    """
    source, text = event.source.encode(), event.text.encode()
    if len(event.source) > SOURCE_CHARS_MAX or len(text) > TEXT_BYTES_MAX:
        raise InputError("a text of the security event is too long")
    if not (event.source.isascii() and event.source.isprintable() and event.text.isprintable()):
        raise InputError("a text of the security event is not printable")
    numbers = (event.epoch, event.sequence, event.wall_ns)
    if len(event.key_id) != 8 or min(numbers) < 1 or max(numbers) > _NUMBER_MAX:
        raise InputError("a number of the security event is outside its range")
    try:
        fixed = _FIXED.pack(event.key_id, *numbers, event.kind, event.alarm, event.count)
    except struct.error as error:
        raise InputError("a number of the security event is outside its range") from error
    head = MAGIC + device_to_bytes(event.device)
    return head + fixed + bytes((len(source),)) + source + bytes((len(text),)) + text


def decode(data: bytes) -> tuple[SecurityEvent, bytes, bytes]:
    """Read an event; whether it is genuine only its signature can say.

    Returns:
        The event, the signed part, the signature.

    Raises:
        FramingError: Malformed.
    """
    if len(data) > EVENT_BYTES_MAX or not data.startswith(MAGIC) or len(data) < SIGNATURE_BYTES:
        raise FramingError("not a security event")
    signed, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    try:
        name, at = _sized(signed, len(MAGIC))
        key_id, epoch, sequence, wall_ns, kind, alarm, count = _FIXED.unpack_from(signed, at)
        source, at = _sized(signed, at + _FIXED.size)
        text, at = _sized(signed, at)
        event = SecurityEvent(
            device=device_from_bytes(name),
            key_id=key_id,
            epoch=epoch,
            sequence=sequence,
            wall_ns=wall_ns,
            kind=DenialKind(kind),
            alarm=alarm == 1,
            count=count,
            source=source.decode("ascii"),
            text=text.decode(),
        )
        if at != len(signed) or encode(event) != signed:
            raise FramingError("a security event has one form only")
    except (struct.error, IndexError, ValueError, InputError) as error:
        raise FramingError("not a security event") from error
    return event, signed, signature


def peek_header(data: bytes) -> PeekedHeader:
    """Return whom an event claims to come from.

    Raises:
        FramingError: Malformed.
    """
    event, _, _ = decode(data)
    return PeekedHeader(event.device, event.epoch, event.sequence)


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + data[at]
    found = data[at + 1 : end]
    if len(found) != data[at]:
        raise FramingError("a security event ends inside a text")
    return found, end
