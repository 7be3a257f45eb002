"""The tables of associations, as graphs and by their limits; and any order of any news."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError, Conflict, InputError, NotPermitted
from asepsis.core.mapping.adt import AdtEvent, AdtPatient
from asepsis.core.mapping.sender_time import TimeSpan
from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.patient import PatientId, Place
from asepsis.hub.registry.associations import acts, movements, sightings
from asepsis.hub.registry.associations.rules import (
    CONFIRMS,
    EFFECTS,
    LATE_NS_MAX,
    PROPOSES,
    TRANSITIONS,
    USES,
    VACATES,
    require_confirming,
    require_past,
    require_reason,
    require_transition,
)
from asepsis.hub.registry.associations.scene import HELD, Scene, Use

SECOND_NS = 1_000_000_000


def test_adt_and_location_never_confirm() -> None:
    assert {Basis.ADT, Basis.LOCATION} <= PROPOSES
    assert not {Basis.ADT, Basis.LOCATION} & CONFIRMS
    for basis in Basis:
        if basis not in CONFIRMS:
            with pytest.raises(NotPermitted):
                require_confirming(basis)


def test_every_state_is_reached_and_a_rejected_one_stays_so() -> None:
    reached = {AssociationState.PROPOSED}.union(*TRANSITIONS.values())
    assert reached == set(AssociationState) == set(TRANSITIONS)
    assert not TRANSITIONS[AssociationState.REJECTED]
    for before, after in itertools.product(AssociationState, repeat=2):
        if after not in TRANSITIONS[before]:
            with pytest.raises(Conflict):
                require_transition(before, after)


def test_every_clinical_state_has_a_use_and_every_vacant_one_a_reason() -> None:
    assert set(USES) == set(ClinicalState)
    assert set(VACATES) == {state for state, use in USES.items() if use is Use.VACANT}


@pytest.mark.parametrize(
    ("start", "end"), [(0, 101), (50, 50), (60, 50), (-1, 50), (0, LATE_NS_MAX + 1)]
)
def test_a_late_assignment_is_over_and_short(start: int, end: int) -> None:
    with pytest.raises(InputError):
        require_past(start, end, now_ns=100 if end <= 101 else LATE_NS_MAX * 2)


@pytest.mark.parametrize("reason", ["", "x" * 201])
def test_a_reason_is_given_and_short(reason: str) -> None:
    with pytest.raises(InputError):
        require_reason(reason)


News = tuple[Any, ...]
PATIENTS = [PatientId(str(n), "M") for n in range(3)]
BEDS = [Place("W", "1", str(n)) for n in range(2)]
DEVICES = ["fixed-0", "fixed-1", "pump"]
seconds = st.integers(1_000, 1_200)
news: st.SearchStrategy[News] = st.one_of(
    st.tuples(
        st.just("adt"),
        st.sampled_from(sorted(EFFECTS)),
        st.sampled_from(PATIENTS),
        st.sampled_from([*BEDS, None]),
        seconds,
        st.one_of(st.none(), seconds),
        st.sampled_from([0, 59, 7_200]),
    ),
    st.tuples(st.just("state"), st.sampled_from(DEVICES), st.sampled_from(ClinicalState), seconds),
    st.tuples(st.sampled_from(["unseen", "whole", "boot"]), st.sampled_from(DEVICES), seconds),
    st.tuples(
        st.sampled_from(["associate", "late"]),
        st.sampled_from(DEVICES),
        st.sampled_from(PATIENTS),
        seconds,
    ),
    st.tuples(st.sampled_from(["confirm", "reject", "end"]), st.integers(0, 40)),
    st.tuples(st.just("place"), st.sampled_from(DEVICES), st.sampled_from([*BEDS, None])),
)


def _adt(scene: Scene, one: News) -> None:
    _, trigger, patient, place, entered, happened, width = one

    def span(at: int | None) -> TimeSpan | None:
        return None if at is None else TimeSpan(at * SECOND_NS, (at + width) * SECOND_NS)

    who = AdtPatient(ids=(patient,), place=place, merged=(PATIENTS[0],))
    event = AdtEvent(
        trigger=trigger,
        control_id="",
        recorded=span(entered),
        occurred=span(happened),
        patients=(who,),
    )
    move = movements.movement(event, who, patient, arrived_ns=scene.now_ns)
    assert move is not None
    movements.learn(scene, patient, who)
    movements.apply(scene, [move])


def _device(scene: Scene, one: News) -> None:
    what, device, at_ns = one[0], one[1], one[-1] * SECOND_NS
    if what == "state":
        sightings.sighted(scene, device, epoch=1, state=one[2], at_ns=at_ns)
    elif what == "unseen":
        sightings.out_of_sight(scene, device, at_ns=at_ns)
    elif what == "whole":
        sightings.seen_whole(scene, device)
    else:
        epoch = scene.uses[device].epoch + 1 if device in scene.uses else 1
        sightings.switched_on(scene, device, epoch=epoch, at_ns=at_ns, last_ns=None)


def _person(scene: Scene, one: News) -> None:
    what = one[0]
    if what == "place":
        acts.place_device(scene, one[1], one[2], fixed=one[1] != "pump" and one[2] is not None)
    elif what == "associate":
        made = acts.propose(scene, one[1], one[2], actor="p", basis=Basis.PERSON)
        acts.confirm(scene, made.id, actor="p", basis=Basis.PERSON)
    elif what == "late":
        start = (one[3] - 900) * SECOND_NS
        acts.assign_late(
            scene, one[1], one[2], start_ns=start, end_ns=start + 50 * SECOND_NS, actor="p"
        )
    elif what == "confirm":
        acts.confirm(scene, str(one[1]), actor="p", basis=Basis.PERSON)
    elif what == "reject":
        acts.reject(scene, str(one[1]), reason="no")
    else:
        acts.end(scene, str(one[1]), reason="no")


HANDLE = {
    "adt": _adt,
    "state": _device,
    "unseen": _device,
    "whole": _device,
    "boot": _device,
}


@settings(max_examples=300, deadline=None)
@given(st.lists(news, max_size=40))
def test_no_order_of_any_news_puts_two_patients_on_one_device(order: list[News]) -> None:
    """Goal: what holds after each piece of news, however absurd the order."""
    numbers = itertools.count()
    scene = Scene(now_ns=0, fresh_id=lambda: str(next(numbers)), rules={"W": 0})
    for number, bed in enumerate(BEDS):
        acts.place_device(scene, f"fixed-{number}", bed, fixed=True)
    scene.now_ns = 1_000 * SECOND_NS
    for one in order:
        scene.now_ns += 5 * SECOND_NS
        before = dict(scene.associations)
        try:
            HANDLE.get(one[0], _person)(scene, one)
        except AsepsisError:
            assert one[0] not in ("adt", "state"), "news is never refused by a rule"
        _holds(scene, before)


def _holds(scene: Scene, before: dict[str, Association]) -> None:
    for device in DEVICES:
        held = scene.held(device=device)
        for one, other in itertools.pairwise(held):
            assert one.end_ns is not None
            assert one.end_ns <= other.start_ns
    for one in scene.associations.values():
        assert one.state not in HELD or one.confirmed_by is not None
        assert one.state in HELD or one.state is AssociationState.PROPOSED or one.end_reason
        assert one.end_ns is None or one.start_ns <= one.end_ns
        old = before.get(one.id)
        if old is not None and old.state is not one.state:
            require_transition(old.state, one.state)
        if one.basis is Basis.LATE and old is not None:
            assert one == old, "no news changes what a person assigned late"
