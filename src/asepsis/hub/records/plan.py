"""How much disk a hub needs for so many beds. Pure.

The bytes of the record were measured with the real encoder on the reference bed (28 numerics a
second, half of which move; four waveforms of 1,500 samples a second in all, with noise; 350 alarm
conditions a day); a test measures them again. `docs/reference/records.md` says how.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from asepsis.hub.records.kinds import Kind, Retention

BYTES_PER_BED_S: Final[Mapping[Kind, float]] = {
    Kind.NUMERICS: 60.0,
    Kind.ALARMS: 4.5,
    Kind.WAVEFORMS: 1_660.0,
}
"""Bytes of disk that one second of the reference bed takes in the record, by kind."""
JOURNAL_BYTES_PER_BED_S: Final[Mapping[str, float]] = {"vitals": 1_100.0, "waveform": 3_450.0}
"""The same in the journal: a sealed batch and a sealed packet with their rows."""
NUMERICS_PER_S: Final = 28
SAMPLES_PER_S: Final = 1_500
CONDITIONS_PER_DAY: Final = 350
DAY_S: Final = 86_400
HEADROOM: Final = 1.2
"""For write-ahead logs, late data and beds that are busier than the reference."""
BEDS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plan.

    Attributes:
        what: Part of the data folder.
        held_s: Seconds of data that it holds at most.
        byte_count: Disk it needs.
    """

    what: str
    held_s: int
    byte_count: int


def plan(beds: int, retention: Retention, journal_ages_s: Mapping[str, int]) -> list[Line]:
    """Return the disk that so many reference beds need, with head room.

    Args:
        beds: 1 to `BEDS_MAX`.
        retention: Of the record; a day goes as a whole, so a day more is held.
        journal_ages_s: Age of the lanes `vitals` and `waveform` of the journal.
    """
    lines: list[Line] = []
    for kind in Kind:
        held_s = retention.of(kind) + DAY_S
        lines.append(_line(f"record: {kind.value}", held_s, beds, BYTES_PER_BED_S[kind]))
    for lane, byte_count in JOURNAL_BYTES_PER_BED_S.items():
        held_s = journal_ages_s[lane]
        lines.append(_line(f"journal: {lane}", held_s, beds, byte_count))
    return lines


def _line(what: str, held_s: int, beds: int, bytes_per_bed_s: float) -> Line:
    return Line(what, held_s, int(held_s * beds * bytes_per_bed_s * HEADROOM))
