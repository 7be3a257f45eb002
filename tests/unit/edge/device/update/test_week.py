"""A week of a ventilator and a pump with seeded use: who is updated when, and who waits."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.update import WaitsFor
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.update.floors import FLOORS
from asepsis.edge.device.update.memory import Target
from asepsis.tools.testing.faulty_disk import FaultyDisk
from asepsis.tools.testing.updating_device import IN_USE_TOO, ONLY_IDLE, Bedside, Device, target

S = ClinicalState
BLOCK_S = 600
WEEK = 7 * 24 * 3_600 // BLOCK_S
SEEDS = range(8)
HOTFIX_AT = WEEK // 7
"""The hot fix is assigned on the second day."""


@dataclass
class Use:
    """What a device does for ten minutes: state, patient, alarms, why it is not idle, power."""

    state: ClinicalState
    attached: bool = False
    alarms: int = 0
    occupied: frozenset[Occupied] = frozenset()
    mains: bool = True


def ventilator(rng: random.Random) -> Iterator[Use]:
    """Ventilate for days, with alarms, transport and suction in standby; then clean, then wait."""
    while True:
        for _ in range(rng.randint(2 * 144, 5 * 144)):
            chance = rng.random()
            if chance < 0.06:
                yield Use(S.ALARMING, attached=True, alarms=rng.randint(1, 3))
            elif chance < 0.08:
                yield Use(S.STANDBY, attached=True, occupied=frozenset({Occupied.TRANSPORT}))
            elif chance < 0.10:
                yield Use(S.IN_USE, attached=True, mains=False)
            else:
                yield Use(S.IN_USE, attached=True)
        yield from [Use(S.CLEANING)] * rng.randint(2, 6)
        yield from [Use(S.IDLE)] * rng.randint(3, 90)


def pump(rng: random.Random) -> Iterator[Use]:
    """Infuse, pause, keep the vein open, stay attached; sometimes lie on the shelf."""
    holding = (
        Occupied.INFUSION_PAUSED,
        Occupied.INFUSION_DELAYED,
        Occupied.KEEP_VEIN_OPEN,
        Occupied.CHANNEL_ATTACHED,
    )
    while True:
        for _ in range(rng.randint(1, 12)):
            yield from [Use(S.IN_USE, attached=True)] * rng.randint(3, 60)
            why = frozenset({rng.choice(holding)})
            yield from [Use(S.STANDBY, occupied=why)] * rng.randint(1, 12)
            yield from [Use(S.IDLE, occupied=why)] * rng.randint(1, 6)
        yield from [Use(S.IDLE)] * rng.randint(6, 60)


@dataclass
class Week:
    """One device over a week, and what it did in the moment of the installation."""

    device: Device
    installed: list[Use] = field(default_factory=list[Use])
    waited: set[WaitsFor] = field(default_factory=set[WaitsFor])

    def live(self, uses: Iterator[Use], release: Target) -> "Week":
        bedside = self.device.bedside
        for block in range(WEEK):
            use = next(uses)
            bedside.state, bedside.attached, bedside.alarms = use.state, use.attached, use.alarms
            bedside.occupied, bedside.mains = use.occupied, use.mains
            self.device.on_installed = lambda use=use: self.installed.append(use)
            if block == HOTFIX_AT:
                self.device.offered = [release]
            self.device.run(8, step_s=10.0)
            self.device.now_s += BLOCK_S - 80
        self.waited = {held.waits_for for held in self.device.told if held.waits_for}
        return self


def week(states: frozenset[ClinicalState], uses: Iterator[Use]) -> Week:
    device = Device(disk=FaultyDisk({FLOORS: b"{}"}), bedside=Bedside(), states=states)
    return Week(device).live(uses, target(reboot="none"))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ventilator_gets_its_hot_fix_while_it_ventilates(seed: int) -> None:
    """Goal: without reboot and without an alarm, transport or weak power; therapy goes on."""
    lived = week(IN_USE_TOO, ventilator(random.Random(seed)))
    assert lived.device.outcomes[-1] == "verified"
    [use] = lived.installed
    assert use.state in IN_USE_TOO
    assert not use.alarms
    assert use.mains
    assert lived.device.agent.memory.debts == ()


def test_at_least_one_of_them_was_in_use_and_one_had_to_wait() -> None:
    """Goal: the test above is about something."""
    lived = [week(IN_USE_TOO, ventilator(random.Random(seed))) for seed in SEEDS]
    assert any(one.installed[0].state is S.IN_USE for one in lived)
    assert any(one.waited for one in (*lived, week(ONLY_IDLE, ventilator(random.Random(1)))))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pump_is_updated_only_while_it_lies_idle(seed: int) -> None:
    """Goal: paused, delayed, keep-vein-open or attached is not idle, whatever the state says."""
    lived = week(ONLY_IDLE, pump(random.Random(seed)))
    for use in lived.installed:
        assert use.state is S.IDLE
        assert not use.occupied
        assert not use.attached
    assert lived.waited <= {WaitsFor.PATIENT, WaitsFor.CLINICAL_STATE}
    assert lived.device.outcomes[-1] in {"verified", "waiting"}


def test_most_pumps_find_an_idle_moment_within_the_week() -> None:
    lived = [week(ONLY_IDLE, pump(random.Random(seed))) for seed in SEEDS]
    assert sum(len(one.installed) for one in lived) >= len(SEEDS) // 2
    assert any(one.waited for one in lived)


def test_a_ventilator_whose_policy_says_idle_waits_for_days() -> None:
    lived = week(ONLY_IDLE, ventilator(random.Random(3)))
    assert all(use.state is S.IDLE for use in lived.installed)
    assert WaitsFor.PATIENT in lived.waited
