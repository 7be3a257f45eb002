"""The safe moment: every single reason keeps an update waiting, and nothing unknown is safe."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.update import WaitsFor
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.update.moment import (
    CONSENT_S,
    POSTPONE_S,
    POSTPONEMENTS_MAX,
    Consent,
    Situation,
    Terms,
    Window,
    judge,
)

S, W = ClinicalState, WaitsFor
PUMP = Terms(states=frozenset({S.IDLE}), run_s=60, rollback_s=30)
VENTILATOR = replace(PUMP, states=frozenset({S.IN_USE, S.STANDBY, S.IDLE}))
NOW = 1_700_000_000
IDLE = Situation(
    state=S.IDLE, attached=False, alarms=0, mains=True, reachable=True, wall_s=NOW, now_s=1_000
)
IN_USE = replace(IDLE, state=S.IN_USE, attached=True)
GIVEN = Consent(given_until_s=1_001)


def test_an_idle_pump_on_mains_may_be_updated() -> None:
    assert judge(PUMP, IDLE, Consent()) is None


def test_a_ventilator_in_use_may_where_its_policy_allows_it_and_an_infusing_pump_never() -> None:
    assert judge(VENTILATOR, IN_USE, Consent()) is None
    assert judge(PUMP, IN_USE, Consent()) is W.PATIENT


@pytest.mark.parametrize("occupied", list(Occupied))
@pytest.mark.parametrize("state", [S.IDLE, S.STANDBY, S.CLEANING, S.MAINTENANCE])
def test_what_looks_idle_and_is_not_waits(occupied: Occupied, state: ClinicalState) -> None:
    """Goal: standby with a patient, paused or delayed infusion, KVO, channel, transport."""
    terms = replace(PUMP, states=frozenset({S.IDLE, S.STANDBY, S.CLEANING, S.MAINTENANCE}))
    now = replace(IDLE, state=state)
    assert judge(terms, now, Consent()) is None
    found = judge(terms, replace(now, occupied=frozenset({occupied})), Consent())
    assert found in {W.PATIENT, W.CLINICAL_STATE}


@pytest.mark.parametrize(
    ("change", "waits_for"),
    [
        ({"state": None}, W.CLINICAL_STATE),
        ({"state": S.ALARMING}, W.CLINICAL_STATE),
        ({"alarms": 1}, W.CLINICAL_STATE),
        ({"alarms": None}, W.CLINICAL_STATE),
        ({"attached": None}, W.PATIENT),
        ({"attached": True}, W.PATIENT),
        ({"mains": False, "battery_percent": 49}, W.POWER),
        ({"mains": None}, W.POWER),
        ({"reachable": False}, W.CONNECTIVITY),
    ],
)
def test_each_reason_alone_is_enough(change: dict[str, object], waits_for: WaitsFor) -> None:
    assert judge(PUMP, replace(IDLE, **change), Consent()) is waits_for  # type: ignore[arg-type]


def test_an_alarm_stops_what_every_state_would_allow() -> None:
    """Goal: what a signer allows cannot be more than what the device ever does."""
    everything = replace(VENTILATOR, states=frozenset(S))
    assert judge(everything, replace(IN_USE, state=S.ALARMING), Consent()) is W.CLINICAL_STATE
    assert judge(everything, replace(IN_USE, alarms=1), Consent()) is W.CLINICAL_STATE


def test_a_half_full_battery_is_enough() -> None:
    assert judge(PUMP, replace(IDLE, mains=False, battery_percent=50), Consent()) is None


def test_what_mends_the_way_to_the_hub_does_not_ask_for_it() -> None:
    offline = replace(IDLE, reachable=False)
    assert judge(replace(PUMP, hub=False), offline, Consent()) is None


@pytest.mark.parametrize(
    ("opens", "closes", "fits"),
    [(-10, 90, True), (-10, 89, False), (1, 500, False), (0, 90, True), (-500, 0, False)],
)
def test_run_and_rollback_fit_the_window(opens: int, closes: int, *, fits: bool) -> None:
    terms = replace(PUMP, windows=(Window(NOW + opens, NOW + closes),))
    assert judge(terms, IDLE, Consent()) is (None if fits else W.WINDOW)


def test_without_trusted_time_no_window_is_open() -> None:
    terms = replace(PUMP, windows=(Window(0, 2**40),))
    assert judge(terms, replace(IDLE, wall_s=None), Consent()) is W.TIME
    assert judge(PUMP, replace(IDLE, wall_s=None), Consent()) is None


def test_ready_reserve_waits_for_a_person_who_takes_it_out_of_service() -> None:
    reserve = replace(PUMP, reserve=True)
    assert judge(reserve, IDLE, GIVEN) is W.OUT_OF_SERVICE
    assert judge(reserve, replace(IDLE, out_of_service=True), GIVEN) is None


def test_consent_is_asked_last_and_holds_for_a_while_only() -> None:
    terms = replace(PUMP, consent=True)
    assert judge(terms, replace(IDLE, mains=False), Consent()) is W.POWER
    assert judge(terms, IDLE, Consent()) is W.CONSENT
    given = Consent().confirm(IDLE.now_s)
    assert judge(terms, IDLE, given) is None
    later = replace(IDLE, now_s=IDLE.now_s + CONSENT_S)
    assert judge(terms, later, given) is W.CONSENT


def test_postponing_is_bounded_and_its_end_installs_nothing() -> None:
    """Goal: after the last "later" the question stays; no time that passes is a "yes"."""
    consent, now_s = Consent(), 0.0
    for _ in range(POSTPONEMENTS_MAX):
        assert consent.may_postpone
        consent = consent.postpone(now_s)
        assert not consent.asks(now_s + POSTPONE_S - 1)
        now_s += POSTPONE_S
        assert consent.asks(now_s)
    assert not consent.may_postpone
    assert consent.postpone(now_s) == consent
    terms = replace(PUMP, consent=True)
    assert judge(terms, replace(IDLE, now_s=10**9), consent) is W.CONSENT


situations = st.builds(
    Situation,
    state=st.none() | st.sampled_from(S),
    attached=st.none() | st.booleans(),
    alarms=st.none() | st.integers(0, 2),
    occupied=st.frozensets(st.sampled_from(Occupied), max_size=2),
    mains=st.none() | st.booleans(),
    battery_percent=st.none() | st.integers(0, 100),
    reachable=st.booleans(),
    wall_s=st.none() | st.integers(0, 2**33),
    now_s=st.floats(0, 1e9),
    out_of_service=st.booleans(),
)


terms_of = st.builds(
    Terms,
    states=st.frozensets(st.sampled_from(S)),
    consent=st.booleans(),
    reserve=st.booleans(),
)


@given(situations, terms_of)
def test_nothing_is_installed_in_a_doubtful_moment(now: Situation, terms: Terms) -> None:
    if judge(terms, now, Consent()) is not None:
        return
    assert now.state in terms.states
    assert (now.alarms, now.reachable) == (0, True)
    assert now.attached is False or S.IN_USE in terms.states
    assert not now.occupied or S.IN_USE in terms.states
    assert not terms.consent
    assert now.out_of_service or not terms.reserve
