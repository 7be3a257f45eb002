"""When the service port is open: a rule on the clinical state and a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, SafetyRefusal
from asepsis.core.model.clinical import ClinicalState
from asepsis.edge.device.service_port import OPEN_S_MAX, ServicePort

MAINTENANCE = ClinicalState.MAINTENANCE


def test_it_is_closed_until_somebody_opens_it() -> None:
    port = ServicePort()
    assert port.left_s(now_s=0.0) == 0
    assert port.why_closed(state=MAINTENANCE, now_s=1e9) is None
    assert not port.close()


@pytest.mark.parametrize("state", [*(s for s in ClinicalState if s is not MAINTENANCE), None])
def test_it_opens_in_maintenance_only(state: ClinicalState | None) -> None:
    port = ServicePort()
    with pytest.raises(SafetyRefusal):
        port.open(60, state=state, now_s=0.0)
    assert port.left_s(now_s=0.0) == 0


@pytest.mark.parametrize("seconds", [0.0, -1.0, OPEN_S_MAX + 1, float("nan"), float("inf")])
def test_it_opens_for_a_bounded_time_only(seconds: float) -> None:
    with pytest.raises(InputError):
        ServicePort().open(seconds, state=MAINTENANCE, now_s=0.0)


def test_it_closes_when_its_time_is_over_and_says_so_once() -> None:
    port = ServicePort()
    port.open(60, state=MAINTENANCE, now_s=100.0)
    assert port.left_s(now_s=130.0) == 30
    assert port.why_closed(state=MAINTENANCE, now_s=159.9) is None
    assert port.why_closed(state=MAINTENANCE, now_s=160.0) == "its time is over"
    assert port.why_closed(state=MAINTENANCE, now_s=160.0) is None


def test_opened_again_it_stays_open_from_then_on() -> None:
    port = ServicePort()
    port.open(60, state=MAINTENANCE, now_s=0.0)
    port.open(60, state=MAINTENANCE, now_s=50.0)
    assert port.why_closed(state=MAINTENANCE, now_s=100.0) is None
    assert port.close()


@given(
    st.lists(
        st.tuples(st.sampled_from([*ClinicalState, None]), st.floats(0, 500), st.booleans()),
        max_size=40,
    )
)
def test_it_is_never_open_outside_maintenance_nor_for_longer_than_asked(
    steps: list[tuple[ClinicalState | None, float, bool]],
) -> None:
    """Any order of states, waits and wishes; looked at as often as the supervisor does."""
    port, now_s, opened_s = ServicePort(), 0.0, float("-inf")
    for state, wait_s, wish in steps:
        now_s += wait_s
        port.why_closed(state=state, now_s=now_s)
        if wish:
            try:
                port.open(100.0, state=state, now_s=now_s)
                opened_s = now_s
            except SafetyRefusal:
                pass
        if port.left_s(now_s=now_s):
            assert state is MAINTENANCE
            assert now_s - opened_s < 100.0
