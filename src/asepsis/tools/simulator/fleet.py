"""A simulated fleet in a simulated week: devices with seeded habits against the rules of campaigns.

The hub's side is the real rules (`deciding`, `releasing`, `waves`, `reports`); only the state is in
memory. The devices' side is the truth: who is in use when, who goes dark, who lies, who fails.
`fleet_check.Checker` watches the truth and shares no code with the rules.
"""

import itertools
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from asepsis.core.model.calendar import Calendar
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant
from asepsis.core.model.update import Outcome, TestResult, UpdateReport
from asepsis.hub.fleet.campaigns import deciding, releasing, reports, states, waves
from asepsis.hub.fleet.campaigns.deciding import View, Windows
from asepsis.hub.fleet.campaigns.model import (
    AWAY,
    DONE,
    SLOTTED,
    Member,
    Order,
    Reserve,
    Spec,
    Standing,
    State,
    Tally,
    Target,
)
from asepsis.hub.fleet.campaigns.releasing import Group, Load, Running
from asepsis.hub.fleet.campaigns.rows import Stored
from asepsis.hub.fleet.ports import ReleaseFacts
from asepsis.tools.simulator.fleet_check import Checker

NS: Final = 1_000_000_000
CLASSES: Final = ("monitor", "pump", "ventilator", "warmer", "defibrillator")
GOOD: Final = (TestResult(name="reference", measured=1.0, low=0.98, high=1.02, unit="mV"),)
BAD: Final = (TestResult(name="reference", measured=1.4, low=0.98, high=1.02, unit="mV"),)
_O: Final = Outcome
_BEFORE: Final = (_O.OFFERED, _O.DOWNLOADED, _O.STAGED)
LOOKED_MAX: Final = 24
"""Devices of one group that are looked at in one step."""
_FOREVER_NS: Final = 1 << 62


@dataclass(slots=True)
class Device:
    """The truth about one device.

    Attributes:
        known: What the fleet knows while it is idle.
        busy: The same while it is in use.
        period_s: How often its day repeats.
        duty_s: For how long of it a patient is at it.
        phase_s: Where in its day it began.
        download_s: How long it takes to fetch.
        install_s: How long installation and self-tests take.
        fails: Whether the update fails on it and it goes back.
        lies: Whether it then says that all is well.
        sequence: Number of its last report.
    """

    known: Member
    busy: Member
    period_s: int
    duty_s: int
    phase_s: int
    download_s: int
    install_s: int
    fails: bool
    lies: bool
    sequence: int = 0

    def in_use(self, at_s: int) -> bool:
        """Whether a patient is at it."""
        return (at_s + self.phase_s) % self.period_s < self.duty_s

    def member(self, at_s: int) -> Member:
        """Return what the fleet knows of it now."""
        return self.busy if self.in_use(at_s) else self.known


@dataclass(slots=True)
class Act:
    """What a device does with its slot.

    Attributes:
        campaign: Whose slot.
        ready_s: When everything is fetched and checked.
        ends_s: When installation and self-tests end; 0 before they began.
    """

    campaign: str
    ready_s: int
    ends_s: int = 0


@dataclass(slots=True)
class Run:
    """One campaign in the simulation.

    Attributes:
        stored: As the state would have it.
        release: Its facts.
        targets: By device.
        tallies: By wave, kept up with every change.
        waiting: Names by wave and group, in order.
        newest_ns: When the newest device of a wave was verified.
    """

    stored: Stored
    release: ReleaseFacts
    targets: dict[str, Target]
    tallies: dict[int, Counter[Standing]] = field(default_factory=dict[int, Counter[Standing]])
    waiting: dict[tuple[int, Group], deque[str]] = field(
        default_factory=dict[tuple[int, Group], deque[str]]
    )
    newest_ns: Counter[int] = field(default_factory=Counter[int])
    slots: dict[str, None] = field(default_factory=dict[str, None])


