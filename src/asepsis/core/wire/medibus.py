"""Draeger MEDIBUS over RS-232: frames, checksums and data records. Bytes in, values out.

A command begins with ESC, a response with SOH; two hexadecimal digits of the sum of all bytes and
CR end both. Bytes with the highest bit set are real-time data and may stand anywhere between and
inside; DC1, DC3 and CAN are for the line. An alarm's priority is one byte from 1 to 31, which looks
like a control character: in a response with alarms, a byte at such a place is taken as it is.

Source: Draeger, "RS 232 MEDIBUS, Protocol Definition", 9028258 (revision 6.00), sections on message
structure, checksum, data records and control characters.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from typing import Final

from asepsis.core.errors import FramingError

FRAME_BYTES_MAX: Final = 1_024
REALTIME: Final = 0x80
ESC: Final = 0x1B
SOH: Final = 0x01
CR: Final = 0x0D
NAK: Final = 0x15
LINE_CONTROL: Final = frozenset((0x11, 0x13))
"""DC1 and DC3: resume and suspend sending."""
CANCEL: Final = 0x18
PRIORITY_MAX: Final = 31
_CHECKSUM_DIGITS: Final = 2
_MEASURED_CHARS: Final = 6
_SETTING_CHARS: Final = 7
_ALARM_CHARS: Final = 15
_HEX: Final = frozenset(b"0123456789ABCDEFabcdef")


class Command(IntEnum):
    """Commands, which responses repeat."""

    ALARMS_3 = 0x23
    MEASURED_1 = 0x24
    ALARMS_1 = 0x27
    TIME = 0x28
    SETTINGS = 0x29
    TEXTS = 0x2A
    MEASURED_2 = 0x2B
    ALARMS_2 = 0x2E
    NO_OPERATION = 0x30
    TIME_CHANGED = 0x49
    INITIALIZE = 0x51
    IDENTIFY = 0x52
    STOP = 0x55
    REALTIME_CHANGED = 0x56


ALARMS: Final = frozenset((Command.ALARMS_1, Command.ALARMS_2, Command.ALARMS_3))


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole message whose checksum holds.

    Attributes:
        is_command: Whether the other side asks; else it answers.
        code: Command, or which one is answered; `NAK` for one that was not understood.
        data: What stands between code and checksum.
    """

    is_command: bool
    code: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a data response.

    Attributes:
        code: Data code.
        text: As sent, without the blanks around it.
    """

    code: int
    text: str

    @property
    def number(self) -> Decimal | None:
        """The number that it says, with its decimals; None if it says none."""
        if not self.text or set(self.text) - _NUMBER_CHARS:
            return None
        try:
            return Decimal(self.text)
        except InvalidOperation:
            return None


_NUMBER_CHARS: Final = frozenset("0123456789.+-")


@dataclass(frozen=True, slots=True)
class Alarm:
    """One active alarm.

    Attributes:
        priority: 1 to 31, the highest is the gravest.
        code: Alarm code of its code page.
        text: What the device shows, 12 characters at most; untrusted.
    """

    priority: int
    code: int
    text: str


def checksum(body: bytes) -> bytes:
    """Return two hexadecimal digits of the sum of all bytes.

    Source: 9028258, "Checksum".
    """
    return b"%02X" % (sum(body) & 0xFF)


def encode(frame: Frame) -> bytes:
    """Write a command or a response.

    Raises:
        FramingError: Longer than any message.

    Source: 9028258, "Message structure".
    """
    if len(frame.data) > FRAME_BYTES_MAX - 8:
        raise FramingError("message is too long")
    body = bytes((ESC if frame.is_command else SOH, frame.code)) + frame.data
    return body + checksum(body) + bytes((CR,))


def command(code: Command, data: bytes = b"") -> bytes:
    """Write a command."""
    return encode(Frame(is_command=True, code=code, data=data))


def response(code: int, data: bytes = b"") -> bytes:
    """Write a response."""
    return encode(Frame(is_command=False, code=code, data=data))


@dataclass(slots=True)
class FrameReader:
    """Cuts messages out of a stream, however it was cut before.

    Attributes:
        broken: Answers that were left out, since the start: wrong checksum, too long, cut short.
        broken_commands: The same of commands; each is to be answered with `NAK`.
    """

    broken: int = 0
    broken_commands: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes; yield the messages that are whole now."""
        for byte in data:
            if byte & REALTIME:
                continue
            if byte == CR and not self._is_priority(byte):
                found = self._end()
                if found is not None:
                    yield found
            else:
                self._take(byte)

    def _take(self, byte: int) -> None:
        if self._buffer and self._is_priority(byte):
            self._append(byte)
        elif byte in {ESC, SOH}:
            self._drop()
            self._buffer.append(byte)
        elif byte == CANCEL:
            self._buffer.clear()
        elif self._buffer and byte not in LINE_CONTROL:
            self._append(byte)

    def clear(self) -> None:
        """Forget what has come of a message; the line was opened anew."""
        self._buffer.clear()

    def _append(self, byte: int) -> None:
        self._buffer.append(byte)
        if len(self._buffer) > FRAME_BYTES_MAX:
            self._drop()

    def _drop(self) -> None:
        if self._buffer:
            self._count(self._buffer[0])
            self._buffer.clear()

    def _count(self, first: int) -> None:
        if first == ESC:
            self.broken_commands += 1
        else:
            self.broken += 1

    def _is_priority(self, byte: int) -> bool:
        """Whether a byte stands where a response with alarms has a priority."""
        buffer = self._buffer
        return (
            1 <= byte <= PRIORITY_MAX
            and len(buffer) >= 2
            and buffer[0] == SOH
            and buffer[1] in ALARMS
            and (len(buffer) - 2) % _ALARM_CHARS == 0
        )

    def _end(self) -> Frame | None:
        body = bytes(self._buffer)
        self._buffer.clear()
        if not body:
            return None  # A CR between messages.
        content, digits = body[:-_CHECKSUM_DIGITS], body[-_CHECKSUM_DIGITS:].upper()
        if len(content) < 2 or checksum(content) != digits:
            self._count(body[0])
            return None
        return Frame(is_command=content[0] == ESC, code=content[1], data=content[2:])


