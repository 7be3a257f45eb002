"""DIMSE command sets: Implicit VR Little Endian, group 0000 only. Pure.

Source: DICOM PS3.7 sections 6.3, 9.3 and annexes C and E.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from asepsis.core.errors import FramingError
from asepsis.edge.gateway.imaging.pdu import uid_of

COMMAND_BYTES_MAX: Final = 16_384
"""Largest command set; that of a C-STORE has about 200 bytes."""
NO_DATA_SET: Final = 0x0101
VERIFICATION: Final = "1.2.840.10008.1.1"
COMMENT_CHARS_MAX: Final = 64
"""VR LO of (0000,0902) Error Comment."""
_ELEMENT: Final = struct.Struct("<HHI")


class Field(IntEnum):
    """Values of (0000,0100) that a storage peer can meet."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030


class Tag(IntEnum):
    """Elements of group 0000, by their element number."""

    GROUP_LENGTH = 0x0000
    SOP_CLASS = 0x0002
    FIELD = 0x0100
    MESSAGE_ID = 0x0110
    RESPONDED_ID = 0x0120
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    SOP_INSTANCE = 0x1000


class Status(IntEnum):
    """Statuses that this gateway gives; PS3.7 annex C and PS3.4 table B.2-1."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    UNRECOGNISED_OPERATION = 0x0211
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_MISMATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000


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
    numbers: dict[Tag, int], *, uids: dict[Tag, str] | None = None, comment: str = ""
) -> bytes:
    """Return the bytes of a command set.

    Args:
        numbers: Elements of VR US.
        uids: Elements of VR UI.
        comment: (0000,0902), cut to its longest length; empty leaves it out.
    """
    elements: dict[int, bytes] = {tag: struct.pack("<H", value) for tag, value in numbers.items()}
    for tag, uid in (uids or {}).items():
        elements[tag] = _even(uid.encode("ascii"), b"\0")
    if comment:
        text = comment.encode("ascii", "replace")[:COMMENT_CHARS_MAX]
        elements[Tag.ERROR_COMMENT] = _even(text.replace(b"\\", b"/"), b" ")
    return Command(elements).encode()


def response(request: Command, status: int, *, comment: str = "") -> bytes:
    """Return the response to a C-STORE or C-ECHO.

    Args:
        request: What is answered.
        status: A DIMSE status.
        comment: What a person at the modality may read.

    Raises:
        FramingError: The request lacks what a response must repeat.
    """
    uids = {
        tag: request.uid(tag)
        for tag in (Tag.SOP_CLASS, Tag.SOP_INSTANCE)
        if tag in request.elements
    }
    return command(
        {
            Tag.FIELD: request.number(Tag.FIELD) | 0x8000,
            Tag.RESPONDED_ID: request.number(Tag.MESSAGE_ID),
            Tag.DATA_SET_TYPE: NO_DATA_SET,
            Tag.STATUS: status,
        },
        uids=uids,
        comment=comment,
    )


def store_request(message_id: int, *, sop_class: str, sop_instance: str) -> bytes:
    """Return a C-STORE-RQ of medium priority."""
    return command(
        {
            Tag.FIELD: Field.C_STORE_RQ,
            Tag.MESSAGE_ID: message_id,
            Tag.PRIORITY: 0,
            Tag.DATA_SET_TYPE: 1,
        },
        uids={Tag.SOP_CLASS: sop_class, Tag.SOP_INSTANCE: sop_instance},
    )


def _even(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) % 2 else value
