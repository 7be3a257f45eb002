"""How hub and record process talk: four bytes of length, then MessagePack."""

from typing import Any, Final

import msgspec

from asepsis.core.errors import FramingError
from asepsis.hub.records.queries import Incoming, Outgoing

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
LENGTH_BYTES: Final = 4
_ENCODER: Final = msgspec.msgpack.Encoder()


def encode(message: Incoming | Outgoing) -> bytes:
    """Write a message with its length.

    Raises:
        FramingError: It is larger than `MESSAGE_BYTES_MAX`.
    """
    body = _ENCODER.encode(message)
    if len(body) > MESSAGE_BYTES_MAX:
        raise FramingError("an answer is too large")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def length_of(head: bytes) -> int:
    """Return the length of the message that follows.

    Raises:
        FramingError: Longer than `MESSAGE_BYTES_MAX`.
    """
    length = int.from_bytes(head, "big")
    if length > MESSAGE_BYTES_MAX:
        raise FramingError("a message is too long")
    return length


def decode(body: bytes, kind: Any) -> Any:
    """Read a message of one direction.

    Args:
        body: Without its length.
        kind: `Incoming` or `Outgoing`.

    Raises:
        FramingError: Not such a message.
    """
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise FramingError("not a message of the record") from error
