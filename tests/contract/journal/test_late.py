"""The late lane: gaps are filled in ascending order and both edges must fit."""

from typing import Any

import pytest

from asepsis.core.errors import ChainBroken, InputError
from asepsis.core.journal.ports import Link, Outcome, Receipt
from asepsis.core.model.lanes import Account, Lane

LATE = Lane.LATE


def test_late_records_fill_a_gap_in_ascending_order(desk: Any) -> None:
    desk.append(1)
    desk.append(5)
    with pytest.raises(InputError, match="2 comes next"):
        desk.append(3, LATE)
    assert desk.append(2, LATE) == Receipt(Outcome.STORED, 1)
    desk.reopen()
    assert desk.append(3, LATE) == Receipt(Outcome.STORED, 2)
    assert desk.append(4, LATE) == Receipt(Outcome.STORED, 3, None, True)
    assert desk.state() == (5, ())
    assert desk.sequences(LATE) == [2, 3, 4]


def test_the_chain_is_checked_at_the_lower_edge(desk: Any) -> None:
    desk.append(1)
    desk.append(4)
    with pytest.raises(ChainBroken):
        desk.append(2, LATE, link=Link(b"z" * 32, b"x" * 32))
    desk.append(2, LATE)
    desk.reopen()
    with pytest.raises(ChainBroken):
        desk.append(3, LATE, link=Link(desk.record(3).link.digest, b"x" * 32))
    assert desk.state() == (4, ((3, 3),))


def test_the_chain_is_checked_at_the_upper_edge(desk: Any) -> None:
    desk.append(1)
    desk.append(4)
    desk.append(2, LATE)
    desk.reopen()
    with pytest.raises(ChainBroken):
        desk.append(3, LATE, link=Link(b"x" * 32, desk.record(2).link.digest))
    assert desk.append(3, LATE).gap_closed


def test_an_epoch_may_come_late_as_a_whole(desk: Any) -> None:
    for n in (1, 2, 3):
        assert desk.append(n, LATE).outcome is Outcome.STORED
    assert desk.append(6, LATE).gap_opened == (4, 5)


def test_late_waveforms_share_the_account_of_live_ones_and_the_lane_of_late_batches(
    desk: Any,
) -> None:
    """Goal: one account across two lanes, one order across two accounts."""
    wave = {"account": Account.WAVEFORM, "link": None}
    desk.append(1, Lane.WAVEFORM)
    desk.append(4, Lane.WAVEFORM)
    desk.append(2, LATE, **wave)
    desk.append(1, LATE)
    desk.append(3, LATE, **wave)
    desk.append(2, LATE)
    assert desk.append(3, Lane.WAVEFORM).outcome is Outcome.DUPLICATE
    state = desk.journal.account(Account.WAVEFORM, desk.record(1).producer, 1)
    assert (state.highest, state.gaps) == (4, ())
    for _ in range(2):
        held = desk.journal.read(LATE, after=0, records_max=10)
        assert [(r.position, r.append.account.value, r.append.sequence) for r in held] == [
            (1, "waveform", 2),
            (2, "origin", 1),
            (3, "waveform", 3),
            (4, "origin", 2),
        ]
        page = desk.journal.read(LATE, after=1, records_max=2)
        assert [r.position for r in page] == [2, 3]
        desk.reopen()
    assert desk.append(3, LATE).position == 5


def test_a_late_reader_never_finds_a_lower_position_later(desk: Any) -> None:
    """Goal: two writers at once; whoever follows the lane by position misses nothing."""
    futures = []
    seen: list[tuple[str, int]] = []
    position = 0
    for n in range(1, 301):
        futures.append(desk.journal.submit(desk.record(n, LATE)))
        futures.append(
            desk.journal.submit(desk.record(n, LATE, account=Account.WAVEFORM, link=None))
        )
        for record in desk.journal.read(LATE, after=position, records_max=50):
            position = record.position
            seen.append((record.append.account.value, record.append.sequence))
    for future in futures:
        future.result(20)
    while page := desk.journal.read(LATE, after=position, records_max=50):
        position = page[-1].position
        seen.extend((r.append.account.value, r.append.sequence) for r in page)
    assert len(seen) == len(set(seen)) == 600