def measured(data: bytes) -> tuple[Item, ...]:
    """Read measured data: two hexadecimal digits and four characters each.

    Raises:
        FramingError: Not a whole number of records, or a code that is none.

    Source: 9028258, "Measured data response".
    """
    return tuple(_items(data, _MEASURED_CHARS))


def settings(data: bytes) -> tuple[Item, ...]:
    """Read device settings: two hexadecimal digits and five characters each.

    Raises:
        FramingError: Not a whole number of records, or a code that is none.

    Source: 9028258, "Device settings response".
    """
    return tuple(_items(data, _SETTING_CHARS))


def alarms(data: bytes) -> tuple[Alarm, ...]:
    """Read active alarms: a byte, two hexadecimal digits and twelve characters each.

    Raises:
        FramingError: Not a whole number of records, a code or priority that is none.

    Source: 9028258, "Alarm status response".
    """
    if len(data) % _ALARM_CHARS:
        raise FramingError("alarms end inside a record")
    found: list[Alarm] = []
    for at in range(0, len(data), _ALARM_CHARS):
        record = data[at : at + _ALARM_CHARS]
        if not 1 <= record[0] <= PRIORITY_MAX:
            raise FramingError("priority of an alarm is out of range")
        text = record[3:].decode("latin-1")
        shown = "".join(c for c in text if c.isprintable()).strip()
        found.append(Alarm(record[0], _code(record[1:3]), shown))
    return tuple(found)


def _items(data: bytes, width: int) -> Iterator[Item]:
    if len(data) % width:
        raise FramingError("data ends inside a record")
    for at in range(0, len(data), width):
        text = data[at + 2 : at + width].decode("latin-1").strip()
        yield Item(_code(data[at : at + 2]), text)


def _code(digits: bytes) -> int:
    if set(digits) - _HEX:
        raise FramingError("a data code is two hexadecimal digits")
    return int(digits, 16)
