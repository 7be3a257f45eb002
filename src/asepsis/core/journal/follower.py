"""Reads a journal on SQLite beside the process that writes it.

The writer holds the lock of the folder and alone knows which positions of the late lane are
settled; whoever follows asks it for the ends of the lanes and never reads beyond them.
"""

from pathlib import Path
from typing import Final

from asepsis.core.journal.cipher import RecordCipher
from asepsis.core.journal.group import Rules
from asepsis.core.journal.late import LateOrder
from asepsis.core.journal.limits import JournalLimits
from asepsis.core.journal.ports import Record
from asepsis.core.journal.readers import Readers
from asepsis.core.model.lanes import Lane

_SIGNED: Final = "signed"
_WAVEFORM: Final = "waveform"
LATE_RECORDS_MAX: Final = 16
"""Late records read at once: so many always fit into one read of either file, see
`JournalLimits.read_bytes_max`; were one file cut short, the other would hide its rest."""


class Follower:
    """Reads the files of a journal that another process writes.

    Args:
        path: Folder of the journal.
        cipher: Opens the bodies; it never makes a key.

    Resource handling:
        Holds connections until `close`; they never keep the writer waiting.
    """

    def __init__(self, path: Path, *, cipher: RecordCipher) -> None:
        limits, late = JournalLimits(), LateOrder(0)
        self._readers = {
            part: Readers(path / f"{part}.db", rules=Rules(part, {}, limits, cipher, late))
            for part in (_SIGNED, _WAVEFORM)
        }

    def read(self, lane: Lane, *, after: int, through: int, records_max: int) -> list[Record]:
        """Return records with `after` < position <= `through`, ascending, bodies decrypted.

        Args:
            lane: The lane.
            after: Last position that is known.
            through: End of the lane as its writer said, see `Journal.listen`.
            records_max: Most records returned.

        Raises:
            SignatureInvalid: A stored record was changed.
            TransientError: The file cannot be read.
        """
        if lane is Lane.LATE:
            records_max = min(records_max, LATE_RECORDS_MAX)
        found = [
            record
            for part in _parts(lane)
            for record in self._readers[part].read(
                lane, after=after, through=through, records_max=records_max
            )
        ]
        found.sort(key=lambda record: record.position)
        return found[:records_max]

    def close(self) -> None:
        """Close every connection."""
        for readers in self._readers.values():
            readers.close()


def _parts(lane: Lane) -> tuple[str, ...]:
    if lane is Lane.LATE:
        return (_SIGNED, _WAVEFORM)
    return (_WAVEFORM,) if lane is Lane.WAVEFORM else (_SIGNED,)
