"""What verifier and fetcher say to each other over two pipes.

A message is one byte for its kind, its length as a 32-bit big-endian integer, and its body: bytes
for `PART`, one JSON object for all others. The verifier asks, the fetcher answers with parts and
an end; at last the verifier says what came of it. Neither believes the other: the fetcher keeps
its own limits, and the verifier counts what it is given.
"""

import json
import struct
from collections.abc import Mapping
from enum import Enum
from typing import IO, Any, Final, cast

from asepsis.core.errors import FramingError, LimitExceeded, Unavailable

IMAGE: Final = "image"
"""Name of the repository where there is only one."""
DIRECTOR: Final = "director"
BODY_BYTES_MAX: Final = 1 << 17
PART_BYTES: Final = 1 << 16
_HEAD: Final = struct.Struct(">cI")


class Kind(Enum):
    """Kinds of messages."""

    ORDER = b"O"
    ASSIGNMENTS = b"D"
    METADATA = b"M"
    ARTEFACT = b"A"
    PART = b"P"
    END = b"E"
    RESULT = b"R"


def send(stream: IO[bytes], kind: Kind, body: Mapping[str, Any] | bytes) -> None:
    """Send one message.

    Raises:
        Unavailable: The other end is gone.
    """
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        stream.write(_HEAD.pack(kind.value, len(content)) + content)
        stream.flush()
    except OSError as error:
        raise Unavailable("the other half of the update agent is gone") from error


def receive(stream: IO[bytes]) -> tuple[Kind, bytes]:
    """Return the next message.

    Raises:
        Unavailable: The other end is gone.
        FramingError: Not a message.
        LimitExceeded: Over `BODY_BYTES_MAX` bytes.
    """
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise Unavailable("the other half of the update agent is gone")
    letter, length = _HEAD.unpack(head)
    try:
        kind = Kind(letter)
    except ValueError as error:
        raise FramingError("not a message of the update agent") from error
    if length > BODY_BYTES_MAX:
        raise LimitExceeded(f"a message is over {BODY_BYTES_MAX} bytes")
    body = stream.read(length)
    if len(body) < length:
        raise Unavailable("the other half of the update agent is gone")
    return kind, body


def fields(body: bytes) -> dict[str, Any]:
    """Read the JSON object of a message.

    Raises:
        FramingError: Not one.
    """
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FramingError("not a message of the update agent") from error
    if not isinstance(found, dict):
        raise FramingError("not a message of the update agent")
    return cast("dict[str, Any]", found)
