"""A desk in front of any journal: opens it, sends records, opens it again."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append, Journal, Link, Receipt
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.trust.sealing import KeyEncryptionKey, throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys

DAY_NS = 86_400 * 10**9
NOON_NS = 20_000 * DAY_NS + DAY_NS // 2
BUDGET = LaneBudget(bytes_max=1 << 20, age_s=3600, record_bytes_max=4096)
QUICK = JournalLimits(linger_s=0.0, reserve_bytes=0, gaps_max=4)


def digest(producer: str, sequence: int) -> bytes:
    """Return the digest that record `sequence` of a well-behaved chain has."""
    return (
        hashlib.sha256(f"{producer} {sequence}".encode(errors="replace")).digest()
        if sequence
        else bytes(32)
    )


class Desk:
    """One journal and the means to fill it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.kek: KeyEncryptionKey = throw_away_kek()
        self.lanes: Mapping[Lane, LaneBudget] = dict.fromkeys(Lane, BUDGET)
        self.limits = QUICK
        self.now_ns = NOON_NS
        self._journal: Journal | None = None

    @property
    def journal(self) -> Journal:
        if self._journal is None:
            assert self.kind == "sqlite"
            self._journal = SqliteJournal(
                self.folder / "journal",
                cipher=DayKeys(self.folder / "keys", kek=self.kek, aead=CryptographyAead()),
                lanes=self.lanes,
                clock=lambda: self.now_ns,
                limits=self.limits,
            )
        return self._journal

    def reopen(self) -> None:
        self.close()
        assert self.journal is not None

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def record(self, sequence: int, lane: Lane = Lane.VITALS, **fields: Any) -> Append:
        """Return the record of a well-behaved chain; fields override."""
        account = Account.WAVEFORM if lane is Lane.WAVEFORM else Account.ORIGIN
        producer = fields.get("producer", "urn:dev:mac:0000000000000001")
        values: dict[str, Any] = {
            "lane": lane,
            "account": account,
            "producer": producer,
            "epoch": 1,
            "sequence": sequence,
            "kind": "origin-batch",
            "body": f"body {sequence}".encode(),
            "received_at_ns": self.now_ns,
            "link": Link(digest(producer, sequence), digest(producer, sequence - 1)),
        }
        if fields.get("account", account) is not Account.ORIGIN:
            values["link"] = None
        return Append(**(values | fields))

    def append(self, sequence: int, lane: Lane = Lane.VITALS, **fields: Any) -> Receipt:
        """Append a record of the chain and wait for its receipt."""
        return self.journal.submit(self.record(sequence, lane, **fields)).result(timeout=20)

    def sequences(self, lane: Lane) -> list[int]:
        """Return the sequences a lane holds, in order of position."""
        return [r.append.sequence for r in self.journal.read(lane, after=0, records_max=10_000)]

    def state(self, producer: str = "urn:dev:mac:0000000000000001", epoch: int = 1) -> Any:
        """Return highest and gaps of the account."""
        state = self.journal.account(Account.ORIGIN, producer, epoch)
        return state.highest, state.gaps


@pytest.fixture(params=["sqlite"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """Every adapter in turn."""
    made = Desk(request.param, tmp_path)
    yield made
    made.close()
