"""Makes journals and records for tests of the SQLite adapter's inside."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.trust.sealing import throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys

NOW_NS = 20_000 * 86_400 * 10**9


@pytest.fixture
def make_record() -> Callable[..., Append]:
    """Return a maker of records: sequence, then fields that override."""

    def make(sequence: int, lane: Lane = Lane.VITALS, **fields: Any) -> Append:
        values: dict[str, Any] = {
            "lane": lane,
            "account": Account.WAVEFORM if lane is Lane.WAVEFORM else Account.ORIGIN,
            "producer": "bed",
            "epoch": 1,
            "sequence": sequence,
            "kind": "test",
            "body": b"body",
            "received_at_ns": NOW_NS,
        }
        return Append(**(values | fields))

    return make


@pytest.fixture
def make_journal(tmp_path: Path) -> Iterator[Callable[..., SqliteJournal]]:
    """Return a maker of journals over one key; limits override. All are closed at the end."""
    kek = throw_away_kek()
    made: list[SqliteJournal] = []

    def make(folder: Path = tmp_path, **limits: Any) -> SqliteJournal:
        journal = SqliteJournal(
            folder / "journal",
            cipher=DayKeys(folder / "keys", kek=kek, aead=CryptographyAead()),
            lanes=dict.fromkeys(Lane, LaneBudget(bytes_max=1 << 30, age_s=60)),
            clock=lambda: NOW_NS,
            limits=JournalLimits(**({"linger_s": 0.0, "reserve_bytes": 0} | limits)),
        )
        made.append(journal)
        return journal

    yield make
    for journal in made:
        journal.close()
