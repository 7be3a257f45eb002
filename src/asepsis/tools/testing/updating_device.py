"""A device in memory for the update agent: everything but the agent is simulated, on one disk.

The supervisor's part keeps its confirmed versions with the real store, on the same faulty disk as
the agent's memory, so that a power cut falls between any two of their operations.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import AsepsisError, TransientError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.update import TestResult
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.update.agent import Agent
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.memory import Held, MemoryStore, Target
from asepsis.edge.device.update.moment import Situation, Terms, Window
from asepsis.edge.device.update.plan import Plan, PlannedTest
from asepsis.edge.device.update.ports import Activator, Means
from asepsis.edge.sandbox.supervision_disk import Disk
from asepsis.edge.sandbox.supervision_state import Confirmed, StateStore

IN_USE_TOO: Final = frozenset(
    {ClinicalState.IN_USE, ClinicalState.STANDBY, ClinicalState.IDLE, ClinicalState.CLEANING,
     ClinicalState.MAINTENANCE}
)  # fmt: skip
ONLY_IDLE: Final = frozenset({ClinicalState.IDLE})
TEST: Final = PlannedTest(name="heart-rate", low=59, high=61, unit="/min")


def target(counter: int = 2, *, component: str = "network", reboot: str = "component") -> Target:
    """Return a release of a component."""
    return Target(
        release=f"{counter:064x}",
        path=f"m5/{component}-{counter}.tar",
        component=component,
        version=f"1.{counter}",
        counter=counter,
        floor=counter,
        reboot=reboot,
    )


@dataclass(slots=True, kw_only=True)
class Bedside:
    """What happens around a device.

    Attributes:
        state: Clinical state.
        attached: Whether a patient is attached.
        alarms: Active alarm conditions.
        occupied: Why it is not idle although it looks so.
        mains: Whether it runs on mains.
        reachable: Whether the hub answers.
        wall_s: Trusted time, or None.
        limits: Alarm limits, as their hash.
    """

    state: ClinicalState = ClinicalState.IDLE
    attached: bool = False
    alarms: int = 0
    occupied: frozenset[Occupied] = frozenset()
    mains: bool = True
    reachable: bool = True
    wall_s: int | None = 1_700_000_000
    limits: str = "a" * 64


@dataclass(slots=True, kw_only=True)
class Device:
    """One device; a new object on the same disk is the device after a start.

    Attributes:
        disk: Where agent, floors and supervisor keep what they keep.
        bedside: What happens around it.
        offered: What the director assigns; None for no answer.
        states: Clinical states in which its releases may be installed.
        measured: What the self-test finds.
        falls: Versions that end at once.
        consent: Whether a person has to agree.
        reserve: Whether it stands ready for an emergency.
        windows_here: When the device's own settings allow installations.
        assigned: When the director does.
        acceptance: Whether biomedical engineering has to accept the device.
        changes: What the release changes on purpose.
        boot: Name of this boot.
        on_permit: Done between the judgement of the moment and the permit.
        on_installed: Done once the new version serves.
        now_s: Monotonic seconds.
        activator: Another one in the supervisor's place; None for the supervisor.
        told: Every state that was told.
        served: Every version that served, in order.
    """

    disk: Disk
    bedside: Bedside = field(default_factory=Bedside)
    offered: Sequence[Target] | None = ()
    states: frozenset[ClinicalState] = IN_USE_TOO
    measured: float = 60.0
    falls: frozenset[str] = frozenset()
    consent: bool = False
    reserve: bool = False
    windows_here: tuple[Window, ...] = ()
    assigned: tuple[Window, ...] = ()
    acceptance: bool = False
    changes: frozenset[str] = frozenset()
    boot: str = "boot-1"
    on_permit: Callable[[], None] = lambda: None
    on_installed: Callable[[], None] = lambda: None
    now_s: float = 100.0
    activator: Activator | None = None
    told: list[Held] = field(default_factory=list[Held])
    served: list[str] = field(default_factory=list[str])
    agent: Agent = field(init=False)
    _state: StateStore = field(init=False)
    _kept: Confirmed = field(init=False)
    _wanted: Target | None = None
    _trial: str = ""

    def __post_init__(self) -> None:
        self._state = StateStore(self.disk)
        self._kept = self._state.load()
        self.served.append(self.confirmed("network"))
        self.agent = Agent(
            Means(
                store=MemoryStore(self.disk),
                supply=self,
                activator=self.activator or self,
                surroundings=self,
                tests=_Bench(self),
                tell=self.told.append,
                boot=self.boot,
            )
        )

    def run(self, steps: int = 12, *, step_s: float = 6.0) -> "Device":
        """Let time pass; returns the device."""
        for _ in range(steps):
            self.agent.step()
            self._supervise()
            self.now_s += step_s
            if self.bedside.wall_s is not None:
                self.bedside.wall_s += int(step_s)
        return self

    @property
    def version(self) -> str:
        """The version of its network compartment that serves."""
        return self.served[-1]

    @property
    def outcomes(self) -> list[str]:
        """What was told, as words."""
        return [held.outcome.value for held in self.told]

    def confirmed(self, component: str) -> str:
        """See `Activator`."""
        return self._kept.version(component)

    def proved(self, component: str, version: str) -> bool:
        """See `Activator`."""
        return component == "network" and self._trial == version

    def on_trial(self, component: str, version: str) -> bool:  # noqa: ARG002 - of the port
        """See `Activator`: a start of the device ends every trial of a compartment."""
        return False

    def restarts(self, component: str) -> bool:  # noqa: ARG002 - of the port
        """See `Activator`."""
        return False

    def begin(self, target: Target) -> None:
        """See `Activator`."""
        self._wanted = target

    def reject(self, component: str, why: str) -> None:  # noqa: ARG002 - of the port
        """See `Activator`."""
        if self._trial:
            self._back(why)

    def step(self) -> None:
        """See `Supply`."""

    def offers(self) -> Sequence[Target] | None:
        """See `Supply`."""
        return self.offered

    def windows(self, target: Target) -> tuple[Window, ...]:  # noqa: ARG002 - of the port
        """See `Supply`."""
        return self.assigned

    def ready(self, target: Target) -> bool:  # noqa: ARG002 - of the port
        """See `Supply`."""
        return True

    def stage(self, target: Target) -> None:
        """See `Supply`."""

    def plan(self, target: Target) -> Plan:  # noqa: ARG002 - of the port
        """See `Supply`."""
        return Plan(
            states=self.states,
            run_s=60,
            rollback_s=30,
            consent=self.consent,
            acceptance=self.acceptance,
            changes=self.changes,
            tests=(TEST,),
        )

    def verified(self, target: Target) -> None:
        """See `Supply`."""
        Floors(self.disk).verified(target.component, target.floor)

    def situation(self) -> Situation:
        """See `Surroundings`."""
        here = self.bedside
        return Situation(
            state=here.state,
            attached=here.attached,
            alarms=here.alarms,
            occupied=here.occupied,
            mains=here.mains,
            reachable=here.reachable,
            wall_s=here.wall_s,
            now_s=self.now_s,
        )

    def terms(self, target: Target, plan: Plan) -> Terms:  # noqa: ARG002 - of the port
        """See `Surroundings`."""
        return Terms(
            states=plan.states,
            run_s=plan.run_s,
            rollback_s=plan.rollback_s,
            consent=plan.consent,
            reserve=self.reserve,
            windows=self.windows_here,
        )

    def fingerprint(self) -> Mapping[str, str]:
        """See `Surroundings`."""
        return {"alarm-limits": self.bedside.limits, "network": "b" * 64}

    def _supervise(self) -> None:
        """What the supervisor does between two steps: permit, hand over, keep."""
        if self._wanted:
            self._activate(self._wanted)
        elif self._trial:
            self._keep(self._trial)

    def _activate(self, wanted: Target) -> None:
        self._wanted = None
        self.on_permit()
        try:
            self.agent.begins(wanted.component, wanted.version)
        except AsepsisError as error:
            details = {"why": f"no permit: {error}", "version": wanted.version}
            self.agent.heard(wanted.component, "version-refused", details)
            return
        self._trial = wanted.version
        self.served.append(wanted.version)
        self.on_installed()
        if wanted.version in self.falls:
            self._back("ended")

    def _keep(self, version: str) -> None:
        state = self._kept.confirm("network", version)
        try:
            self.agent.keeps("network", version)
            self._state.save(state)
        except TransientError:
            return
        self._kept, self._trial = state, ""

    def _back(self, why: str) -> None:
        version, self._trial = self._trial, ""
        self.served.append(self.confirmed("network"))
        self.agent.heard("network", why, {"rolled_back": version, "why": why})


@dataclass(slots=True)
class _Bench:
    """Self-tests that take one step."""

    device: Device
    _ran: bool = False

    def begin(self, target: Target, plan: Plan) -> None:  # noqa: ARG002 - of the port
        """See `Tests`."""
        self._ran = False

    def results(self) -> tuple[TestResult, ...] | None:
        """See `Tests`."""
        if not self._ran:
            self._ran = True
            return None
        return (TEST.result(self.device.measured),)
