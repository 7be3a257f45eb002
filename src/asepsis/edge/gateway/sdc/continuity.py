"""Whether a report follows the one before it: MdibVersion, SequenceId, InstanceId. Pure.

A report that is missing may have held an alarm, so a hole is mended by reading the whole MDIB.

Source: ISO/IEEE 11073-10207 (MdibVersionGroup); SDC participant model R0038 and following.
"""

from dataclasses import dataclass
from enum import Enum


class Step(Enum):
    """What a version means after those before it."""

    FITS = "fits"
    OLD = "old"
    """Known already: from before the MDIB was read."""
    HOLE = "hole"
    """A report is missing."""
    OTHER = "other"
    """Another sequence: the device has started anew."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an MDIB.

    Attributes:
        number: MdibVersion.
        sequence: SequenceId.
        instance: InstanceId, None if the device gives none.
    """

    number: int
    sequence: str
    instance: int | None = None


@dataclass(slots=True)
class Continuity:
    """The versions of one session.

    Attributes:
        at: The newest one.
        floor: Version of the MDIB that was read last; a report that is not newer says nothing new.
    """

    at: Version
    floor: int

    @classmethod
    def of(cls, read: Version) -> "Continuity":
        """Begin at an MDIB that was read whole."""
        return cls(read, read.number)

    def take(self, found: Version) -> Step:
        """Judge the version of a report; one that is not old becomes the newest.

        Several reports may share one version.
        """
        if (found.sequence, found.instance) != (self.at.sequence, self.at.instance):
            return Step.OTHER
        if found.number <= self.floor or found.number < self.at.number:
            return Step.OLD
        step = Step.HOLE if found.number > self.at.number + 1 else Step.FITS
        self.at = found
        return step

    def stands_behind(self, found: Version) -> Step:
        """Judge the version that the device says it is at; nothing changes."""
        if (found.sequence, found.instance) != (self.at.sequence, self.at.instance):
            return Step.OTHER
        return Step.HOLE if found.number > self.at.number else Step.FITS
