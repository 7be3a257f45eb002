"""Storage commitment as DICOM JSON: what is asked of an archive, and its word instance by instance.

Source: DICOM PS3.4 annex J (storage commitment push model), tables J.3-1 and J.3-2;
PS3.3 section C.14.1.1 (failure reason).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, cast

from asepsis.core.errors import FramingError, LimitExceeded
from asepsis.core.wire.relay import DataSet, first_text

REFERENCES_MAX: Final = 5_000
"""Instances of one commitment."""
_UID_CHARS_MAX: Final = 64
_TRANSACTION: Final = "00081195"
_REFERENCED: Final = "00081199"
_FAILED: Final = "00081198"
_CLASS: Final = "00081150"
_INSTANCE: Final = "00081155"
_REASON: Final = "00081197"
_TITLE: Final = "00080054"


class Reason(IntEnum):
    """Why an instance is not committed: (0008,1197); PS3.3 section C.14.1.1."""

    PROCESSING = 0x0110
    NO_SUCH_INSTANCE = 0x0112
    RESOURCES = 0x0213
    CLASS_MISMATCH = 0x0119


@dataclass(frozen=True, slots=True)
class Reference:
    """One instance.

    Attributes:
        sop_class: UID.
        sop_instance: UID.
    """

    sop_class: str
    sop_instance: str


@dataclass(frozen=True, slots=True)
class Word:
    """An archive's word about every instance of a commitment.

    Attributes:
        committed: Those that it keeps.
        failed: Those that it does not, each with its reason.
    """

    committed: Sequence[Reference]
    failed: Sequence[tuple[Reference, int]]


def transaction_of(document: DataSet) -> str:
    """Return the Transaction UID of a request or a word.

    Raises:
        FramingError: There is none.
    """
    return _checked(first_text(document, _TRANSACTION))


def references_of(document: DataSet) -> tuple[Reference, ...]:
    """Return the instances of a request, each once.

    Raises:
        FramingError: None, or one without its UIDs.
        LimitExceeded: More than `REFERENCES_MAX`.
    """
    found = tuple(dict.fromkeys(_reference(item) for item in _items(document, _REFERENCED)))
    if not found:
        raise FramingError("a commitment of no instance")
    return found


def request(transaction: str, references: Sequence[Reference]) -> DataSet:
    """Return the action information that asks for a commitment."""
    return {
        _TRANSACTION: _ui(transaction),
        _REFERENCED: {"vr": "SQ", "Value": [_item(each) for each in references]},
    }


def report(transaction: str, title: str, word: Word) -> DataSet:
    """Return the event information that tells a modality.

    Args:
        transaction: Transaction UID of the request.
        title: AE title of the archive, from which committed instances are retrieved.
        word: Its word.
    """
    document: DataSet = {_TRANSACTION: _ui(transaction)}
    if word.committed:
        document[_TITLE] = {"vr": "AE", "Value": [title]}
        items = [_item(each) for each in word.committed]
        document[_REFERENCED] = {"vr": "SQ", "Value": items}
    if word.failed:
        items = [
            {**_item(each), _REASON: {"vr": "US", "Value": [reason]}}
            for each, reason in word.failed
        ]
        document[_FAILED] = {"vr": "SQ", "Value": items}
    return document


def word_of(document: DataSet, asked: Sequence[Reference]) -> Word:
    """Return what an archive says about what it was asked; silence about one is a failure.

    Args:
        document: Its event information.
        asked: What it was asked for. Whatever else it names is left out.

    Raises:
        FramingError: An item without its UIDs.
        LimitExceeded: More than `REFERENCES_MAX` of them.
    """
    failed = {_reference(item).sop_instance: _reason(item) for item in _items(document, _FAILED)}
    kept = {_reference(item).sop_instance for item in _items(document, _REFERENCED)} - failed.keys()
    return Word(
        [each for each in asked if each.sop_instance in kept],
        [
            (each, failed.get(each.sop_instance, Reason.PROCESSING))
            for each in asked
            if each.sop_instance not in kept
        ],
    )


def _items(document: DataSet, tag: str) -> list[Any]:
    element: object = document.get(tag)
    values = cast("DataSet", element).get("Value") if isinstance(element, dict) else None
    found = cast("list[Any]", values) if isinstance(values, list) else []
    if len(found) > REFERENCES_MAX:
        raise LimitExceeded(f"more than {REFERENCES_MAX} instances in one commitment")
    return found


def _reference(item: object) -> Reference:
    if not isinstance(item, dict):
        raise FramingError("a commitment of something that is no instance")
    found = cast("DataSet", item)
    return Reference(_checked(first_text(found, _CLASS)), _checked(first_text(found, _INSTANCE)))


def _reason(item: object) -> int:
    text = first_text(cast("DataSet", item), _REASON)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    return number if 0 < number <= 0xFFFF else Reason.PROCESSING


def _checked(uid: str) -> str:
    if not uid or len(uid) > _UID_CHARS_MAX or uid.strip("0123456789."):
        raise FramingError("a commitment without a UID that it must have")
    return uid


def _item(each: Reference) -> DataSet:
    return {_CLASS: _ui(each.sop_class), _INSTANCE: _ui(each.sop_instance)}


def _ui(uid: str) -> DataSet:
    return {"vr": "UI", "Value": [uid]}
