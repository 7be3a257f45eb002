"""A full disk: back-pressure, alerts on the reserve, recovery by itself. Needs root: a tmpfs."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import AsepsisError, BackPressure
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append, Outcome
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.trust.sealing import throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys

MIB = 1 << 20
DAY_NS = 86_400 * 10**9
NOW_NS = 20_000 * DAY_NS
pytestmark = pytest.mark.root


class Clock:
    """Advances a second at every look, so that pauses between attempts pass."""

    now_ns = NOW_NS

    def __call__(self) -> int:
        self.now_ns += 10**9
        return self.now_ns


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


KEK = throw_away_kek()


def open_journal(disk: Path) -> SqliteJournal:
    return SqliteJournal(
        disk / "journal",
        cipher=DayKeys(disk / "keys", kek=KEK, aead=CryptographyAead()),
        lanes=dict.fromkeys(Lane, LaneBudget(bytes_max=1 << 30, age_s=60)),
        clock=Clock(),
        limits=JournalLimits(reserve_bytes=4 * MIB, wal_bytes_max=MIB, linger_s=0.0),
    )


@pytest.fixture
def journal(disk: Path) -> Iterator[SqliteJournal]:
    opened = open_journal(disk)
    yield opened
    opened.close()


def append(journal: SqliteJournal, lane: Lane, sequence: int, **more: Any) -> Outcome:
    account = Account.WAVEFORM if lane is Lane.WAVEFORM else Account.ORIGIN
    values: dict[str, Any] = {"body": bytes(4000), "received_at_ns": NOW_NS, "epoch": 1}
    record = Append(
        lane=lane,
        account=account,
        producer=lane.value,
        sequence=sequence,
        kind="test",
        **(values | more),
    )
    return journal.submit(record).result(20).outcome


def fill_up(ballast: Path) -> None:
    """Take the last byte of the disk."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def fill(journal: SqliteJournal, lane: Lane) -> int:
    """Append until the disk is full; return the first sequence that was refused."""
    sequence = 1
    while True:
        try:
            append(journal, lane, sequence)
        except BackPressure as error:
            if error.retry_after_s >= 1:
                return sequence
            raise
        sequence += 1


def test_alerts_go_on_and_space_heals_everything(journal: SqliteJournal, disk: Path) -> None:
    """Goal: full disk refuses vitals and waveforms, takes alerts on the reserve, then recovers."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(8 * MIB))
    journal.register("charts", {Lane.VITALS: True})
    vitals, waveforms = fill(journal, Lane.VITALS), fill(journal, Lane.WAVEFORM)
    assert vitals > 500
    alerts = 0
    while not journal.disk_pressed:  # What is left of the log's own file is used up first.
        alerts += 1
        assert append(journal, Lane.ALERT, alerts) is Outcome.STORED
    for n in range(alerts + 1, alerts + 101):
        assert append(journal, Lane.ALERT, n) is Outcome.STORED
    journal.commit("charts", Lane.VITALS, 1)
    state = journal.account(Account.ORIGIN, "vitals", 1)
    assert (state.highest, state.gaps) == (vitals - 1, ())
    ballast.unlink()
    assert append(journal, Lane.VITALS, vitals) is Outcome.STORED
    assert append(journal, Lane.WAVEFORM, waveforms) is Outcome.STORED
    assert not journal.disk_pressed
    held = journal.read(Lane.VITALS, after=vitals - 2, records_max=10)
    assert [record.append.sequence for record in held] == [vitals - 1, vitals]


def test_delivery_and_expiry_alone_make_space(journal: SqliteJournal) -> None:
    """Goal: a disk that only the journal has filled becomes usable without anyone's help."""
    journal.register("charts", {Lane.VITALS: True})
    vitals = fill(journal, Lane.VITALS)
    with pytest.raises(BackPressure):
        append(journal, Lane.VITALS, vitals)
    journal.commit("charts", Lane.VITALS, vitals - 1)
    assert journal.expire(NOW_NS + DAY_NS)[Lane.VITALS] == vitals - 1
    for n in range(vitals, vitals + 500):
        assert append(journal, Lane.VITALS, n) is Outcome.STORED


def test_a_new_day_on_a_full_disk(journal: SqliteJournal) -> None:
    """Goal: midnight needs a new key file; alerts get theirs from the reserve."""
    vitals = fill(journal, Lane.VITALS)
    fill(journal, Lane.WAVEFORM)
    tomorrow = {"received_at_ns": NOW_NS + DAY_NS}
    with pytest.raises(BackPressure):
        append(journal, Lane.VITALS, vitals, **tomorrow)
    assert append(journal, Lane.ALERT, 1, **tomorrow) is Outcome.STORED


def test_a_restart_on_a_full_disk_takes_alerts(journal: SqliteJournal, disk: Path) -> None:
    """Goal: a hub that restarts while the disk is full to the last byte still takes alerts."""
    append(journal, Lane.ALERT, 1)
    journal.close()
    fill_up(disk / "ballast")
    again = open_journal(disk)
    try:
        assert again.disk_pressed
        for n in range(2, 50):
            assert append(again, Lane.ALERT, n) is Outcome.STORED
    finally:
        again.close()


def test_a_full_disk_refuses_but_never_breaks(journal: SqliteJournal, disk: Path) -> None:
    """Goal: even with the reserve used up there are refusals, no damage; then all goes on."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(8 * MIB))
    fill(journal, Lane.VITALS)
    alerts = fill(journal, Lane.ALERT)
    assert alerts > 300, "the reserve is for alerts"
    with pytest.raises(AsepsisError):
        append(journal, Lane.ALERT, alerts)
    ballast.unlink()
    assert append(journal, Lane.ALERT, alerts) is Outcome.STORED
    held = journal.read(Lane.ALERT, after=0, records_max=10_000)
    assert [record.append.sequence for record in held] == list(range(1, alerts + 1))
