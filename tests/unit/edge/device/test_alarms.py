"""Alarm conditions: onset, change, end, and the clinical state that follows them."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.core.model.clinical import ClinicalState
from asepsis.edge.device import catalogue, clinical, models
from asepsis.edge.device.alarms import DELAY_S, AlarmBook
from asepsis.edge.device.clinical import Event, step

HEART = models.HEART_RATE.handle


def book() -> AlarmBook:
    numbers = count(1)
    return AlarmBook(
        limits=models.MONITOR.limits,
        signs=models.MONITOR.signs,
        new_id=lambda: next(numbers).to_bytes(16, "big"),
    )


def play(alarms: AlarmBook, *values: float | None, handle: int = HEART) -> list[AlarmEvent]:
    return [e for s, value in enumerate(values) for e in alarms.judge({handle: value}, now_s=s)]


def phases(events: list[AlarmEvent]) -> list[tuple[str, str]]:
    return [(event.phase.name, event.priority.name) for event in events]


def test_a_condition_begins_changes_and_ends_with_one_id() -> None:
    events = play(book(), 76, 130, 130, 130, 150, 150, 76, 76, 76, 76)
    assert phases(events) == [("ONSET", "MEDIUM"), ("CHANGE", "HIGH"), ("END", "HIGH")]
    assert len({event.condition_id for event in events}) == 1
    assert events[0].mdc_code == catalogue.ABOVE_LIMIT
    assert events[0].source_handle == HEART
    assert "above high limit" in events[0].text


def test_one_noisy_value_rings_nobody_and_silences_nobody() -> None:
    assert play(book(), 76, 200, 76, 76, 200, 76) == []
    events = play(book(), 150, 150, 150, 76, 150, 150, 76, 150)
    assert phases(events) == [("ONSET", "HIGH")]


def test_the_other_side_of_the_limits_is_a_change() -> None:
    events = play(book(), 130, 130, 130, 45)
    assert [event.mdc_code for event in events] == [catalogue.ABOVE_LIMIT, catalogue.BELOW_LIMIT]


def test_a_lost_signal_is_a_technical_condition_and_ends_no_other() -> None:
    events = play(book(), 150, 150, 150, None, None, None, 150, 150, 150)
    assert [(e.kind, e.phase) for e in events] == [
        (AlarmKind.PHYSIOLOGICAL, AlarmPhase.ONSET),
        (AlarmKind.TECHNICAL, AlarmPhase.ONSET),
        (AlarmKind.TECHNICAL, AlarmPhase.END),
    ]


def test_acknowledged_until_it_gets_worse() -> None:
    alarms = book()
    play(alarms, 130, 130, 130)
    assert [event.inactivation for event in alarms.acknowledge()] == [Inactivation.ACKNOWLEDGED]
    assert alarms.acknowledge() == []
    worse = alarms.judge({HEART: 150}, now_s=9)
    assert worse[0].inactivation is Inactivation.NONE
    assert worse[0].priority is AlarmPriority.HIGH
    assert [event.phase for event in alarms.clear()] == [AlarmPhase.END]
    assert alarms.active == 0


@given(st.lists(st.one_of(st.none(), st.floats(0, 300, allow_nan=False)), max_size=60))
def test_every_condition_has_one_onset_and_at_most_one_end(values: list[float | None]) -> None:
    alarms = book()
    open_ids: set[bytes] = set()
    seen: set[bytes] = set()
    for event in play(alarms, *values):
        if event.phase is AlarmPhase.ONSET:
            assert event.condition_id not in seen
            seen.add(event.condition_id)
            open_ids.add(event.condition_id)
        else:
            assert event.condition_id in open_ids
        if event.phase is AlarmPhase.END:
            open_ids.remove(event.condition_id)
    assert alarms.active == len(open_ids)


def test_an_onset_waits_no_longer_than_the_delay() -> None:
    alarms = book()
    assert not alarms.judge({HEART: 150}, now_s=0)
    assert alarms.judge({HEART: 150}, now_s=DELAY_S)


def test_a_patient_always_wins() -> None:
    """Goal: from every state, an attached patient is in use or alarming, and no key hides it."""
    for state in ClinicalState:
        attached = step(state, Event.PATIENT_ATTACHED)
        assert attached in (ClinicalState.IN_USE, ClinicalState.ALARMING) or state is attached
    for key in clinical.KEYS:
        assert step(ClinicalState.ALARMING, key) is ClinicalState.ALARMING
        assert step(ClinicalState.IN_USE, key) in (ClinicalState.IN_USE, ClinicalState.STANDBY)


def test_every_state_can_be_reached_and_left() -> None:
    assert {state for state, _ in clinical.TRANSITIONS} == set(ClinicalState)
    assert set(clinical.TRANSITIONS.values()) == set(ClinicalState)
    for state in ClinicalState:
        for event in Event:
            assert step(state, event) == clinical.TRANSITIONS.get((state, event), state)