class FleetSimulation:
    """A fleet, its campaigns and a clock.

    Args:
        devices: By name.
        calendars: By name.
        start_s: When it begins, seconds since 1970.
        checker: Watches the truth.
    """

    def __init__(
        self,
        devices: Mapping[str, Device],
        calendars: Mapping[str, Calendar],
        *,
        start_s: int,
        checker: Checker,
    ) -> None:
        self.devices = devices
        self.runs: dict[str, Run] = {}
        self.now_s = start_s
        self._calendars = calendars
        self._checker = checker
        self._acts: dict[str, Act] = {}
        self._windows = Windows(calendars, {}, start_s * NS)
        self._asked: dict[tuple[Reserve, ...], list[Device]] = {}

    def add(self, spec: Spec, release: ReleaseFacts) -> None:
        """Create and start a campaign."""
        placed = waves.placed(spec, (one.known for one in self.devices.values()))
        stored = Stored(
            spec=spec, document="", state=State.RUNNING, wave=0, since_ns=self.now_s * NS,
            reason="", person="simulation", created_ns=self.now_s * NS + len(self.runs),
            successor="", component=release.component, acceptance=spec.acceptance,
            emergency=None, joined=0,
        )  # fmt: skip
        targets = {d: Target(device=d, wave=w) for d, w in placed.items()}
        run = Run(stored, release, targets)
        for device, wave in placed.items():
            known = self.devices[device].known
            key = wave, (known.ward, known.device_class)
            run.waiting.setdefault(key, deque()).append(device)
            run.tallies.setdefault(wave, Counter())[Standing.PENDING] += 1
        self.runs[spec.name] = run
        self._checker.created(spec, placed)

    def step(self, seconds: int) -> None:
        """Let time pass: devices act and report, then the hub looks and decides."""
        self.now_s += seconds
        for device in list(self._acts):
            self._device_acts(device)
        self._hub_decides()
        self._checker.stepped(self.now_s)

    @property
    def acting(self) -> bool:
        """Whether any device has a slot in its hands."""
        return bool(self._acts)

    def leave_unseen(self) -> None:
        """Do what people do with a hunt list: leave out who went dark, so that no gate waits."""
        for run in self.runs.values():
            for target in list(run.targets.values()):
                dark = not self.devices[target.device].known.seen_ns
                if dark and target.standing is Standing.PENDING:
                    self._checker.left(target.device, run.stored.name)
                    self._move(run, target.device, Standing.LEFT, self.now_s * NS)

    def _device_acts(self, name: str) -> None:
        act, device = self._acts[name], self.devices[name]
        run = self.runs[act.campaign]
        if act.ends_s:
            if self.now_s >= act.ends_s:
                self._device_ends(name, device, run)
        elif run.targets[name].standing is Standing.RECALLED:
            del self._acts[name]
            self._say(name, run, _O.WITHDRAWN)
        elif self.now_s >= act.ready_s:
            self._device_looks(name, device, run, act)

    def _device_looks(self, name: str, device: Device, run: Run, act: Act) -> None:
        """Begin if the moment is safe, else wait."""
        if run.targets[name].outcome is None:
            for outcome in _BEFORE:
                self._say(name, run, outcome)
        in_use = device.in_use(self.now_s)
        if not in_use:
            act.ends_s = self.now_s + device.install_s
            self._checker.began(name, run.stored.name, self.now_s, in_use=in_use)
            self._say(name, run, _O.INSTALLING)
        elif run.targets[name].outcome is not _O.WAITING:
            self._say(name, run, _O.WAITING)

    def _device_ends(self, name: str, device: Device, run: Run) -> None:
        del self._acts[name]
        self._checker.ended(name, run.stored.name, runs=not device.fails, at_s=self.now_s)
        for outcome in (_O.BOOTED, _O.SELF_TESTED):
            self._say(name, run, outcome)
        if device.fails and not device.lies:
            self._say(name, run, _O.ROLLED_BACK)
        else:
            self._say(name, run, _O.VERIFIED, tests=BAD if device.fails else GOOD)

    def _say(
        self, name: str, run: Run, outcome: Outcome, tests: tuple[TestResult, ...] = ()
    ) -> None:
        device, before = self.devices[name], run.targets[name]
        device.sequence += 1
        report = UpdateReport(
            device=DeviceId(name), epoch=1, sequence=device.sequence,
            at=Instant(b"", 0, self.now_s * NS, 0), release=run.release.sha256,
            component=run.release.component, counter=run.release.counter, outcome=outcome,
            tests=tests,
        )  # fmt: skip
        after = reports.take(
            before, report, acceptance=run.stored.acceptance, now_ns=self.now_s * NS
        )
        self._put(run, before, after)

    def _put(self, run: Run, before: Target, after: Target) -> None:
        run.targets[after.device] = after
        if after.standing is before.standing:
            return
        tally = run.tallies[after.wave]
        tally[before.standing] -= 1
        tally[after.standing] += 1
        if after.standing in DONE:
            run.newest_ns[after.wave] = after.since_ns
        if after.standing in SLOTTED:
            run.slots[after.device] = None
        else:
            run.slots.pop(after.device, None)
        if after.standing is Standing.PENDING:
            known = self.devices[after.device].known
            run.waiting[after.wave, (known.ward, known.device_class)].append(after.device)

    def _hub_decides(self) -> None:
        now_ns = self.now_s * NS
        if now_ns > self._windows.now_ns + deciding.HORIZON_NS // 2:
            self._windows = Windows(self._calendars, {}, now_ns)
        running = [run for run in self.runs.values() if run.stored.state is State.RUNNING]
        load = releasing.tightest(run.stored.spec for run in running)
        held = self._count(load)
        views = [self._view(run, load) for run in self.runs.values() if _alive(run)]
        for decision in deciding.decide(views, load, self._windows, held=held, now_ns=now_ns):
            self._apply(self.runs[decision.stored.name], decision)

    def _count(self, load: Load) -> frozenset[str]:
        held: set[str] = set()
        away = [
            target.device
            for run in self.runs.values()
            for target in (run.targets[d] for d in run.slots)
            if target.standing in AWAY
        ]
        for device in self._reserved(load):
            if not device.in_use(self.now_s):
                load.ready[device.known.ward, device.known.device_class] += 1
        for name in away:
            held.add(name)
            load.take(self.devices[name].member(self.now_s))
        return frozenset(held)

    def _reserved(self, load: Load) -> list[Device]:
        """Return the devices of which some must stay ready; found once for each set of limits."""
        key = tuple(load.reserves)
        if key not in self._asked:
            classes = {reserve.device_class for reserve in key}
            wards = {ward for reserve in key for ward in reserve.wards}
            self._asked[key] = [
                one
                for one in self.devices.values()
                if one.known.device_class in classes and one.known.ward in wards
            ]
        return self._asked[key]

    def _view(self, run: Run, load: Load) -> View:
        stored = run.stored
        running = Running(
            spec=stored.spec, state=stored.state, wave=stored.wave, release=run.release
        )
        return View(
            stored=stored,
            running=running,
            tallies={
                wave: Tally(counts=dict(counts), newest_ns=run.newest_ns[wave])
                for wave, counts in run.tallies.items()
            },
            slots=[(run.targets[d], self.devices[d].member(self.now_s)) for d in run.slots],
            # Nobody is looked at while no window is open: the rules would say no to each.
            waiting=list(self._waiting(run, load)) if self._open(running) else [],
        )

    def _open(self, running: Running) -> bool:
        opened = self._windows.named(frozenset(running.spec.calendars))
        return opened.fits(self.now_s * NS, needed_s=running.needed_s)

    def _waiting(self, run: Run, load: Load) -> Iterator[tuple[Target, Member]]:
        """Yield the first devices of each group, as the question to the state does."""
        most = max((budget.at_once_max for budget in load.budgets), default=1)
        for (wave, group), names in run.waiting.items():
            if wave > run.stored.wave or not names:
                continue
            # Where there is no room one is enough to say that somebody waits.
            room = most if load.free(group) > 0 else 1
            left = {True: room, False: room}
            for name in itertools.islice(names, LOOKED_MAX):
                member = self.devices[name].member(self.now_s)
                if left[member.idle]:
                    left[member.idle] -= 1
                    yield run.targets[name], member
            names.rotate(-1)

    def _apply(self, run: Run, decision: deciding.Decision) -> None:
        now_ns = self.now_s * NS
        if decision.wave != run.stored.wave:
            self._checker.opened(run.stored.name, decision.wave, self.now_s)
            run.stored = replace(run.stored, wave=decision.wave)
        if decision.order is not None:
            state = states.after(run.stored.state, decision.order)
            self._checker.ordered(run.stored.name, halted=decision.order is Order.HALT)
            run.stored = replace(run.stored, state=state, reason=decision.reason)
        for device in decision.recall:
            self._move(run, device, Standing.RECALLED, now_ns)
        for device in decision.free:
            self._move(run, device, Standing.PENDING, now_ns)
        for device in decision.assign:
            self._checker.assigned(device, run.stored.name, self.now_s)
            self._move(run, device, Standing.ASSIGNED, now_ns)
            ready_s = self.now_s + self.devices[device].download_s
            self._acts[device] = Act(run.stored.name, ready_s)

    def _move(self, run: Run, device: str, standing: Standing, now_ns: int) -> None:
        before = run.targets[device]
        known = self.devices[device].known
        if before.standing is Standing.PENDING:
            run.waiting[before.wave, (known.ward, known.device_class)].remove(device)
        after = replace(
            before,
            standing=states.moved(before.standing, standing),
            since_ns=now_ns,
            outcome=None if standing is Standing.ASSIGNED else before.outcome,
        )
        self._put(run, before, after)


