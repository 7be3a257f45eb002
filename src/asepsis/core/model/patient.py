"""Who a patient is and where a bed stands, as HL7 v2 names both."""

from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import InputError

PATIENT_ID_CHARS_MAX: Final = 64
AUTHORITY_CHARS_MAX: Final = 64
PLACE_CHARS_MAX: Final = 60
"""Longest point of care, room, bed or facility; a table HL7 0302 to 0304 entry is far shorter."""
_PLACE_PARTS: Final = 4


@dataclass(frozen=True, slots=True, order=True)
class PatientId:
    """The identifier that an assigning authority gave a patient.

    Attributes:
        value: CX.1, 1 to `PATIENT_ID_CHARS_MAX` characters.
        authority: CX.4 (its namespace), at most `AUTHORITY_CHARS_MAX` characters; "" if the
            sender names none.

    Raises:
        InputError: Empty, too long, or with characters that cannot be told apart on a screen.

    Source: HL7 v2.8.2 chapter 2A.2.14 (CX).
    """

    value: str
    authority: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.value) <= PATIENT_ID_CHARS_MAX:
            raise InputError(f"a patient id has 1 to {PATIENT_ID_CHARS_MAX} characters")
        if len(self.authority) > AUTHORITY_CHARS_MAX:
            raise InputError(f"an assigning authority has at most {AUTHORITY_CHARS_MAX} characters")
        if not (self.value + self.authority).isprintable() or "|" in self.value + self.authority:
            raise InputError("a patient id holds characters that no id has")

    def key(self) -> str:
        """Return `authority|value`, the form that FHIR searches and look-ups use."""
        return f"{self.authority}|{self.value}"

    @classmethod
    def of_key(cls, key: str) -> "PatientId":
        """Read what `key` wrote.

        Raises:
            InputError: No bar in it, or not an id.
        """
        authority, bar, value = key.partition("|")
        if not bar:
            raise InputError("a patient is named as authority|value")
        return cls(value, authority)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One bed.

    Attributes:
        point_of_care: PL.1, the ward; never empty.
        room: PL.2.
        bed: PL.3.
        facility: PL.4 (its namespace).

    Raises:
        InputError: No ward, a part too long, or characters that no place has.

    Source: HL7 v2.8.2 chapter 2A.2.54 (PL).
    """

    point_of_care: str
    room: str
    bed: str
    facility: str = ""

    def __post_init__(self) -> None:
        parts = (self.point_of_care, self.room, self.bed, self.facility)
        if not self.point_of_care:
            raise InputError("a place names a ward")
        for part in parts:
            if len(part) > PLACE_CHARS_MAX or not part.isprintable() or "|" in part:
                raise InputError(
                    f"a part of a place has at most {PLACE_CHARS_MAX} plain characters"
                )

    def key(self) -> str:
        """Return `facility|ward|room|bed`, for tables and paths."""
        return f"{self.facility}|{self.point_of_care}|{self.room}|{self.bed}"

    @classmethod
    def of_key(cls, key: str) -> "Place":
        """Read what `key` wrote.

        Raises:
            InputError: Not four parts, or not a place.
        """
        parts = key.split("|")
        if len(parts) != _PLACE_PARTS:
            raise InputError("a place is named as facility|ward|room|bed")
        return cls(parts[1], parts[2], parts[3], parts[0])

    @property
    def is_bed(self) -> bool:
        """Whether one patient lies here; a ward without room and bed holds many."""
        return bool(self.room or self.bed)

    def label(self) -> str:
        """Return what people read, such as `ICU, room 4, bed B`."""
        parts = [self.point_of_care]
        if self.room:
            parts.append(f"room {self.room}")
        if self.bed:
            parts.append(f"bed {self.bed}")
        return ", ".join(parts)
