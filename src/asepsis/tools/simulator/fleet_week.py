"""The week: one campaign over the whole fleet, and a bad one that must halt, by night only."""

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from asepsis.core.model.calendar import Calendar, Window
from asepsis.hub.fleet.campaigns.model import (
    Budget,
    Gate,
    Kind,
    Reserve,
    Selector,
    Spec,
    State,
    Wave,
)
from asepsis.hub.fleet.ports import ReleaseFacts
from asepsis.tools.simulator.fleet import Device, FleetSimulation, make_devices, verified
from asepsis.tools.simulator.fleet_check import Checker, Night

ZONE: Final = ZoneInfo("Europe/Berlin")
START: Final = datetime(2026, 10, 22, 12, tzinfo=ZONE)
"""A Thursday noon; clocks go back on the Sunday."""
DAYS: Final = 7
STEP_S: Final = 300
"""Devices hear of everything within this time: no longer than the notice that windows hold."""
IDLE_STEP_S: Final = 1_800
AT_ONCE_MAX: Final = 3
RUN_S: Final = 1_500
ROLLBACK_S: Final = 600
BAD: Final = "bad-release"
GOOD: Final = "net-41"
DEVICES_PER_WARD: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What came of it.

    Attributes:
        devices: How many there were.
        verified: How many run the release, as hub and truth agree.
        failed: How many did not take it.
        unseen: How many went dark and were never begun.
        halted: Whether the bad campaign was halted.
        hours: How long the good one took.
        checks: How often an invariant was checked.
        steps: How often the hub looked.
        most_away: The most devices of one class that were in an update in one ward at once.
    """

    devices: int
    verified: int
    failed: int
    unseen: int
    halted: bool
    hours: int
    checks: int
    steps: int
    most_away: int


def simulate_week(devices: int, *, seed: int) -> Week:
    """Play the week.

    Args:
        devices: How many, at least 500.
        seed: Of everything that is drawn.

    Raises:
        SafetyRefusal: An invariant was broken.
    """
    wards = max(2, devices // DEVICES_PER_WARD)
    fleet = make_devices(devices, wards=wards, seed=seed)
    spoilt = _spoil(fleet)
    night = Window(days=frozenset(range(7)), start=time(22), end=time(5))
    calendars = {"nights": Calendar(name="nights", zone=ZONE, windows=(night,))}
    checker = Checker(
        places={name: (d.known.ward, d.known.device_class) for name, d in fleet.items()},
        at_once_max=AT_ONCE_MAX,
        night=Night(ZONE, 22, 5),
        needed_s=RUN_S + ROLLBACK_S,
    )
    start_s = int(START.timestamp())
    simulation = FleetSimulation(fleet, calendars, start_s=start_s, checker=checker)
    simulation.add(_spec(fleet, wards, spoilt), _facts(GOOD))
    simulation.add(_bad_spec(spoilt), _facts(BAD))
    until_s = int((START + timedelta(days=DAYS)).timestamp())
    ended_s = start_s
    hunt_s = start_s
    while simulation.now_s < until_s:
        if simulation.now_s >= hunt_s:
            simulation.leave_unseen()
            hunt_s += 86_400
        simulation.step(STEP_S if checker.night.holds(simulation.now_s + STEP_S, 1)
                        or simulation.acting else IDLE_STEP_S)  # fmt: skip
        if simulation.runs[GOOD].stored.state is State.RUNNING and simulation.acting:
            ended_s = simulation.now_s
    story, run = checker.stories[GOOD], simulation.runs[GOOD]
    believed = verified(run)
    if len(believed) != sum(story.good.values()):
        # Not an error of a caller: the simulation itself is the judge here.
        raise AssertionError("the hub believes of other devices than those that run the release")
    return Week(
        devices=devices,
        verified=len(believed),
        failed=sum(story.bad.values()),
        unseen=sum(d.known.seen_ns == 0 for d in fleet.values()),
        halted=simulation.runs[BAD].stored.state is State.HALTED,
        hours=(ended_s - start_s) // 3_600,
        checks=checker.checks,
        steps=checker.steps,
        most_away=checker.most_away,
    )


def _spec(fleet: dict[str, Device], wards: int, spoilt: frozenset[str]) -> Spec:
    bench = [n for n, d in fleet.items() if d.known.seen_ns and not d.fails and n not in spoilt]
    first = frozenset(f"ward-{n}" for n in range(max(1, wards // 10)))
    many = len(fleet) // 100
    return Spec(
        name=GOOD,
        release="0a" * 32,
        change="CHG-1",
        waves=(
            Wave(kind=Kind.BENCH, gate=Gate(observe_s=3_600), devices=frozenset(bench[:4])),
            Wave(kind=Kind.CANARY, gate=Gate(verified_percent=75, failed_max=many), wards=first),
            Wave(kind=Kind.WARD, gate=Gate(verified_percent=90, failed_max=many), wards=first),
            Wave(kind=Kind.SITE, gate=Gate(verified_percent=95, failed_max=many)),
        ),
        select=Selector(models=frozenset({"V8"})),
        calendars=("nights",),
        budgets=(Budget(at_once_max=AT_ONCE_MAX),),
        reserves=(
            Reserve(area="intensive care", wards=first, device_class="ventilator", ready_min=2),
        ),
        recall_s=3_600,
    )


def _bad_spec(spoilt: frozenset[str]) -> Spec:
    """Return a campaign whose devices all fail: it must end with its canaries."""
    return Spec(
        name=BAD,
        release="0b" * 32,
        change="CHG-2",
        waves=(
            Wave(kind=Kind.CANARY, gate=Gate()),
            Wave(kind=Kind.SITE, gate=Gate()),
        ),
        select=Selector(devices=spoilt),
        calendars=("nights",),
        budgets=(Budget(at_once_max=AT_ONCE_MAX),),
    )


def _spoil(fleet: dict[str, Device]) -> frozenset[str]:
    """Make some devices of two wards fail, and move them out of the good campaign's bench."""
    found = [n for n, d in fleet.items() if d.known.ward in ("ward-0", "ward-1")][:40]
    for name in found:
        known = replace(fleet[name].known, model="V9")
        fleet[name].known, fleet[name].busy = known, replace(known, idle=False)
        fleet[name].fails, fleet[name].lies = True, False
    return frozenset(found)


def _facts(name: str) -> ReleaseFacts:
    model = "V9" if name == BAD else "V8"
    return ReleaseFacts(
        sha256=("0b" if name == BAD else "0a") * 32, vendor="acme", path="v/n", length=1,
        model=model, models=(model,), component="network", version="41", counter=41, floor=40,
        reboot="component", authorisation="", not_before_ns=0, expires_ns=1 << 62, document="",
        out_of_cycle=False, clinical_states=(), acceptance=False, run_s=RUN_S,
        rollback_s=ROLLBACK_S,
    )  # fmt: skip
