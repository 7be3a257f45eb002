"""The spool: durable, in order, and when it is full the oldest stays."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from asepsis.core.errors import BackPressure, TransientError
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Journal
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.sealing import throw_away_kek
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.trust.sealing_libcrypto import LibcryptoAead
from asepsis.edge.uplink import spool as spool_module
from asepsis.edge.uplink.outgoing import InFlight, Outgoing
from asepsis.edge.uplink.spool import Spool

BATCH = "application/vnd.asepsis.origin-batch"
NOON_NS = 20_000 * 86_400 * 10**9
Open = Callable[[], Spool]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens the device's spool, as after a reboot."""
    kek, journals = throw_away_kek(), list[SqliteJournal]()

    def open_() -> Spool:
        for journal in journals:
            journal.close()
        journals[:] = [
            SqliteJournal(
                tmp_path / "spool",
                cipher=DayKeys(tmp_path / "keys", kek=kek, aead=LibcryptoAead()),
                lanes={Lane.LATE: LaneBudget(bytes_max=65_536, age_s=0)},
                clock=lambda: NOON_NS,
                limits=JournalLimits(linger_s=0.0, reserve_bytes=0),
            )
        ]
        return Spool(journals[0], now_ns=lambda: NOON_NS)

    yield open_
    for journal in journals:
        journal.close()


def bodies(found: Any) -> list[bytes]:
    return [each.body for each in found]


def test_records_come_out_in_order_with_their_bytes(opened: Open) -> None:
    spool = opened()
    for n in range(5):
        spool.put(BATCH, b"batch %d" % n)
    found = spool.peek(3)
    assert bodies(found) == [b"batch 0", b"batch 1", b"batch 2"]
    assert {each.media_type for each in found} == {BATCH}
    assert spool.peek(3) == found, "nothing is gone before it is done"
    spool.done(found[1].position)
    assert bodies(spool.peek()) == [b"batch 2", b"batch 3", b"batch 4"]


def test_a_reboot_changes_nothing(opened: Open) -> None:
    """Goal: what waited is still there, what was done stays done, and numbering goes on."""
    spool = opened()
    for n in range(3):
        spool.put(BATCH, b"batch %d" % n)
    spool.done(spool.peek(1)[0].position)
    spool = opened()
    assert bodies(spool.peek()) == [b"batch 1", b"batch 2"]
    spool.put(BATCH, b"batch 3")
    assert bodies(spool.peek()) == [b"batch 1", b"batch 2", b"batch 3"]


def test_a_full_spool_refuses_the_newest_and_keeps_the_oldest(opened: Open) -> None:
    spool, written = opened(), 0
    with suppress(BackPressure):
        for written in range(100):
            spool.put(BATCH, bytes([written]) * 4_096)
    assert 5 < written < 99
    assert bodies(spool.peek(1)) == [bytes([0]) * 4_096]
    assert bodies(opened().peek(200)) == [bytes([n]) * 4_096 for n in range(written)]


def test_what_the_hub_has_makes_room(opened: Open) -> None:
    """Goal: outages over the years together may be longer than the spool; each one fits."""
    spool = opened()
    for outage in range(20):
        for _ in range(6):
            spool.put(BATCH, bytes([outage]) * 4_096)
        found = spool.peek()
        assert bodies(found) == [bytes([outage]) * 4_096] * 6
        spool.done(found[-1].position)
    assert bodies(opened().peek()) == []


class Stuck:
    """A journal whose disk never answers; as much of the port as the spool needs."""

    def register(self, *_: object) -> None:
        pass

    def account(self, *_: object) -> Any:
        return type("State", (), {"highest": 0})

    def submit(self, _record: object) -> Future[Any]:
        return Future()


def test_a_disk_that_does_not_answer_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "DISK_TIMEOUT_S", 0.05)
    spool = Spool(cast("Journal", Stuck()), now_ns=lambda: NOON_NS)
    with pytest.raises(TransientError):
        spool.put(BATCH, b"batch")


def test_the_oldest_held_record_of_each_account_is_known() -> None:
    """Goal: what a live lane still holds is what the drain must not overtake, by account."""
    held = InFlight()
    wave = "application/vnd.asepsis.waveform"
    assert held.oldest() == {}
    records = [
        Outgoing(media, epoch, sequence, b"")
        for media, epoch, sequence in ((BATCH, 2, 6), (BATCH, 2, 5), (BATCH, 3, 1), (wave, 1, 9))
    ]
    for record in records:
        held.add(record)
    assert held.oldest() == {BATCH: (2, 5), wave: (1, 9)}
    for record in records:
        held.remove(record)
    assert held.oldest() == {}
