"""DIMSE command sets: Implicit VR Little Endian, group 0000 only. Pure.

Source: DICOM PS3.7 sections 6.3, 9.3 and annexes C and E.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from asepsis.core.errors import FramingError
from asepsis.edge.gateway.imaging.pdu import uid_of

COMMAND_BYTES_MAX: Final = 16_384
"""Largest command set; that of a C-STORE has about 200 bytes."""
NO_DATA_SET: Final = 0x0101
HAS_DATA_SET: Final = 0x0001
VERIFICATION: Final = "1.2.840.10008.1.1"
COMMENT_CHARS_MAX: Final = 64
"""VR LO of (0000,0902) Error Comment."""
_ELEMENT: Final = struct.Struct("<HHI")


class Field(IntEnum):
    """Values of (0000,0100); PS3.7 table E.1-1."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_SET_RQ = 0x0120
    N_SET_RSP = 0x8120
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130
    N_CREATE_RQ = 0x0140
    N_CREATE_RSP = 0x8140
    C_CANCEL_RQ = 0x0FFF


class Tag(IntEnum):
    """Elements of group 0000, by their element number."""

    GROUP_LENGTH = 0x0000
    SOP_CLASS = 0x0002
    REQUESTED_SOP_CLASS = 0x0003
    FIELD = 0x0100
    MESSAGE_ID = 0x0110
    RESPONDED_ID = 0x0120
    MOVE_DESTINATION = 0x0600
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    SOP_INSTANCE = 0x1000
    REQUESTED_SOP_INSTANCE = 0x1001
    EVENT_TYPE = 0x1002
    ACTION_TYPE = 0x1008
    REMAINING = 0x1020
    COMPLETED = 0x1021
    FAILED = 0x1022
    WARNING = 0x1023
    MOVE_ORIGINATOR = 0x1030
    MOVE_ORIGINATOR_MESSAGE = 0x1031


class Status(IntEnum):
    """Statuses that this gateway gives; PS3.7 annex C and PS3.4 tables B.2-1, C.4-1 to C.4-3."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    INVALID_INSTANCE = 0x0117
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    UNRECOGNISED_OPERATION = 0x0211
    OUT_OF_RESOURCES = 0xA700
    NO_SUB_OPERATION = 0xA702
    DESTINATION_UNKNOWN = 0xA801
    DATA_SET_MISMATCH = 0xA900
    SUB_OPERATIONS_FAILED = 0xB000
    CANNOT_UNDERSTAND = 0xC000
    UNABLE = 0xC001
    CANCELLED = 0xFE00
    PENDING = 0xFF00


@dataclass(frozen=True, slots=True)
class Command:
    """A command set as element number -> raw value.

    Attributes:
        elements: Values without padding removed; a command has at most a few dozen.
    """

    elements: dict[int, bytes]

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a command set.

        Raises:
            FramingError: Not one.
        """
        elements: dict[int, bytes] = {}
        at = 0
        while at < len(data):
            if at + _ELEMENT.size > len(data):
                raise FramingError("a command is cut short")
            group, element, length = _ELEMENT.unpack_from(data, at)
            at += _ELEMENT.size
            if group or at + length > len(data):
                raise FramingError("a command lies about its length, or holds another group")
            elements[element] = data[at : at + length]
            at += length
        return cls(elements)

    def encode(self) -> bytes:
        """Return the bytes, the group length in front."""
        body = b"".join(
            _ELEMENT.pack(0, element, len(value)) + value
            for element, value in sorted(self.elements.items())
            if element != Tag.GROUP_LENGTH
        )
        return _ELEMENT.pack(0, 0, 4) + struct.pack("<I", len(body)) + body

    def number(self, tag: Tag) -> int:
        """Return the value of an element of VR US.

        Raises:
            FramingError: Absent, or of another length.
        """
        value = self.elements.get(tag, b"")
        if len(value) != 2:
            raise FramingError(f"a command without (0000,{tag:04X})")
        return int.from_bytes(value, "little")

    def uid(self, tag: Tag) -> str:
        """Return the value of an element of VR UI.

        Raises:
            FramingError: Absent, or no UID.
        """
        return uid_of(self.elements.get(tag, b""))

    def text(self, tag: Tag) -> str:
        """Return the value of a text element as ASCII, whatever it is; empty if absent."""
        return self.elements.get(tag, b"").decode("ascii", "replace").strip("\0 ")

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return self.number(Tag.DATA_SET_TYPE) != NO_DATA_SET


