"""Words between the process that parses and the one that keeps spool and key.

One packet is one message; files cross as descriptors that can only be written. The receiving side
trusts nothing: a length, an unknown word or a wrong type ends the conversation.

Source: unix(7), SOCK_SEQPACKET and SCM_RIGHTS.
"""

import os
import socket
from typing import Annotated, Final, Literal

import msgspec

from asepsis.core.errors import FramingError, Unavailable

PACKET_BYTES_MAX: Final = 8_192
DESCRIPTORS_MAX: Final = 1
READY: Final = b"ready"
"""First packet of a child: it has opened what it needs, and confined itself."""


class Open(msgspec.Struct, frozen=True, tag="open", forbid_unknown_fields=True):
    """The parser needs a file.

    Attributes:
        token: The parser's number for what it is about to write.
    """

    token: int


class Written(msgspec.Struct, frozen=True, tag="written", forbid_unknown_fields=True, kw_only=True):
    """A file is complete.

    Attributes:
        token: As in `Open`.
        peer: Name of the gateway's entry.
        device: Name of the modality at the hub.
        sop_class: UID of the C-STORE request.
        sop_instance: UID of the C-STORE request.
        transfer_syntax: UID of the presentation context.
        calling: AE title of the peer.
        called: AE title that it asked for.
        user: Who the user was proven to be; empty where nobody asked.
        length: Bytes of the data set.
        ack: When a success may be said.
    """

    token: int
    peer: str
    device: str
    sop_class: str
    sop_instance: str
    transfer_syntax: str
    calling: str
    called: str
    user: str
    length: int
    ack: Literal["hub", "spool"]


class Drop(msgspec.Struct, frozen=True, tag="drop", forbid_unknown_fields=True):
    """A file will not be completed."""

    token: int


class File(msgspec.Struct, frozen=True, tag="file", forbid_unknown_fields=True):
    """The file that was asked for; its descriptor comes with the packet.

    Attributes:
        token: As in `Open`.
        key: Key of this file, 32 bytes.
        room: Plaintext bytes that the spool still takes.
    """

    token: int
    key: bytes
    room: int


class Outcome(msgspec.Struct, frozen=True, tag="outcome", forbid_unknown_fields=True):
    """What the peer is told.

    Attributes:
        token: As in `Open`.
        status: DIMSE status.
        comment: For a person at the modality.
        spooled: Whether a success rests on this gateway's disk alone.
    """

    token: int
    status: int
    comment: str = ""
    spooled: bool = False


class Seen(msgspec.Struct, frozen=True, tag="seen", forbid_unknown_fields=True):
    """Where a modality came from.

    Attributes:
        peer: Name of the gateway's entry.
        address: Its address.
        key: SHA-256 of its public key, hexadecimal; empty without a certificate.
    """

    peer: Annotated[str, msgspec.Meta(max_length=64)]
    address: Annotated[str, msgspec.Meta(max_length=64)]
    key: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]


FromParser = Open | Written | Drop | Seen
FromKeeper = File | Outcome
_FROM_PARSER: Final = msgspec.json.Decoder(FromParser)
_FROM_KEEPER: Final = msgspec.json.Decoder(FromKeeper)


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a conversation."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, message: FromParser | FromKeeper, descriptor: int = -1) -> None:
    """Send one message, with a descriptor if one is given.

    Raises:
        Unavailable: The other side is gone.
    """
    data = msgspec.json.encode(message)
    try:
        if descriptor < 0:
            channel.send(data)
        else:
            socket.send_fds(channel, [data], [descriptor])
    except OSError as error:
        raise Unavailable("the other process of the imaging family is gone") from error


def receive_from_parser(channel: socket.socket) -> FromParser:
    """Return the next message of the parser.

    Raises:
        FramingError: It says what it may not.
        Unavailable: It is gone.
        BlockingIOError: Nothing is there.
    """
    data, descriptors = _receive(channel)
    for descriptor in descriptors:
        os.close(descriptor)  # The parser has nothing to give.
    try:
        return _FROM_PARSER.decode(data)
    except msgspec.DecodeError as error:
        raise FramingError("the parser says what it may not") from error


def receive_from_keeper(channel: socket.socket) -> tuple[FromKeeper, int]:
    """Return the next message of the keeper and its descriptor, -1 for none.

    Raises:
        FramingError: It says what it may not.
        Unavailable: It is gone.
        BlockingIOError: Nothing is there.
    """
    data, descriptors = _receive(channel)
    try:
        return _FROM_KEEPER.decode(data), descriptors[0] if descriptors else -1
    except msgspec.DecodeError as error:
        raise FramingError("the keeper says what it may not") from error


def _receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    try:
        data, descriptors, flags, _ = socket.recv_fds(channel, PACKET_BYTES_MAX, DESCRIPTORS_MAX)
    except BlockingIOError:
        raise
    except OSError as error:
        raise Unavailable("the other process of the imaging family is gone") from error
    if not data:
        raise Unavailable("the other process of the imaging family is gone")
    if flags & socket.MSG_TRUNC:
        raise FramingError("a packet that is too long")
    return data, descriptors