def make_devices(count: int, *, wards: int, seed: int) -> dict[str, Device]:
    """Return devices with seeded habits: half of them are in use for most of the day.

    Args:
        count: How many.
        wards: In how many wards they stand.
        seed: Of everything that is drawn.
    """
    rng = random.Random(seed)  # noqa: S311 - a simulation repeats by its seed
    found: dict[str, Device] = {}
    for number in range(count):
        name = f"urn:dev:mac:{number:016x}"
        known = Member(
            device=name,
            model="V8",
            ward=f"ward-{number % wards}",
            device_class=CLASSES[number // wards % len(CLASSES)],
            idle=True,
            # Who went dark is never heard of; everybody else all the time.
            seen_ns=0 if rng.random() < 0.002 else _FOREVER_NS,
        )
        fails = rng.random() < 0.003
        period_s = rng.randrange(6 * 3_600, 30 * 3_600)
        found[name] = Device(
            known=known,
            busy=replace(known, idle=False),
            period_s=period_s,
            duty_s=rng.randrange(0, period_s * 9 // 10),
            phase_s=rng.randrange(period_s),
            download_s=rng.randrange(60, 1_200),
            install_s=rng.randrange(300, 1_500),
            fails=fails,
            lies=fails and rng.random() < 0.3,
        )
    return found


def _alive(run: Run) -> bool:
    return run.stored.state is State.RUNNING or bool(run.slots)


def verified(run: Run) -> set[str]:
    """Return the devices of which the hub believes that they run the release."""
    return {name for name, target in run.targets.items() if target.standing in DONE}