def command(
    numbers: Mapping[Tag, int],
    *,
    uids: Mapping[Tag, str] | None = None,
    titles: Mapping[Tag, str] | None = None,
    comment: str = "",
) -> bytes:
    """Return the bytes of a command set.

    Args:
        numbers: Elements of VR US.
        uids: Elements of VR UI.
        titles: Elements of VR AE.
        comment: (0000,0902), cut to its longest length; empty leaves it out.
    """
    elements: dict[int, bytes] = {tag: struct.pack("<H", value) for tag, value in numbers.items()}
    for tag, uid in (uids or {}).items():
        elements[tag] = _even(uid.encode("ascii"), b"\0")
    for tag, title in (titles or {}).items():
        elements[tag] = _even(title.encode("ascii"), b" ")
    if comment:
        text = comment.encode("ascii", "replace")[:COMMENT_CHARS_MAX]
        elements[Tag.ERROR_COMMENT] = _even(text.replace(b"\\", b"/"), b" ")
    return Command(elements).encode()


def response(
    request: Command,
    status: int,
    *,
    comment: str = "",
    data_set: bool = False,
    counts: Mapping[Tag, int] | None = None,
) -> bytes:
    """Return the response to a request.

    Args:
        request: What is answered.
        status: A DIMSE status.
        comment: What a person at the modality may read.
        data_set: Whether a data set follows.
        counts: Sub-operations of a retrieval.

    Raises:
        FramingError: The request lacks what a response must repeat.
    """
    repeated = (
        (Tag.SOP_CLASS, Tag.SOP_CLASS),
        (Tag.SOP_INSTANCE, Tag.SOP_INSTANCE),
        (Tag.REQUESTED_SOP_CLASS, Tag.SOP_CLASS),
        (Tag.REQUESTED_SOP_INSTANCE, Tag.SOP_INSTANCE),
    )
    uids = {to: request.uid(tag) for tag, to in repeated if tag in request.elements}
    return command(
        {
            Tag.FIELD: request.number(Tag.FIELD) | 0x8000,
            Tag.RESPONDED_ID: request.number(Tag.MESSAGE_ID),
            Tag.DATA_SET_TYPE: HAS_DATA_SET if data_set else NO_DATA_SET,
            Tag.STATUS: status,
            **(counts or {}),
        },
        uids=uids,
        comment=comment,
    )


def store_request(
    message_id: int, *, sop_class: str, sop_instance: str, originator: tuple[str, int] | None = None
) -> bytes:
    """Return a C-STORE-RQ of medium priority.

    Args:
        message_id: Of the request.
        sop_class: UID.
        sop_instance: UID.
        originator: AE title and message id of the C-MOVE that it is for.
    """
    numbers = {
        Tag.FIELD: int(Field.C_STORE_RQ),
        Tag.MESSAGE_ID: message_id,
        Tag.PRIORITY: 0,
        Tag.DATA_SET_TYPE: HAS_DATA_SET,
    }
    titles: dict[Tag, str] = {}
    if originator is not None:
        titles[Tag.MOVE_ORIGINATOR] = originator[0]
        numbers[Tag.MOVE_ORIGINATOR_MESSAGE] = originator[1]
    uids = {Tag.SOP_CLASS: sop_class, Tag.SOP_INSTANCE: sop_instance}
    return command(numbers, uids=uids, titles=titles)


def _even(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) % 2 else value
