"""The two transports of drivers: datagrams of one address, and a serial line.

Both are opened before the process confines itself, and neither needs a right afterwards. A
connected datagram socket hears one address only; a second one on the same port hears everybody
else, so that strangers are counted instead of overlooked.
"""

import contextlib
import fcntl
import os
import select
import socket
import termios
from collections.abc import Sequence
from typing import Final, Protocol

from asepsis.core.errors import Unavailable
from asepsis.edge.gateway.drivers.catalogue import Plan
from asepsis.edge.gateway.drivers.sdk import LineSettings, Transport

DATAGRAM_BYTES_MAX: Final = 9_216
CHUNK_BYTES: Final = 4_096
AT_ONCE_MAX: Final = 64
"""Datagrams taken before the machine gets its tick again."""
_SPEEDS: Final = {
    rate: getattr(termios, f"B{rate}")
    for rate in (1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200)
}


class Line(Protocol):
    """Where a machine's bytes come from and go to."""

    @property
    def strangers(self) -> int:
        """Datagrams that came from somebody else."""
        ...

    def wait(self, timeout_s: float) -> Sequence[bytes]:
        """Return what came, at the latest after `timeout_s`.

        Raises:
            Unavailable: The line is gone.
        """
        ...

    def send(self, data: bytes) -> None:
        """Send, or not: what finds no room is lost, as on any cable.

        Raises:
            Unavailable: The line is gone.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Datagrams:
    """Datagrams of one address.

    Args:
        plan: Where the device is.

    Raises:
        Unavailable: The port is taken, or there is no route.
    """

    def __init__(self, plan: Plan) -> None:
        self.strangers = 0
        entry = plan.entry
        self._address = entry.address
        port = entry.port or plan.driver.port
        family = socket.AF_INET6 if ":" in entry.address else socket.AF_INET
        local = entry.local_address if family == socket.AF_INET else "::"
        try:
            self._device = _bound(family, local, entry.local_port)
            self._others = [_bound(family, local, self._device.getsockname()[1])]
            self._device.connect((entry.address, port))
            if entry.announcements:
                self._others.append(_bound(family, local, entry.announcements))
        except OSError as error:
            raise Unavailable(f"{entry.name}: {error.strerror}") from error
        self._poll = select.poll()
        for one in (self._device, *self._others):
            self._poll.register(one, select.POLLIN)

    def wait(self, timeout_s: float) -> Sequence[bytes]:
        """Return the device's datagrams; count everybody else's."""
        self._poll.poll(max(0, int(timeout_s * 1_000)))
        found: list[bytes] = []
        for one in self._others:
            for data, source in _taken(one):
                if one is not self._others[0] and source == self._address:
                    found.append(data)
                else:
                    self.strangers += 1
        return [*found, *(data for data, _ in _taken(self._device))]

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        with contextlib.suppress(OSError):  # Nobody there yet: the machine asks again.
            self._device.send(data)

    def close(self) -> None:
        """Close every socket."""
        for one in (self._device, *self._others):
            one.close()


def _bound(family: int, address: str, port: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setblocking(False)
    one.bind((address, port))
    return one


def _taken(one: socket.socket) -> Sequence[tuple[bytes, str]]:
    found: list[tuple[bytes, str]] = []
    while len(found) < AT_ONCE_MAX:
        try:
            data, source = one.recvfrom(DATAGRAM_BYTES_MAX)
        except BlockingIOError:
            break
        except OSError:
            continue  # The answer to a datagram that found no port; it clears the socket.
        found.append((data, str(source[0])))
    return found


class SerialLine:
    """A serial line, or a pseudo-terminal.

    Args:
        path: Of its device file.
        settings: How it is set.

    Raises:
        Unavailable: It is not there, taken, or cannot be set.
    """

    strangers = 0

    def __init__(self, path: str, settings: LineSettings) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(self._file, termios.TIOCEXCL)
            _set(self._file, settings)
        except (OSError, termios.error) as error:
            raise Unavailable(f"{path}: {error}") from error
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)

    def wait(self, timeout_s: float) -> Sequence[bytes]:
        """Return what came."""
        events = self._poll.poll(max(0, int(timeout_s * 1_000)))
        if not events:
            return ()
        try:
            data = os.read(self._file, CHUNK_BYTES)
        except BlockingIOError:
            return ()
        except OSError as error:
            raise Unavailable("the line is gone") from error
        if not data:
            raise Unavailable("the line is gone")
        return (data,)

    def send(self, data: bytes) -> None:
        """Write what the line takes."""
        try:
            os.write(self._file, data)
        except BlockingIOError:
            return  # Nobody reads: the machine asks again.
        except OSError as error:
            raise Unavailable("the line is gone") from error

    def close(self) -> None:
        """Close the line."""
        os.close(self._file)


def _set(file: int, settings: LineSettings) -> None:
    """Set raw bytes, rate, parity and stop bits.

    Source: termios(3), raw mode; 8 data bits, no flow control by the driver of the system.
    """
    _, _, control, _, _, _, characters = termios.tcgetattr(file)
    speed = _SPEEDS.get(settings.baud)
    if speed is None:
        raise Unavailable(f"{settings.baud} bits a second cannot be set")
    flags = (termios.CSIZE, termios.PARENB, termios.PARODD, termios.CSTOPB, termios.CRTSCTS)
    for flag in flags:
        control &= ~flag
    control |= termios.CS8 | termios.CREAD | termios.CLOCAL
    if settings.parity != "none":
        control |= termios.PARENB | (termios.PARODD if settings.parity == "odd" else 0)
    if settings.stop_bits == 2:
        control |= termios.CSTOPB
    characters[termios.VMIN], characters[termios.VTIME] = 0, 0
    termios.tcsetattr(file, termios.TCSANOW, [0, 0, control, 0, speed, speed, characters])
    termios.tcflush(file, termios.TCIOFLUSH)


def open_line(plan: Plan) -> Line:
    """Open what a plan names.

    Raises:
        Unavailable: It is not there.
    """
    if plan.driver.transport is Transport.UDP:
        return Datagrams(plan)
    return SerialLine(plan.entry.line, plan.line)
