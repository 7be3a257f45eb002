"""Questions that cross HTTPS between two gateways of imaging, and their answers in pages.

Data sets cross as DICOM JSON, so that nobody on the way parses DICOM; the bytes of an instance
cross as they are, in pieces between two pages that say where it begins and how it ended.

Source: DICOM PS3.18 annex F (DICOM JSON model); PS3.4 annexes B, C, F, J and K; ADR 0042.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal, cast

import msgspec

from asepsis.core.errors import InputError

ASKED_BYTES_MAX: Final = 1 << 20
"""Longest question as JSON: a storage commitment of some thousand instances."""
PAGE_BYTES_MAX: Final = 786_432
"""Longest page of an answer, JSON or bytes of an instance."""
DATASETS_MAX: Final = 256
"""Data sets of one page."""
CONTEXTS_MAX: Final = 127
DEADLINE_S_MAX: Final = 3_600
WAIT_S_MAX: Final = 15
ARCHIVE_CHARS_MAX: Final = 120
ID_CHARS: Final = 32
ENTRY_MARK: Final = "#"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
PENDING: Final = 0xFF00
NOT_ANSWERED: Final = 0xC001
"""Unable to process: what a question hears that nobody answers."""

Uid = Annotated[str, msgspec.Meta(pattern=r"^([0-9]+(\.[0-9]+)*)?$", max_length=64)]
Title = Annotated[str, msgspec.Meta(max_length=16)]
Text = Annotated[str, msgspec.Meta(max_length=120)]
Count = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Status = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
DataSet = dict[str, Any]


class Kind(StrEnum):
    """What is asked."""

    FIND_STUDY = "find-study"
    FIND_WORKLIST = "find-worklist"
    MOVE = "move"
    GET = "get"
    MPPS_CREATE = "mpps-create"
    MPPS_SET = "mpps-set"
    COMMIT = "commit"


DURABLE: Final = frozenset({Kind.MPPS_CREATE, Kind.MPPS_SET, Kind.COMMIT})
"""Kinds that are kept until they are answered; each has one page for an answer."""
WORKLIST: Final = frozenset({Kind.FIND_WORKLIST, Kind.MPPS_CREATE, Kind.MPPS_SET})
"""Kinds that a worklist's gateway answers; an archive's answers the others."""


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base: frozen, named fields, nothing unknown."""


class Asked(_Struct, frozen=True):
    """One question.

    Attributes:
        id: Chosen by who asks, so that a repetition is known: 32 hex digits.
        kind: What is asked.
        archive: Who answers: the name of a destination for images, or of the gateway that is named
            as a source of worklists, with `#` and its entry where it has several.
        device: Modality that asks, by its name at the hub.
        calling: Its AE title.
        user: Who its user was proven to be; empty where nobody asked.
        instance: SOP Instance UID of a performed procedure step, Transaction UID of a commitment.
        dataset: Identifier, attribute list or action information as DICOM JSON.
        charset: Its (0008,0005), values joined by a backslash; JSON itself is Unicode.
        destination: AE title that images of a C-MOVE go to, for the audit log.
        contexts: SOP classes and transfer syntaxes in which images of a retrieval can be taken.
        deadline_s: When nobody waits for the answer any more; not for durable kinds.
    """

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    kind: Kind
    archive: Annotated[str, msgspec.Meta(min_length=1, max_length=ARCHIVE_CHARS_MAX)]
    device: Text
    calling: Title
    dataset: DataSet
    user: Text = ""
    instance: Uid = ""
    charset: Text = ""
    destination: Title = ""
    contexts: Annotated[tuple[tuple[Uid, Uid], ...], msgspec.Meta(max_length=CONTEXTS_MAX)] = ()
    deadline_s: Annotated[float, msgspec.Meta(gt=0, le=DEADLINE_S_MAX)] = 60.0


class Match(_Struct, frozen=True):
    """One data set of an answer.

    Attributes:
        dataset: DICOM JSON.
        charset: As in `Asked`: what the archive had used, for a modality that reads no other.
    """

    dataset: DataSet
    charset: Text = ""


class Begun(_Struct, frozen=True):
    """An instance follows, its data set in pages of bytes.

    Attributes:
        sop_class: UID.
        sop_instance: UID.
        transfer_syntax: UID.
    """

    sop_class: Uid
    sop_instance: Uid
    transfer_syntax: Uid


class Page(_Struct, frozen=True):
    """One page of an answer that is no bytes.

    Attributes:
        matches: Data sets.
        begun: An instance begins.
        ended: How the instance ended that had begun.
        last: Whether the answer ends here; then `status` is final.
        retry: With `last`, of a durable kind: nothing was decided, ask again later.
        status: DIMSE status.
        comment: For people at the modality.
        remaining: Sub-operations of a retrieval that are left.
        completed: Those that went well.
        failed: Those that did not.
        warning: Those with a warning.
    """

    matches: Annotated[tuple[Match, ...], msgspec.Meta(max_length=DATASETS_MAX)] = ()
    begun: Begun | None = None
    ended: Literal["", "whole", "broken"] = ""
    last: bool = False
    retry: bool = False
    status: Status = PENDING
    comment: Annotated[str, msgspec.Meta(max_length=200)] = ""
    remaining: Count = 0
    completed: Count = 0
    failed: Count = 0
    warning: Count = 0


class Report(_Struct, frozen=True):
    """A commitment that was answered.

    Attributes:
        asked: What was asked.
        page: The archive's word.
    """

    asked: Asked
    page: Page


_REPORT: Final = msgspec.json.Decoder(Report)
_ASKED: Final = msgspec.json.Decoder(Asked)
_PAGE: Final = msgspec.json.Decoder(Page)
encode: Final = msgspec.json.Encoder().encode


def decode_asked(data: bytes) -> Asked:
    """Return a question.

    Raises:
        InputError: None, or one that lacks what its kind needs.
    """
    try:
        asked = _ASKED.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("not a question between gateways") from error
    if asked.kind in DURABLE and not asked.instance:
        raise InputError("a question of this kind names its instance or transaction")
    return asked


def decode_page(data: bytes) -> Page:
    """Return a page.

    Raises:
        InputError: None.
    """
    try:
        return _PAGE.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("not a page of an answer") from error


def decode_report(data: bytes) -> tuple[Asked, Page]:
    """Return a commitment and its answer.

    Raises:
        InputError: None.
    """
    try:
        found = _REPORT.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("not a commitment and its answer") from error
    return found.asked, found.page


def first_text(dataset: DataSet, tag: str) -> str:
    """Return the first value of an element of DICOM JSON as text; empty if there is none."""
    element = _mapping(dataset.get(tag))
    values: Any = element.get("Value")
    if not isinstance(values, list) or not values:
        return ""
    value: Any = cast("list[Any]", values)[0]
    named: Any = _mapping(value).get("Alphabetic", value)
    return str(named) if isinstance(named, (str, int)) else ""


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
