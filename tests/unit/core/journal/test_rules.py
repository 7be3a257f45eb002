"""The pure rules of an account, case by case; a model test covers their combinations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ChainBroken, InputError, LimitExceeded
from asepsis.core.journal.ports import Link, Outcome
from asepsis.core.journal.rules import (
    ZEROS,
    ChainState,
    Gap,
    abandon,
    admit,
    check_epoch,
    check_same,
    known_digest,
)
from asepsis.core.journal.schema import pack_gaps, unpack_gaps

A, B, C, D, E = (bytes([n]) * 32 for n in b"ABCDE")
DIGESTS = st.none() | st.binary(min_size=32, max_size=32)


def test_first_record_follows_nothing() -> None:
    assert admit(ChainState(), 1, Link(A, ZEROS), late=False).state == ChainState(1, A)
    with pytest.raises(ChainBroken):
        admit(ChainState(), 1, Link(A, B), late=False)


def test_a_record_without_chain_is_counted_all_the_same() -> None:
    state = admit(ChainState(1, A), 2, None, late=False).state
    assert state == ChainState(2, None)
    assert admit(state, 3, Link(C, B), late=False).state == ChainState(3, C)


def test_jump_remembers_both_edges() -> None:
    verdict = admit(ChainState(1, A), 5, Link(E, D), late=False)
    assert verdict.state == ChainState(5, E, (Gap(2, 4, A, D),))
    assert verdict.opened == (2, 4)
    assert not verdict.closed


def test_a_live_record_in_the_middle_splits_a_gap() -> None:
    state = ChainState(5, E, (Gap(2, 4, A, D),))
    verdict = admit(state, 3, Link(C, B), late=False)
    assert verdict.state.gaps == (Gap(2, 2, A, B), Gap(4, 4, C, D))
    assert not verdict.closed
    with pytest.raises(LimitExceeded):
        admit(state, 3, Link(C, B), late=False, gaps_max=1)


@pytest.mark.parametrize(
    ("sequence", "link"),
    [
        (2, Link(B, C)),  # Lower edge: does not follow record 1.
        (4, Link(C, B)),  # Upper edge: record 5 followed another record 4.
    ],
)
def test_both_edges_of_a_gap_must_fit(sequence: int, link: Link) -> None:
    with pytest.raises(ChainBroken):
        admit(ChainState(5, E, (Gap(2, 4, A, D),)), sequence, link, late=False)


def test_the_last_hole_is_checked_at_both_edges() -> None:
    state = ChainState(3, C, (Gap(2, 2, A, B),))
    for wrong in (Link(D, A), Link(B, D)):
        with pytest.raises(ChainBroken):
            admit(state, 2, wrong, late=True)
    verdict = admit(state, 2, Link(B, A), late=True)
    assert verdict.closed
    assert verdict.state == ChainState(3, C)


def test_late_records_start_at_the_lower_edge_of_any_gap() -> None:
    state = ChainState(9, E, (Gap(2, 4, None, None), Gap(6, 8, None, None)))
    with pytest.raises(InputError, match="6 comes next, not 7"):
        admit(state, 7, None, late=True)
    assert admit(state, 6, None, late=True).state.gaps[1].first == 7


def test_the_account_knows_the_digests_at_its_edges() -> None:
    state = ChainState(9, E, (Gap(5, 8, D, None),))
    assert known_digest(state, 9) == E
    assert known_digest(state, 4) == D
    assert known_digest(state, 3) is None
    with pytest.raises(ChainBroken):
        admit(state, 4, Link(A, B), late=False)
    assert admit(state, 3, Link(A, B), late=False).outcome is Outcome.DUPLICATE


def test_what_is_unknown_is_no_fork() -> None:
    check_same(None, Link(A, B), 1)
    check_same(A, None, 1)
    check_same(A, Link(A, B), 1)
    with pytest.raises(ChainBroken):
        check_same(B, Link(A, B), 1)


def test_a_live_record_of_an_old_epoch_is_refused() -> None:
    check_epoch(3, 3, late=False)
    check_epoch(3, -1, late=False)
    check_epoch(2, 3, late=True)
    with pytest.raises(InputError) as caught:
        check_epoch(2, 3, late=False)
    assert "late lane" in caught.value.hint


def test_giving_up_cuts_through_a_gap() -> None:
    state = ChainState(9, E, (Gap(2, 4, A, B), Gap(6, 8, C, D)))
    after, lost = abandon(state, 6)
    assert lost == ((2, 4), (6, 6))
    assert after == ChainState(9, E, (Gap(7, 8, None, D),))
    assert abandon(after, 1) == (after, ())


@given(st.lists(st.tuples(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1), DIGESTS, DIGESTS)))
def test_gaps_survive_storage(values: list[tuple[int, int, bytes | None, bytes | None]]) -> None:
    gaps = tuple(Gap(*value) for value in values)
    assert unpack_gaps(pack_gaps(gaps)) == gaps
