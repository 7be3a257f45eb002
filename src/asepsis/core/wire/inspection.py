"""What the hub and the process that looks at image objects say to each other. Pure.

Four bytes of length, then MessagePack. The inspector is not trusted: whatever it says is bounded
and checked here, and it asks for bytes of one object at a time.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from asepsis.core.errors import FramingError

LENGTH_BYTES: Final = 4
MESSAGE_BYTES_MAX: Final = 4 << 20
PIECE_BYTES_MAX: Final = 1 << 20
"""Bytes of the object in one message."""
UID_CHARS_MAX: Final = 64
_ENCODER: Final = msgspec.msgpack.Encoder()

Uid = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=UID_CHARS_MAX)]
MaybeUid = Annotated[str, msgspec.Meta(pattern=r"^([0-9]+(\.[0-9]+)*)?$", max_length=UID_CHARS_MAX)]
Purpose = Literal["index", "metadata"]


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of every message."""


class Inspect(_Message, frozen=True, tag="inspect"):
    """Hub: look at an object.

    Attributes:
        length: Its bytes.
        head: Its first bytes, so that a small object needs no question.
        purpose: `index` judges it whole and reads what searches need; `metadata` reads every
            element but bulk data.
        private_tags: `keep`, or `refuse` an object that holds private elements.
    """

    length: int
    head: bytes
    purpose: Purpose = "index"
    private_tags: Literal["keep", "refuse"] = "keep"


class Need(_Message, frozen=True, tag="need"):
    """Inspector: give me these bytes.

    Attributes:
        offset: From the object's start.
        count: 1 to `PIECE_BYTES_MAX`.
    """

    offset: Annotated[int, msgspec.Meta(ge=0)]
    count: Annotated[int, msgspec.Meta(ge=1, le=PIECE_BYTES_MAX)]


class Bytes(_Message, frozen=True, tag="bytes"):
    """Hub: the bytes that were asked for; fewer only at the object's end."""

    data: bytes


class Passed(_Message, frozen=True, tag="passed"):
    """Inspector: the object is what it says it is.

    Attributes:
        study: Study Instance UID.
        series: Series Instance UID.
        instance: SOP Instance UID.
        sop_class: SOP Class UID.
        transfer_syntax: Transfer Syntax UID.
        attributes: DICOM JSON of what searches need, or of every element but bulk data.
    """

    study: Uid
    series: Uid
    instance: Uid
    sop_class: Uid
    transfer_syntax: Uid
    attributes: Annotated[bytes, msgspec.Meta(max_length=2 << 20)]


class Refused(_Message, frozen=True, tag="refused"):
    """Inspector: the object is not taken.

    Attributes:
        reason: Word of `core.wire.dicom_reasons`.
        text: One sentence without values of the object.
        instance: SOP Instance UID if it could be read, else empty.
        sop_class: The same of the SOP Class UID.
    """

    reason: Annotated[str, msgspec.Meta(max_length=40, pattern=r"^[a-z][a-z-]*$")]
    text: Annotated[str, msgspec.Meta(max_length=200)]
    instance: MaybeUid = ""
    sop_class: MaybeUid = ""


FromHub = Inspect | Bytes
FromInspector = Need | Passed | Refused


def encode(message: FromHub | FromInspector) -> bytes:
    """Write a message with its length.

    Raises:
        FramingError: It is larger than `MESSAGE_BYTES_MAX`.
    """
    body = _ENCODER.encode(message)
    if len(body) > MESSAGE_BYTES_MAX:
        raise FramingError("an answer about an object is too large")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def length_of(head: bytes) -> int:
    """Return the length of the message that follows.

    Raises:
        FramingError: Longer than `MESSAGE_BYTES_MAX`.
    """
    length = int.from_bytes(head, "big")
    if length > MESSAGE_BYTES_MAX:
        raise FramingError("a message about an object is too long")
    return length


def decode(body: bytes, kind: Any) -> Any:
    """Read a message of one direction.

    Args:
        body: Without its length.
        kind: `FromHub` or `FromInspector`.

    Raises:
        FramingError: Not such a message.
    """
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise FramingError("not a message about an object") from error
