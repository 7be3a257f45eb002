"""Queues and groups: bounds, alerts first, nobody starves."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import BackPressure, SignatureInvalid
from asepsis.core.journal.intake import FutureSink, Intake
from asepsis.core.journal.limits import JournalLimits
from asepsis.core.journal.schema import table_of
from asepsis.core.model.lanes import Lane

Make = Callable[..., Any]
SINK = FutureSink()


def filled(make_record: Make, counts: dict[Lane, int], **limits: Any) -> Intake:
    intake = Intake(Lane, limits=JournalLimits(linger_s=0.0, **limits))
    for lane, number in counts.items():
        for n in range(1, number + 1):
            intake.offer(make_record(n, lane, producer=lane.value), SINK, None)
    return intake


def chosen(intake: Intake) -> dict[Lane, int]:
    lanes = [ticket.record.lane for ticket in intake.take().tickets]
    return {lane: lanes.count(lane) for lane in Lane if lane in lanes}


def test_an_alert_waits_for_no_more_than_one_group(make_record: Make) -> None:
    intake = filled(make_record, {Lane.LATE: 400, Lane.VITALS: 400}, group_records_max=64)
    intake.offer(make_record(1, Lane.ALERT), SINK, None)
    group = intake.take().tickets
    assert sum(ticket.record.lane is Lane.ALERT for ticket in group) == 1
    assert len(group) <= 64


def test_alerts_may_fill_a_group_and_nobody_else_starves(make_record: Make) -> None:
    intake = filled(make_record, {Lane.VITALS: 100, Lane.LATE: 100}, group_records_max=64)
    assert chosen(intake) == {Lane.VITALS: 60, Lane.LATE: 4}
    crowd = filled(make_record, {Lane.ALERT: 100, Lane.VITALS: 9}, group_records_max=64)
    assert chosen(crowd) == {Lane.ALERT: 64}
    assert chosen(crowd) == {Lane.ALERT: 36, Lane.VITALS: 28 // 4}, "its company is kept small"
    assert chosen(crowd) == {Lane.VITALS: 2}


def test_a_group_is_in_order_of_arrival(make_record: Make) -> None:
    intake = filled(make_record, {Lane.LATE: 3, Lane.VITALS: 3, Lane.ALERT: 3})
    arrivals = [ticket.arrival for ticket in intake.take().tickets]
    assert arrivals == sorted(arrivals)


def test_groups_are_bounded_in_bytes(make_record: Make) -> None:
    intake = Intake(Lane, limits=JournalLimits(linger_s=0.0, group_bytes_max=1000))
    for n in range(1, 20):
        intake.offer(make_record(n, body=bytes(300)), SINK, None)
    assert len(intake.take().tickets) == 4


def test_a_full_queue_refuses_its_own_lane_only(make_record: Make) -> None:
    intake = filled(make_record, {Lane.VITALS: 10}, queue_records_max=10)
    with pytest.raises(BackPressure):
        intake.offer(make_record(11), SINK, None)
    intake.offer(make_record(1, Lane.ALERT), SINK, None)
    heavy = Intake(Lane, limits=JournalLimits(queue_bytes_max=100))
    heavy.offer(make_record(1, body=bytes(100)), SINK, None)
    with pytest.raises(BackPressure):
        heavy.offer(make_record(2), SINK, None)


@pytest.mark.parametrize("lane", [Lane.ALERT, Lane.MESSAGE])
def test_what_hurries_ends_the_wait_for_company(
    make_journal: Make, make_record: Make, lane: Lane
) -> None:
    """Goal: lingering delays no alert and no group of messages; else this would take a minute."""
    journal = make_journal(linger_s=60.0)
    waiting = journal.submit(make_record(1))
    assert journal.submit(make_record(2, lane)).result(20).position == 1
    assert waiting.result(20).position == 1


def test_alerts_pass_a_flood_of_waveforms(make_journal: Make, make_record: Make) -> None:
    """Goal: waveform bulk is another file; an alert is durable while it still queues."""
    journal = make_journal(queue_records_max=100_000, group_records_max=64)
    flood = [
        journal.submit(make_record(n, Lane.WAVEFORM, body=bytes(3700))) for n in range(1, 3000)
    ]
    alert = journal.submit(make_record(1, Lane.ALERT))
    assert alert.result(20).position == 1
    assert not flood[-1].done()
    assert flood[-1].result(60).position == 2999


def test_a_cancelled_sender_does_not_disturb_the_others(
    make_journal: Make, make_record: Make
) -> None:
    journal = make_journal(linger_s=0.2)
    first = journal.submit(make_record(1))
    first.cancel()
    assert journal.submit(make_record(2)).result(20).position == 2


def test_listeners_hear_of_every_group_once(make_journal: Make, make_record: Make) -> None:
    journal = make_journal()
    heard: list[Any] = []
    journal.listen(heard.append)
    journal.submit(make_record(1)).result(20)
    journal.submit(make_record(1)).result(20)
    journal.submit(make_record(1, Lane.LATE, producer="b")).result(20)
    assert heard == [{Lane.VITALS: 1}, {Lane.LATE: 1}]


def test_the_log_is_copied_while_records_come(
    make_journal: Make, make_record: Make, tmp_path: Path
) -> None:
    journal = make_journal(wal_bytes_max=200_000)
    for n in range(1, 600):
        journal.submit(make_record(n, body=bytes(4000))).result(20)
    wal = tmp_path / "journal" / "signed.db-wal"
    assert wal.stat().st_size < 3_000_000
    journal.close()
    assert not wal.exists() or wal.stat().st_size == 0


def test_a_changed_record_is_never_handed_out(
    make_journal: Make, make_record: Make, tmp_path: Path
) -> None:
    """Goal: every column of the row is bound to the sealed body."""
    journal = make_journal()
    journal.submit(make_record(1)).result(20)
    table = table_of(Lane.VITALS)
    connection = sqlite3.connect(tmp_path / "journal" / "signed.db", isolation_level=None)
    for change, back in (
        ("sequence = 2", "sequence = 1"),
        ("kind = 'other'", "kind = 'test'"),
        ("received_at_ns = received_at_ns + 1", "received_at_ns = received_at_ns - 1"),
    ):
        connection.execute(f"UPDATE {table} SET {change}")  # noqa: S608 - our own words
        with pytest.raises(SignatureInvalid):
            journal.read(Lane.VITALS, after=0, records_max=1)
        connection.execute(f"UPDATE {table} SET {back}")  # noqa: S608 - as above
    connection.close()
    assert len(journal.read(Lane.VITALS, after=0, records_max=1)) == 1


def test_many_threads_may_submit_and_read(make_journal: Make, make_record: Make) -> None:
    journal = make_journal()
    receipts: list[Any] = []

    def work(name: str) -> None:
        for n in range(1, 100):
            receipts.append(journal.submit(make_record(n, producer=name)).result(20).position)
            journal.read(Lane.VITALS, after=n - 1, records_max=2)

    threads = [threading.Thread(target=work, args=(f"bed-{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(receipts) == list(range(1, 595))
