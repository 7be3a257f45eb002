"""What courier and sender say to each other over a pair of sockets: frames with a length.

The courier holds the gateway's key and reads only what the hub says; the sender reads what the
receiver answers and holds nothing. Each checks what comes from the other.
"""

import struct
from typing import Annotated, Final, Literal

import msgspec

from asepsis.core.errors import FramingError, LimitExceeded
from asepsis.core.wire.message_record import GROUP_BYTES_MAX

FRAME_BYTES_MAX: Final = GROUP_BYTES_MAX + 4_096
_LENGTH: Final = struct.Struct(">I")
HEAD_BYTES: Final = _LENGTH.size
TEXT_CHARS_MAX: Final = 500


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """One message on its way to the receiver.

    Attributes:
        seq: Its number at the hub.
        key: The same whenever it comes again.
        body: ER7 bytes.
    """

    seq: int
    key: str
    body: bytes


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What became of a message.

    Attributes:
        seq: Its number at the hub.
        outcome: As the hub names it.
        code: MSA-1.
        text: The receiver's words.
    """

    seq: Annotated[int, msgspec.Meta(ge=0)]
    outcome: Literal["accepted", "refused", "retry"]
    code: Annotated[str, msgspec.Meta(max_length=20)] = ""
    text: Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)] = ""


_encode: Final = msgspec.msgpack.Encoder().encode
_PARCEL: Final = msgspec.msgpack.Decoder(Parcel)
_OUTCOME: Final = msgspec.msgpack.Decoder(Outcome)


def frame(said: Parcel | Outcome) -> bytes:
    """Return the bytes of one frame."""
    body = _encode(said)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts received bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes.

        Raises:
            LimitExceeded: A frame longer than any that is sent.
        """
        self._buffer += data
        found: list[bytes] = []
        at = 0
        while len(self._buffer) - at >= HEAD_BYTES:
            (length,) = _LENGTH.unpack_from(self._buffer, at)
            if length > FRAME_BYTES_MAX:
                raise LimitExceeded("a frame between courier and sender is too long")
            end = at + HEAD_BYTES + length
            if end > len(self._buffer):
                break
            found.append(bytes(self._buffer[at + HEAD_BYTES : end]))
            at = end
        del self._buffer[:at]
        return found


def parcel(body: bytes) -> Parcel:
    """Read a frame of the courier; raises FramingError."""
    try:
        return _PARCEL.decode(body)
    except msgspec.MsgspecError as error:
        raise FramingError("no parcel") from error


def outcome(body: bytes) -> Outcome:
    """Read a frame of the sender; raises FramingError."""
    try:
        return _OUTCOME.decode(body)
    except msgspec.MsgspecError as error:
        raise FramingError("no outcome") from error
