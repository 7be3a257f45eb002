"""Searches of QIDO-RS: from a query string to matches, and which attributes an answer has. Pure.

Source: DICOM PS3.18 section 8.3.4 (query parameters), 10.6 (search), table 10.6.1-5 (required
matching), 10.6.3 (required attributes of answers); PS3.4 section C.2.2.2 (matching).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from asepsis.core.errors import InputError, LimitExceeded

LIMIT: Final = 200
"""Answers of one search that names no limit."""
LIMIT_MAX: Final = 1_000
OFFSET_MAX: Final = 10_000_000
PARAMETERS_MAX: Final = 64
VALUE_CHARS_MAX: Final = 4_096
UIDS_MAX: Final = 200
"""UIDs of one list."""

Attributes = Mapping[str, Any]
"""DICOM JSON: tag of eight hex digits -> {"vr": ..., "Value": [...]}."""


class Level(IntEnum):
    """What a search gives."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


STUDY_UID, SERIES_UID, INSTANCE_UID = "0020000D", "0020000E", "00080018"
PATIENT_ID, ACCESSION, STUDY_DATE = "00100020", "00080050", "00080020"
MODALITY, MODALITIES, SOP_CLASS = "00080060", "00080061", "00080016"

_KEYWORDS: Final[Mapping[str, tuple[str, Level]]] = {
    "StudyDate": (STUDY_DATE, Level.STUDY),
    "StudyTime": ("00080030", Level.STUDY),
    "AccessionNumber": (ACCESSION, Level.STUDY),
    "ModalitiesInStudy": (MODALITIES, Level.STUDY),
    "ReferringPhysicianName": ("00080090", Level.STUDY),
    "TimezoneOffsetFromUTC": ("00080201", Level.STUDY),
    "PatientName": ("00100010", Level.STUDY),
    "PatientID": (PATIENT_ID, Level.STUDY),
    "IssuerOfPatientID": ("00100021", Level.STUDY),
    "PatientBirthDate": ("00100030", Level.STUDY),
    "PatientSex": ("00100040", Level.STUDY),
    "StudyInstanceUID": (STUDY_UID, Level.STUDY),
    "StudyID": ("00200010", Level.STUDY),
    "StudyDescription": ("00081030", Level.STUDY),
    "Modality": (MODALITY, Level.SERIES),
    "SeriesDescription": ("0008103E", Level.SERIES),
    "SeriesInstanceUID": (SERIES_UID, Level.SERIES),
    "SeriesNumber": ("00200011", Level.SERIES),
    "BodyPartExamined": ("00180015", Level.SERIES),
    "PerformedProcedureStepStartDate": ("00400244", Level.SERIES),
    "PerformedProcedureStepStartTime": ("00400245", Level.SERIES),
    "RequestAttributesSequence": ("00400275", Level.SERIES),
    "SOPClassUID": (SOP_CLASS, Level.INSTANCE),
    "SOPInstanceUID": (INSTANCE_UID, Level.INSTANCE),
    "InstanceNumber": ("00200013", Level.INSTANCE),
    "Rows": ("00280010", Level.INSTANCE),
    "Columns": ("00280011", Level.INSTANCE),
    "BitsAllocated": ("00280100", Level.INSTANCE),
    "NumberOfFrames": ("00280008", Level.INSTANCE),
}
_NESTED: Final[Mapping[str, str]] = {
    "ScheduledProcedureStepID": "00400009",
    "RequestedProcedureID": "00401001",
}
LEVEL_OF: Final[Mapping[str, Level]] = dict(_KEYWORDS.values())
_UID_TAGS: Final = frozenset({STUDY_UID, SERIES_UID, INSTANCE_UID, SOP_CLASS})
_RANGED: Final = frozenset({STUDY_DATE, "00080030", "00100030", "00400244", "00400245"})
_NAMES: Final = frozenset({"00080090", "00100010"})
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_UIDS: Final = re.compile(r"[0-9.,\\]+")
_NOT_MATCHED: Final = frozenset({"limit", "offset", "includefield", "fuzzymatching"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search.

    Attributes:
        level: What it gives.
        matches: (path of tags, value) of every key that is not empty.
        limit: Answers wanted.
        offset: Answers passed over.
        fuzzy: Whether the client asked for fuzzy matching, which is not done.
    """

    level: Level
    matches: tuple[tuple[tuple[str, ...], str], ...]
    limit: int
    offset: int
    fuzzy: bool = False

    def exact(self, tag: str) -> Sequence[str]:
        """Return the values that a top-level attribute must be one of; empty if any may do."""
        for path, value in self.matches:
            if path == (tag,) and not _is_pattern(tag, value):
                return re.split(r"[,\\]", value) if tag in _UID_TAGS else (value,)
        return ()

    def date_range(self) -> tuple[str, str] | None:
        """Return first and last study date as eight digits; empty ends are open."""
        for path, value in self.matches:
            if path == (STUDY_DATE,):
                first, dash, last = value.partition("-")
                return (first, last if dash else first)
        return None


def parse(query: bytes, level: Level, *, within: Mapping[str, str]) -> Search:
    """Read a query string.

    Args:
        query: As received.
        level: What the path gives.
        within: Tag -> UID that the path names.

    Raises:
        InputError: An attribute that is not searched at this level, or a value that is none.
        LimitExceeded: Too many parameters, or too long.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=PARAMETERS_MAX,
            errors="strict",
        )
    except ValueError as error:
        raise InputError("the query cannot be read") from error
    matches: dict[tuple[str, ...], str] = {(tag,): uid for tag, uid in within.items()}
    numbers = {"limit": LIMIT, "offset": 0}
    fuzzy = False
    for name, value in pairs:
        if len(value) > VALUE_CHARS_MAX:
            raise LimitExceeded("a value of the query is too long")
        if name in numbers:
            numbers[name] = _number(name, value)
        elif name == "fuzzymatching":
            fuzzy = value.lower() == "true"
        elif name not in _NOT_MATCHED and value:
            path = path_of(name, level)
            _check_value(path, value)
            matches[path] = value
    return Search(
        level=level,
        matches=tuple(matches.items()),
        limit=min(numbers["limit"], LIMIT_MAX),
        offset=numbers["offset"],
        fuzzy=fuzzy,
    )


def path_of(name: str, level: Level) -> tuple[str, ...]:
    """Return the tags that a query parameter names, by keyword or number.

    Raises:
        InputError: Not an attribute that is searched at this level.
    """
    parts = name.split(".")
    first = _KEYWORDS.get(parts[0], (parts[0].upper(), Level.STUDY))[0]
    known = LEVEL_OF.get(first)
    if len(parts) == 2 and first == "00400275":
        nested = _NESTED.get(parts[1], parts[1].upper())
        if nested in _NESTED.values() and level >= Level.SERIES:
            return (first, nested)
        known = None
    if known is None or len(parts) != 1 or known > level or first == "00400275":
        raise InputError(
            f"{name[:64]!r} is not searched here", hint="see docs/reference/imaging.md"
        )
    return (first,)


def matches(attributes: Attributes, search: Search) -> bool:
    """Say whether an object's attributes match every key but ModalitiesInStudy.

    Source: DICOM PS3.4 section C.2.2.2.
    """
    return all(
        path == (MODALITIES,) or _matches(_values(attributes, path), path[-1], value)
        for path, value in search.matches
    )


def _values(attributes: Attributes, path: Sequence[str]) -> list[str]:
    found = cast("list[Any]", attributes.get(path[0], {}).get("Value", []))
    if len(path) == 2:
        return [text for item in found for text in _values(item, path[1:])]
    return [_text(value) for value in found]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        groups = cast("dict[str, str]", value)
        return "=".join(groups.get(key, "") for key in ("Alphabetic", "Ideographic", "Phonetic"))
    return str(value)


def _matches(found: Sequence[str], tag: str, wanted: str) -> bool:
    if tag in _UID_TAGS:
        return bool(set(re.split(r"[,\\]", wanted)) & set(found))
    if tag in _RANGED and "-" in wanted:
        first, _, last = wanted.partition("-")
        return any(_at_least(each, first) and _at_most(each, last) for each in found)
    if tag in _NAMES:
        return any(_name_matches(each, wanted) for each in found)
    return any(_wild(each.strip(), wanted.strip()) for each in found)


def _at_least(value: str, first: str) -> bool:
    return not first or value >= first


def _at_most(value: str, last: str) -> bool:
    return not last or value[: len(last)] <= last


def _name_matches(value: str, wanted: str) -> bool:
    # PS3.4 section C.2.2.2.1: names are matched without regard of case here.
    folded = wanted.casefold().rstrip("^= ")
    groups = [group.casefold().rstrip("^ ") for group in value.split("=") if group]
    return any(_wild(group, folded) for group in groups)


def _wild(value: str, wanted: str) -> bool:
    if "*" not in wanted and "?" not in wanted:
        return value == wanted
    # Brackets are plain characters in DICOM.
    return fnmatchcase(value, wanted.replace("[", "[[]"))


def _is_pattern(tag: str, value: str) -> bool:
    return tag not in _UID_TAGS and ("*" in value or "?" in value or tag in _NAMES)


def _check_value(path: Sequence[str], value: str) -> None:
    if path[-1] in _UID_TAGS:
        if not _UIDS.fullmatch(value):
            raise InputError("a UID of the query is none")
        if len(re.split(r"[,\\]", value)) > UIDS_MAX:
            raise LimitExceeded(f"a list has more than {UIDS_MAX} UIDs")
    if path[-1] in _RANGED and not re.fullmatch(r"[0-9.:]*-?[0-9.:]*", value):
        raise InputError("a date or time of the query is none")


def _number(name: str, value: str) -> int:
    if not value.isdigit() or len(value) > 8 or int(value) > OFFSET_MAX:
        raise InputError(f"{name} is not a number from 0 to {OFFSET_MAX}")
    return int(value)
