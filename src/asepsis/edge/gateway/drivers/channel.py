"""From a line process to the keeper: what a machine told, and when, one packet each.

The line process reads strangers and holds no key; what it sends is decoded by type and range, and
which device it is about is decided by the channel, never by what stands in it.
"""

import contextlib
import socket
from typing import Annotated, Final

import msgspec

from asepsis.core.errors import FramingError
from asepsis.edge.gateway.drivers.sdk import (
    OUTPUTS_MAX,
    Conditions,
    Fault,
    Linked,
    Samples,
    Unlinked,
    Values,
)

PACKET_BYTES_MAX: Final = 65_536
Told = Linked | Unlinked | Values | Samples | Conditions | Fault


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was told at one moment.

    Attributes:
        at_ns: Monotonic time, nanoseconds; one clock for all processes of a computer.
        told: What a machine told, without what it sent.
        strangers: Datagrams from other addresses, since the start of the process.
        lost: Reports that found no room, since the start of the process.
        key: SHA-256 of the device's public key as TLS proved it, hexadecimal; empty without.
    """

    at_ns: Annotated[int, msgspec.Meta(ge=0)]
    told: Annotated[tuple[Told, ...], msgspec.Meta(max_length=OUTPUTS_MAX)] = ()
    strangers: Annotated[int, msgspec.Meta(ge=0)] = 0
    lost: Annotated[int, msgspec.Meta(ge=0)] = 0
    key: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")] = ""


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Report)


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the line process's and the keeper's end of a channel, neither of which blocks."""
    line, keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.setblocking(False)
    keeper.setblocking(False)
    return line, keeper


def send(channel: socket.socket, report: Report) -> bool:
    """Send a report; return whether there was room. One that finds none is left out, not kept."""
    with contextlib.suppress(OSError):
        packet = _ENCODER.encode(report)
        return len(packet) <= PACKET_BYTES_MAX and channel.send(packet) == len(packet)
    return False


def receive(channel: socket.socket) -> Report | None:
    """Return the next report, None if none waits.

    Raises:
        FramingError: It is none.
    """
    try:
        packet = channel.recv(PACKET_BYTES_MAX + 1)
    except OSError:
        return None
    if not packet:
        return None
    try:
        return _DECODER.decode(packet)
    except msgspec.DecodeError as error:
        raise FramingError("not a report of a line process") from error
