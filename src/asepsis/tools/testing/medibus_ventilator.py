"""A scripted Draeger ventilator, for tests and demonstrations: the other end of MEDIBUS.

Written from the same published definition as the driver (9028258, revision 6.00), so that both may
share a misunderstanding. It answers whole commands however the line cuts them, asks for nothing by
itself but a first initialization, and forgets its client after three seconds of silence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_ESC, _SOH, _CR = 0x1B, 0x01, 0x0D
IDLE_NS: Final = 3_000_000_000
UNLINKED: Final = frozenset(b"\x51\x52\x30\x55")


@dataclass(slots=True)
class Ventilator:
    """The protocol of a ventilator; times are monotonic nanoseconds.

    Attributes:
        measured: Data code of code page 1 -> four characters.
        measured_2: The same of code page 2.
        settings: Setting code -> five characters.
        alarms: (priority, code, text) of code page 1.
        alarms_2: The same of code page 2.
        silent: Whether its cable is out.
        noise: Real-time bytes that are sprinkled over every answer.
        corrupt: So many answers get a wrong checksum.
        linked: Whether it was initialized.
    """

    measured: dict[int, str] = field(
        default_factory=lambda: {
            0x78: "  8 ",
            0x7D: " 24 ",
            0x73: " 12 ",
            0x88: " 480",
            0xB9: " 7.2",
            0xD6: "  15",
            0xF0: "  40",
            0xDB: " 5.1",
        }
    )
    measured_2: dict[int, str] = field(default_factory=lambda: {0x21: " 476", 0x22: " 481"})
    settings: dict[int, str] = field(
        default_factory=lambda: {0x01: "   40", 0x0B: "  8.0", 0x09: "   15"}
    )
    alarms: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])
    alarms_2: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])
    silent: bool = False
    noise: bytes = b""
    corrupt: int = 0
    linked: bool = False
    _buffer: bytearray = field(default_factory=bytearray)
    _heard_ns: int = 0

    def receive(self, data: bytes, now_ns: int) -> Sequence[bytes]:
        """Take bytes of the line; return the answers to the commands in them."""
        if self.silent:
            return ()
        answers: list[bytes] = []
        for byte in data:
            if byte in {_ESC, _SOH}:
                self._buffer.clear()
            self._buffer.append(byte)
            if byte == _CR:
                answers += self._message(bytes(self._buffer[:-1]), now_ns)
                self._buffer.clear()
        return answers

    def tick(self, now_ns: int) -> Sequence[bytes]:
        """Forget a client that says nothing."""
        if self.linked and now_ns - self._heard_ns > IDLE_NS:
            self.linked = False
        return ()

    def restart(self) -> None:
        """Forget the client, as after a power failure."""
        self.linked = False
        self._buffer.clear()

    def _message(self, body: bytes, now_ns: int) -> Sequence[bytes]:
        content, digits = body[:-2], body[-2:]
        if len(content) < 2 or content[0] != _ESC:
            return ()
        if b"%02X" % (sum(content) & 0xFF) != digits:
            return (self._answer(0x15, b""),)
        self._heard_ns = now_ns
        code = content[1]
        if not self.linked and code not in UNLINKED:
            return ()
        if code == 0x51:
            self.linked = True
        if code == 0x55:
            self.linked = False
        return (self._answer(code, self._data(code)),)

    def _data(self, code: int) -> bytes:
        answers = {
            0x52: lambda: b"8060'SCRIPTED VENT'02.00:06.00",
            0x24: lambda: _records(self.measured),
            0x2B: lambda: _records(self.measured_2),
            0x29: lambda: _records(self.settings),
            0x27: lambda: _alarm_records(self.alarms),
            0x2E: lambda: _alarm_records(self.alarms_2),
        }
        return answers[code]() if code in answers else b""

    def _answer(self, code: int, data: bytes) -> bytes:
        body = bytes((_SOH, code)) + data
        wrong = 1 if self.corrupt else 0
        self.corrupt = max(0, self.corrupt - 1)
        whole = body + b"%02X" % (sum(body) + wrong & 0xFF) + bytes((_CR,))
        if not self.noise:
            return whole
        return b"".join(bytes((byte,)) + self.noise for byte in whole)


def _records(values: dict[int, str]) -> bytes:
    return b"".join(b"%02X" % code + text.encode("latin-1") for code, text in values.items())


def _alarm_records(alarms: list[tuple[int, int, str]]) -> bytes:
    return b"".join(
        bytes((priority,)) + b"%02X" % code + text.ljust(12)[:12].encode("latin-1")
        for priority, code, text in alarms
    )
