"""The small values of HL7 v2: limits, delimiters, element paths and cutting one field into parts.

Source: HL7 v2.8.2 chapter 2, sections 2.5.3 (fields and parts) and 2.5.4 (message delimiters).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from asepsis.core.errors import InputError, LimitExceeded

CR: Final = b"\r"
DELIMITER_FIELDS: Final = 2
"""MSH-1 and MSH-2 hold delimiters and no text."""
NUMBER_BYTES: Final = frozenset(b'.+-_"')
"""Bytes of numbers, times, names and the HL7 null; as delimiters they would rewrite data."""
_ENCODING_BYTES_MIN: Final = 2
_ENCODING_BYTES_MAX: Final = 5
_PATH_CHARACTERS_MAX: Final = 64
_PATH: Final = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d{1,6})\])?-(\d{1,6})(?:\[(\d{1,6})\])?"
    r"(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hl7Limits:
    """What one message may hold; every number is an inclusive maximum of at least 1.

    Attributes:
        bytes_max: Bytes of the whole message as received.
        segments_max: Segments.
        fields_total_max: Fields of all segments together, segment names counted too; bounds the
            memory of a parsed message.
        fields_max: Fields of one segment.
        repetitions_max: Repetitions of one field.
        components_max: Components of one field, all repetitions together (a waveform in one OBX-5
            has one component a sample).
        subcomponents_max: Subcomponents of one field, all components together.

    Source: HL7 v2.8.2 section 2.5.3 sets no upper bounds; REQ-MSG of the Asepsis standard does.
    """

    bytes_max: int = 1_048_576
    segments_max: int = 10_000
    fields_total_max: int = 200_000
    fields_max: int = 10_000
    repetitions_max: int = 10_000
    components_max: int = 65_536
    subcomponents_max: int = 65_536


DEFAULT_LIMITS: Final = Hl7Limits()


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The delimiters one message declares in MSH-1 and MSH-2, each one byte or empty if absent.

    Attributes:
        field: MSH-1.
        component: First byte of MSH-2.
        repetition: Second byte of MSH-2.
        escape: Third byte of MSH-2; may be left out.
        subcomponent: Fourth byte of MSH-2; may be left out.
        truncation: Fifth byte of MSH-2, since v2.7; may be left out.

    Source: HL7 v2.8.2 section 2.5.4, table "Delimiter values".
    """

    field: bytes = b"|"
    component: bytes = b"^"
    repetition: bytes = b"~"
    escape: bytes = b"\\"
    subcomponent: bytes = b"&"
    truncation: bytes = b""

    def __post_init__(self) -> None:
        if (self.subcomponent and not self.escape) or (self.truncation and not self.subcomponent):
            raise InputError("only the last delimiters of MSH-2 may be left out")
        _check_delimiters(self.field, self.encoding)

    @property
    def encoding(self) -> bytes:
        """MSH-2 as it goes on the wire."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation


def _check_delimiters(separator: bytes, encoding: bytes) -> None:
    """Refuse delimiters that two readers could understand differently."""
    if not _ENCODING_BYTES_MIN <= len(encoding) <= _ENCODING_BYTES_MAX:
        raise InputError(f"MSH-2 holds {len(encoding)} bytes, not 2 to 5")
    every = separator + encoding
    if len(separator) != 1 or len(set(every)) != len(every):
        raise InputError("MSH-1 and MSH-2 name one delimiter for two purposes")
    for byte in every:
        if not 0x21 <= byte <= 0x7E or chr(byte).isalnum() or byte in NUMBER_BYTES:
            raise InputError(f"byte {byte:#04x} may not be a delimiter")


@lru_cache(maxsize=64)
def delimiters_of(separator: bytes, encoding: bytes) -> Delimiters:
    """Return the checked delimiters of MSH-1 and MSH-2.

    Args:
        separator: MSH-1, one byte.
        encoding: MSH-2, two to five bytes.

    Raises:
        InputError: A delimiter is missing, repeated, alphanumeric, a control byte, or one that
            numbers, times or the HL7 null are written with.

    Source: HL7 v2.8.2 section 2.5.4.
    """
    _check_delimiters(separator, encoding)
    parts = [encoding[i : i + 1] for i in range(_ENCODING_BYTES_MAX)]
    return Delimiters(separator, *parts)


STANDARD: Final = Delimiters()
"""The delimiters HL7 recommends: ``|^~\\&``."""


class Path(NamedTuple):
    """Where an element stands; every number counts from 1, and 0 means "not given".

    Attributes:
        segment: Three-letter segment name.
        occurrence: Which of the segments of that name; 1 if not given.
        field: Field number.
        repetition: Repetition of the field.
        component: Component of the repetition.
        subcomponent: Subcomponent of the component.

    Source: HL7 v2.8.2 section 2.5.3; written as its text does.
    """

    segment: bytes
    occurrence: int
    field: int
    repetition: int
    component: int
    subcomponent: int


@lru_cache(maxsize=4096)
def path_of(text: str) -> Path:
    """Read a path such as ``PID-5.1``, ``OBX[3]-5`` or ``PID-3[2].4.1``.

    Args:
        text: At most 64 characters, from our code or a profile, never from a peer.

    Raises:
        InputError: It is not a path, or a number in it is zero.

    Source: HL7 v2.8.2 section 2.5.3.
    """
    match = _PATH.fullmatch(text) if len(text) <= _PATH_CHARACTERS_MAX else None
    numbers = [int(group) for group in match.groups()[1:] if group] if match else [0]
    if match is None or 0 in numbers:
        raise InputError("not an HL7 element path", hint="write it like PID-3[2].4.1")
    name, *places = match.groups()
    occurrence, field, repetition, component, subcomponent = (int(n or 0) for n in places)
    return Path(name.encode(), occurrence or 1, field, repetition, component, subcomponent)


def _pick(whole: bytes, separator: bytes, number: int) -> tuple[int, int]:
    """Return the span of part `number` (from 1) of `whole`; an absent part is empty at the end."""
    if not separator:
        return (0, len(whole)) if number == 1 else (len(whole), len(whole))
    if number == 1:
        end = whole.find(separator)
        return 0, (end if end >= 0 else len(whole))
    before = whole.split(separator, number - 1)
    if len(before) < number:
        return len(whole), len(whole)
    start = len(whole) - len(before[-1])
    end = whole.find(separator, start)
    return start, (end if end >= 0 else len(whole))


def part_span(
    field: bytes,
    delimiters: Delimiters,
    *,
    repetition: int = 0,
    component: int = 0,
    subcomponent: int = 0,
) -> tuple[int, int]:
    """Return the byte span of one element inside `field`, without copying it.

    A level that is not given (0) above a given one means the first; below the last given level the
    whole element is meant.

    Args:
        field: The raw bytes of one field.
        delimiters: Of its message.
        repetition: From 1, or 0.
        component: From 1, or 0.
        subcomponent: From 1, or 0.

    Returns:
        Start and end offset in `field`; an empty span where the element is absent.

    Source: HL7 v2.8.2 section 2.5.3.
    """
    levels = (
        (delimiters.repetition, repetition),
        (delimiters.component, component),
        (delimiters.subcomponent, subcomponent),
    )
    deepest = max((i for i, level in enumerate(levels, 1) if level[1]), default=0)
    start, end = 0, len(field)
    for separator, number in levels[:deepest]:
        inner_start, inner_end = _pick(field[start:end], separator, number or 1)
        start, end = start + inner_start, start + inner_end
    return start, end


def leaf_of(field: bytes, delimiters: Delimiters) -> bytes:
    """Return the first subcomponent of the first component of the first repetition of `field`.

    Source: HL7 v2.8.2 section 2.8: a receiver that expects a simple value takes the first part.
    """
    for separator in (delimiters.repetition, delimiters.component, delimiters.subcomponent):
        if separator and separator in field:
            field = field[: field.index(separator)]
    return field


def check_parts(field: bytes, delimiters: Delimiters, limits: Hl7Limits) -> None:
    """Check how often one field repeats and how many parts it has.

    Raises:
        LimitExceeded: More repetitions, components or subcomponents than `limits` allow.

    Source: HL7 v2.8.2 section 2.5.3.
    """
    repetitions = field.count(delimiters.repetition)
    if repetitions >= limits.repetitions_max:
        raise LimitExceeded(f"a field repeats more than {limits.repetitions_max} times")
    if repetitions + field.count(delimiters.component) >= limits.components_max:
        raise LimitExceeded(f"a field has more than {limits.components_max} components")
    subcomponents = field.count(delimiters.subcomponent) if delimiters.subcomponent else 0
    if subcomponents >= limits.subcomponents_max:
        raise LimitExceeded(f"a field has more than {limits.subcomponents_max} subcomponents")
