"""Appending: idempotent for ever, gaps, forks, limits."""

from typing import Any

import pytest

from asepsis.core.errors import BackPressure, ChainBroken, InputError, LimitExceeded, Unavailable
from asepsis.core.journal.limits import LaneBudget
from asepsis.core.journal.ports import Link, Outcome, Receipt
from asepsis.core.model.lanes import Account, Lane

STORED = Outcome.STORED
DUPLICATE = Receipt(Outcome.DUPLICATE, 0)


def test_records_come_back_as_they_were(desk: Any) -> None:
    sent = [desk.record(n) for n in (1, 2, 3)]
    receipts = [desk.journal.submit(record).result(20) for record in sent]
    assert receipts == [Receipt(STORED, n) for n in (1, 2, 3)]
    desk.reopen()
    held = desk.journal.read(Lane.VITALS, after=0, records_max=10)
    assert [record.append for record in held] == sent
    assert [record.position for record in held] == [1, 2, 3]


def test_a_repeated_record_is_acknowledged_and_stored_once(desk: Any) -> None:
    desk.append(1)
    assert desk.append(1) == DUPLICATE
    desk.reopen()
    assert desk.append(1) == DUPLICATE
    assert desk.append(1, Lane.LATE) == DUPLICATE
    assert desk.sequences(Lane.VITALS) == [1]
    assert desk.sequences(Lane.LATE) == []


def test_a_repeated_record_is_a_duplicate_even_after_it_expired(desk: Any) -> None:
    """Goal: what was received is remembered for ever, not only as long as the record."""
    desk.append(1)
    desk.append(2)
    desk.journal.expire(desk.now_ns + 3 * 86_400 * 10**9)
    assert desk.sequences(Lane.VITALS) == []
    assert desk.append(1) == DUPLICATE
    desk.reopen()
    assert desk.append(1) == DUPLICATE
    assert desk.append(3).position == 3, "positions are never used twice"


def test_two_records_with_one_sequence_are_a_fork(desk: Any) -> None:
    for n in (1, 2, 3):
        desk.append(n)
    desk.reopen()
    for n in (1, 2, 3):
        with pytest.raises(ChainBroken):
            desk.append(n, link=Link(b"x" * 32, desk.record(n).link.previous))
    assert desk.sequences(Lane.VITALS) == [1, 2, 3]


def test_a_record_that_does_not_follow_is_refused(desk: Any) -> None:
    desk.append(1)
    with pytest.raises(ChainBroken):
        desk.append(2, link=Link(b"y" * 32, b"x" * 32))
    with pytest.raises(ChainBroken):
        desk.append(1, producer="other", link=Link(b"y" * 32, b"x" * 32))
    desk.append(2)
    assert desk.state() == (2, ())


def test_lanes_of_one_chain_share_an_account(desk: Any) -> None:
    desk.append(1, Lane.VITALS)
    desk.append(2, Lane.ALERT)
    desk.append(3, Lane.VITALS)
    assert desk.append(2, Lane.VITALS) == DUPLICATE
    assert desk.sequences(Lane.ALERT) == [2]
    assert desk.state() == (3, ())


def test_a_jump_forward_opens_a_gap_that_any_lane_may_fill(desk: Any) -> None:
    desk.append(1)
    assert desk.append(4) == Receipt(STORED, 2, (2, 3))
    desk.reopen()
    assert desk.state() == (4, ((2, 3),))
    assert desk.append(3, Lane.ALERT) == Receipt(STORED, 1)
    assert desk.append(2) == Receipt(STORED, 3, None, True)
    assert desk.state() == (4, ())


def test_gaps_are_bounded_and_can_be_given_up(desk: Any) -> None:
    for n in (2, 4, 6, 8):
        desk.append(n)
    with pytest.raises(LimitExceeded):
        desk.append(10)
    assert desk.append(9).outcome is STORED, "a live record that follows is taken all the same"
    origin = (Account.ORIGIN, desk.record(1).producer, 1)
    assert list(desk.journal.abandon(*origin, through=4)) == [(1, 1), (3, 3)]
    desk.reopen()
    assert desk.state() == (9, ((5, 5), (7, 7)))
    assert desk.append(11).gap_opened == (10, 10)
    assert desk.append(3, Lane.LATE) == DUPLICATE


def test_epochs_grow_and_an_old_one_comes_late_only(desk: Any) -> None:
    desk.append(1, epoch=2)
    with pytest.raises(InputError, match="is over"):
        desk.append(1, epoch=1)
    assert desk.append(1, Lane.LATE, epoch=1).outcome is STORED
    desk.reopen()
    with pytest.raises(InputError, match="is over"):
        desk.append(2, epoch=1)
    assert desk.append(1, epoch=1) == DUPLICATE
    assert desk.append(1, epoch=3).outcome is STORED


@pytest.mark.parametrize(
    "fields",
    [
        {"sequence": 0},
        {"sequence": 2**63},
        {"epoch": -1},
        {"producer": ""},
        {"producer": "a\0b"},
        {"producer": "\ud800"},
        {"producer": "p" * 121},
        {"kind": "k" * 41},
        {"received_at_ns": -1},
        {"link": Link(b"short", bytes(32))},
        {"account": Account.WAVEFORM},
    ],
)
def test_fields_out_of_range_are_refused(desk: Any, fields: dict[str, Any]) -> None:
    sequence = fields.pop("sequence", 1)
    with pytest.raises(InputError):
        desk.append(sequence, **fields)
    assert desk.state() == (0, ())


def test_a_record_over_the_limit_is_refused(desk: Any) -> None:
    with pytest.raises(LimitExceeded):
        desk.append(1, body=bytes(4097))
    assert desk.append(1, body=bytes(4096)).outcome is STORED


def test_a_lane_that_is_not_kept_is_refused(desk: Any) -> None:
    desk.lanes = {Lane.VITALS: desk.lanes[Lane.VITALS]}
    with pytest.raises(InputError):
        desk.append(1, Lane.ALERT)
    with pytest.raises(InputError):
        desk.journal.read(Lane.ALERT, after=0, records_max=1)


def test_at_the_watermark_only_that_lane_refuses_and_nothing_is_stored(desk: Any) -> None:
    small = LaneBudget(bytes_max=3000, age_s=3600)
    desk.lanes = {**desk.lanes, Lane.VITALS: small}
    desk.append(1, body=bytes(2000))
    with pytest.raises(BackPressure) as caught:
        desk.append(2, body=bytes(2000))
    assert caught.value.retry_after_s >= 1
    assert desk.append(1, body=bytes(2000)) == DUPLICATE, "what is stored is still acknowledged"
    assert desk.append(2, Lane.ALERT).outcome is STORED
    assert desk.state() == (2, ())
    desk.journal.expire(desk.now_ns + 7200 * 10**9)
    assert desk.append(3, body=bytes(2000)).outcome is STORED


def test_after_close_nothing_is_taken(desk: Any) -> None:
    journal = desk.journal
    journal.close()
    with pytest.raises(Unavailable):
        journal.submit(desk.record(1)).result(20)
    journal.close()


def test_what_is_queued_at_close_is_durable(desk: Any) -> None:
    futures = [desk.journal.submit(desk.record(n)) for n in range(1, 200)]
    desk.reopen()
    assert all(future.result(20).outcome is STORED for future in futures)
    assert desk.sequences(Lane.VITALS) == list(range(1, 200))
