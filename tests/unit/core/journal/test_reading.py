"""Reading beside the writer: lost keys are found, expiry during a read is no error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import NotFound, Unavailable
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.sealing import throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys

Make = Callable[..., Any]


class LateCipher(DayKeys):
    """Calls `before_open` at each opening, to let something happen in the middle of a read."""

    before_open: Callable[[], object] = staticmethod(lambda: None)

    def open(self, scope: str, day: int, aad: bytes, sealed: bytes) -> bytes:
        self.before_open()
        return super().open(scope, day, aad, sealed)


def test_a_lost_key_is_an_error_not_an_empty_lane(
    make_journal: Make, make_record: Make, tmp_path: Path
) -> None:
    """Goal: whoever removes a key file cannot make records vanish silently."""
    journal = make_journal()
    journal.submit(make_record(1)).result(20)
    journal.close()
    (tmp_path / "keys" / "vitals.20000.key").unlink()
    with pytest.raises(NotFound, match="no key for vitals"):
        make_journal().read(Lane.VITALS, after=0, records_max=1)


def test_a_record_that_expires_during_the_read_is_left_out(
    make_record: Make, tmp_path: Path
) -> None:
    cipher = LateCipher(tmp_path / "keys", kek=throw_away_kek(), aead=CryptographyAead())
    journal = SqliteJournal(
        tmp_path / "journal",
        cipher=cipher,
        lanes={Lane.VITALS: LaneBudget(bytes_max=1 << 20, age_s=1)},
        clock=lambda: 0,
        limits=JournalLimits(reserve_bytes=0, read_bytes_max=1),
    )
    for n in (1, 2):
        journal.submit(make_record(n)).result(20)
    assert len(journal.read(Lane.VITALS, after=0, records_max=2)) == 1, "reads are bounded in bytes"
    cipher.before_open = lambda: journal.expire(2**62)
    assert journal.read(Lane.VITALS, after=0, records_max=2) == []
    journal.close()
    with pytest.raises(Unavailable):
        journal.read(Lane.VITALS, after=0, records_max=2)
