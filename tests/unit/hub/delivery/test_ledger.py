"""How far a destination is: the cursor passes nothing that is not dealt with."""

from hypothesis import given
from hypothesis import strategies as st

from asepsis.hub.delivery.ledger import Ledger, position_of


def test_the_cursor_waits_for_the_first_record_that_is_open() -> None:
    ledger = Ledger(10)
    ledger.read(11, 2)
    ledger.read(12, 0)
    ledger.read(13, 1)
    assert ledger.reach() == 10
    ledger.settle(["13.0.0", "11.0.0"])
    assert ledger.reach() == 10
    assert ledger.ahead == ("13.0.0", "11.0.0")
    ledger.settle(["11.1.0"])
    assert ledger.reach() == 13
    ledger.moved(13)
    assert ledger.ahead == ()


def test_what_was_accepted_before_a_crash_is_known() -> None:
    ledger = Ledger(10, ["11.0.0"])
    assert ledger.knows("11.0.0")
    assert not ledger.knows("11.0.1")


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=12).flatmap(
        lambda counts: st.tuples(
            st.just(counts),
            st.permutations([f"{p}.{i}.0" for p, n in enumerate(counts, 1) for i in range(n)]),
            st.integers(0, 40),
        )
    )
)
def test_whatever_the_order_of_answers_nothing_open_is_passed(
    given: tuple[list[int], list[str], int],
) -> None:
    counts, order, crash = given
    ledger = Ledger(0)
    for position, count in enumerate(counts, 1):
        ledger.read(position, count)
    settled = set(order[:crash])
    ledger.settle(order[:crash])
    reached = ledger.reach()
    left = [key for key in order if key not in settled]
    assert all(position_of(key) > reached for key in left)
    ledger.moved(reached)
    # After a crash, what is read again and not known is exactly what was not settled.
    known = set(ledger.ahead)
    again = {key for key in order if position_of(key) > reached and key not in known}
    assert again == set(left)
