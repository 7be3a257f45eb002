"""The table of supervision, walked through as a graph."""

from dataclasses import dataclass, replace

from asepsis.edge.sandbox.supervision import (
    RUNNING,
    SERVED,
    STANDING_BY,
    TABLE,
    Act,
    Happened,
    Phase,
    step,
)


@dataclass(frozen=True)
class Place:
    """The processes of a compartment, as the acts leave them."""

    phase: Phase = Phase.DOWN
    serving: bool = False
    standby: bool = False


NEEDS = {
    Act.START: (False, False),
    Act.WARM: (True, False),
    Act.DROP_STANDBY: (None, True),
    Act.REFUSE: (True, None),
    Act.RELEASE: (True, None),
    Act.PROMOTE: (None, True),
    Act.BACK_OFF: (None, False),
    Act.AT_ONCE: (None, False),
    Act.CONFIRM: (True, None),
}
"""What must serve and stand by before an act; None where it may."""
LEAVES = {
    Act.START: {"serving": True},
    Act.WARM: {"standby": True},
    Act.DROP_STANDBY: {"standby": False},
    Act.REFUSE: {"standby": False},
    Act.PROMOTE: {"serving": True, "standby": False},
    Act.BACK_OFF: {"serving": False},
    Act.AT_ONCE: {"serving": False},
}


def carry_out(place: Place, act: Act) -> Place:
    """Do what an act does to the processes; each asserts what it needs."""
    serving, standby = NEEDS[act]
    assert serving in (None, place.serving), (place, act)
    assert standby in (None, place.standby), (place, act)
    return replace(place, **LEAVES.get(act, {}))


def reachable() -> set[Place]:
    found = {Place()}
    fresh = [Place()]
    while fresh:
        place = fresh.pop()
        for happened in Happened:
            phase, acts = step(place.phase, happened)
            after = place
            for act in acts:
                after = carry_out(after, act)
            after = replace(after, phase=phase)
            if after not in found:
                found.add(after)
                fresh.append(after)
    return found


def test_in_each_phase_run_the_processes_that_it_says() -> None:
    """Goal: never two that serve, never one that nobody watches, over every order of events."""
    found = reachable()
    assert {place.phase for place in found} == set(Phase)
    for place in found:
        assert place.serving == (place.phase in RUNNING)
        assert place.standby == (place.phase in STANDING_BY)


def test_every_phase_leads_back_to_service_and_can_end() -> None:
    ways = {
        phase: {after for (at, _), (after, _) in TABLE.items() if at is phase} for phase in Phase
    }
    for phase in Phase:
        found, fresh = {phase}, [phase]
        while fresh:
            new = ways[fresh.pop()] - found
            found |= new
            fresh += new
        assert {Phase.SERVING, Phase.DOWN} <= found


def test_what_serves_is_told_to_let_go_only_for_something_that_proved_itself() -> None:
    """Goal: a version that fails its self-test costs nothing; only `replace` makes a gap."""
    for (phase, happened), (after, acts) in TABLE.items():
        if Act.RELEASE in acts:
            assert phase is Phase.READY or happened is Happened.REPLACE
        if Act.PROMOTE in acts:
            assert phase in {Phase.READY, Phase.HANDING_OVER}
        if happened is Happened.STANDBY_FAILED:
            assert after in {Phase.SERVING, Phase.ENDING}
            assert acts == (Act.REFUSE,)


def test_a_failure_is_never_left_alone() -> None:
    for phase in RUNNING:
        after, acts = step(phase, Happened.FAILED)
        assert after is not phase
        assert {Act.BACK_OFF, Act.AT_ONCE, Act.PROMOTE} & set(acts)


def test_only_what_serves_is_confirmed() -> None:
    confirmed = {phase for (phase, _), (_, acts) in TABLE.items() if Act.CONFIRM in acts}
    assert confirmed == SERVED
