"""Why a DICOM object is refused, and what one that is held says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from asepsis.core.errors import InputError


class Reason(StrEnum):
    """Why an object is quarantined."""

    NO_MAGIC = "no-magic"
    """Not a DICOM file: no `DICM` after 128 bytes."""
    PREAMBLE_PROGRAM = "preamble-program"
    """The preamble begins like a program, script, archive or document."""
    PREAMBLE_CONTENT = "preamble-content"
    """The preamble is neither zero nor a TIFF header."""
    META_BROKEN = "meta-broken"
    """The file meta information cannot be read, or its length is not true."""
    META_MISMATCH = "meta-mismatch"
    """File meta information and data set name another class or instance."""
    UID_MISSING = "uid-missing"
    """No study, series, instance or class UID, or one that is none."""
    LENGTH_BEYOND_END = "length-beyond-end"
    """An element or item says that it is longer than what holds it."""
    ELEMENT_BROKEN = "element-broken"
    """A data element header or a delimiter that cannot stand there."""
    PIXELS_SHORT = "pixels-short"
    """Fewer bytes of pixel data than rows, columns and frames say."""
    TOO_DEEP = "too-deep"
    """More sequences within sequences than `DEPTH_MAX`."""
    TOO_MANY = "too-many"
    """More elements than `ELEMENTS_MAX`."""
    INFLATES_TOO_FAR = "inflates-too-far"
    """A deflated data set that would grow over `INFLATED_BYTES_MAX`."""
    DEFLATE_BROKEN = "deflate-broken"
    """A deflated data set that does not inflate."""
    PRIVATE_ELEMENT = "private-element"
    """A private element from a source that must not send any."""
    UNREADABLE = "unreadable"
    """Values that the reader of attributes cannot take."""
    INSPECTION_FAILED = "inspection-failed"
    """The inspecting process died or took too long over it."""


TEXTS: Final[Mapping[Reason, str]] = {
    Reason.NO_MAGIC: "not a DICOM file",
    Reason.PREAMBLE_PROGRAM: "the preamble begins like a program or another kind of file",
    Reason.PREAMBLE_CONTENT: "the preamble is neither zero nor a TIFF header",
    Reason.META_BROKEN: "the file meta information cannot be read",
    Reason.META_MISMATCH: "file meta information and data set name different objects",
    Reason.UID_MISSING: "a UID that identifies the object is missing or none",
    Reason.LENGTH_BEYOND_END: "an element is said to be longer than what holds it",
    Reason.ELEMENT_BROKEN: "a data element cannot be read",
    Reason.PIXELS_SHORT: "fewer pixels than rows, columns and frames say",
    Reason.TOO_DEEP: "sequences are nested too deep",
    Reason.TOO_MANY: "too many data elements",
    Reason.INFLATES_TOO_FAR: "the data set inflates too far",
    Reason.DEFLATE_BROKEN: "the data set does not inflate",
    Reason.PRIVATE_ELEMENT: "private elements are not taken from this source",
    Reason.UNREADABLE: "attributes cannot be read",
    Reason.INSPECTION_FAILED: "the object could not be inspected",
}


class ObjectRefusedError(InputError):
    """The object is not what it says it is.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(TEXTS[reason])
        self.reason = reason


class Source(Protocol):
    """Bytes of one object."""

    @property
    def length(self) -> int:
        """Its bytes."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes; fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """A source that is in memory."""

    data: bytes

    @property
    def length(self) -> int:
        """Its bytes."""
        return len(self.data)

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes; fewer only at the end."""
        return self.data[offset : offset + count]


@dataclass(slots=True)
class Facts:
    """What the walk found.

    Attributes:
        transfer_syntax: Transfer Syntax UID.
        sop_class: Class of the file meta information.
        sop_instance: Instance of the file meta information.
        start: Where the data set begins.
        inflated: The inflated data set, else None.
        elements: Elements, items and fragments.
        private: Whether a private element was seen.
        values: Short values at the top level, tag -> bytes, of `_WANTED`.
        pixel_bytes: Length of native pixel data; None without, or if encapsulated.
    """

    transfer_syntax: str = ""
    sop_class: str = ""
    sop_instance: str = ""
    start: int = 0
    inflated: bytes | None = None
    elements: int = 0
    private: bool = False
    values: dict[int, bytes] = field(default_factory=dict[int, bytes])
    pixel_bytes: int | None = None
