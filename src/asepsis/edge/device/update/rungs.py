"""The rungs of an update beside the swap of a compartment: which activator has which component.

The least disruptive rung that a component has is the one by which it is replaced: a compartment is
swapped by the supervisor, a patch is loaded into the running kernel, an image is started anew, and
what another program installs is handed over to it. All of them ask the same two gates.
"""

import time
from collections.abc import Callable, Generator, Mapping
from typing import Final, Protocol

from asepsis.core.errors import AsepsisError, Conflict, SafetyRefusal, Unavailable
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import Criticality
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.gate import Gate
from asepsis.edge.device.permit import LONGEST_GAP_MS, UNANSWERED, UpdateRung
from asepsis.edge.device.supervisor_permits import release_digest
from asepsis.edge.device.update.memory import Target
from asepsis.edge.device.update.ports import Activator

PERMIT_S: Final = 3.0
"""Longest wait for the answer of the critical compartment."""
Refused = Callable[[str, str, str], None]
"""Told component, version and why it was not installed."""


class Permit(Protocol):
    """The critical compartment's permit for one rung."""

    def ask(self, component: str, version: str) -> None:
        """Ask.

        Raises:
            SafetyRefusal: Nobody can answer.
        """
        ...

    def verdict(self) -> str | None:
        """Return why it is not permitted, "" where it is, None where there is no answer yet."""
        ...

    def redeem(self) -> None:
        """Use it up.

        Raises:
            SafetyRefusal: It does not hold any more.
        """
        ...


class RungPermit:
    """A permit for what no compartment of the manifest stands for.

    Args:
        gate: Carries questions and answers.
        rung: How it takes effect.
        gap_ms: Longest gap in what the device measures or shows, milliseconds.
        touches: The most critical compartment that it replaces.
    """

    def __init__(self, gate: Gate, rung: UpdateRung, *, gap_ms: int, touches: Criticality) -> None:
        self._gate = gate
        self._rung = rung
        self._gap_ms = gap_ms
        self._touches = touches
        self._release = b""

    def ask(self, component: str, version: str) -> None:
        """See `Permit`."""
        self._release = release_digest(component, version)
        self._gate.ask_permit(self._release, self._rung, gap_ms=self._gap_ms, touches=self._touches)

    def verdict(self) -> str | None:
        """See `Permit`."""
        reason = self._gate.permits.reason(now_s=time.monotonic())
        return None if reason == UNANSWERED else reason

    def redeem(self) -> None:
        """See `Permit`."""
        self._gate.permits.redeem(self._release, self._rung, now_s=time.monotonic())


def states_of(rung: UpdateRung) -> frozenset[ClinicalState]:
    """Return the clinical states in which the critical compartment may permit a rung at all."""
    return frozenset(state for state, rungs in LONGEST_GAP_MS.items() if rung in rungs)


def permitted(
    permit: Permit, target: Target, *, activation: Activation, now_s: Callable[[], float]
) -> Generator[None]:
    """Wait for the permit, then have the moment judged once more and use the permit up.

    Raises:
        SafetyRefusal: There is none, or the moment is not safe any more.
        TransientError: What is about to happen cannot be written down.
    """
    permit.ask(target.component, target.version)
    until_s = now_s() + PERMIT_S
    while (why := permit.verdict()) is None:
        if now_s() > until_s:
            raise SafetyRefusal(f"no permit: {UNANSWERED}")
        yield
    if why:
        raise SafetyRefusal(f"no permit: {why}")
    try:
        activation.begins(target.component, target.version)
    except SafetyRefusal as error:
        raise SafetyRefusal(f"no permit: {error}") from error
    permit.redeem()


class Work:
    """One installation, a portion at a time.

    Args:
        refused: Told where it did not come to its end.
    """

    def __init__(self, refused: Refused) -> None:
        self._refused = refused
        self._target: Target | None = None
        self._portions: Generator[None] | None = None

    @property
    def target(self) -> Target | None:
        """What is being installed."""
        return self._target

    def begin(self, target: Target, portions: Generator[None]) -> None:
        """Begin.

        Raises:
            Conflict: Something is being installed.
        """
        if self._target is not None:
            raise Conflict("something is being installed")
        self._target, self._portions = target, portions

    def step(self) -> None:
        """Do the next portion."""
        target, portions = self._target, self._portions
        if target is None or portions is None:
            return
        try:
            next(portions)
        except StopIteration:
            self._target = None
        except AsepsisError as error:
            self._target = None
            self._refused(target.component, target.version, str(error))

    def drop(self) -> None:
        """End it; what was written so far nobody starts."""
        self._target = None
        if self._portions:
            self._portions.close()


class RungActivator(Activator, Protocol):
    """An activator with work of its own."""

    states: frozenset[ClinicalState]

    def step(self) -> None:
        """Do what is due; never waits."""
        ...

    def heard(self, compartment: str, event: str) -> None:
        """Take what the supervisor tells."""
        ...


class Rungs:
    """Every activator of a device, by component; see `ports.Activator`.

    Args:
        compartments: Of compartments: the supervisor.
        others: By the name of their component.
    """

    def __init__(self, compartments: Activator, others: Mapping[str, RungActivator]) -> None:
        self._compartments = compartments
        self.others = others

    def of(self, component: str) -> Activator:
        """Return who activates a component."""
        return self.others.get(component, self._compartments)

    def confirmed(self, component: str) -> str:
        """See `Activator`."""
        return self.of(component).confirmed(component)

    def proved(self, component: str, version: str) -> bool:
        """See `Activator`."""
        return self.of(component).proved(component, version)

    def on_trial(self, component: str, version: str) -> bool:
        """See `Activator`."""
        return self.of(component).on_trial(component, version)

    def restarts(self, component: str) -> bool:
        """See `Activator`."""
        return self.of(component).restarts(component)

    def begin(self, target: Target) -> None:
        """See `Activator`."""
        self.of(target.component).begin(target)

    def reject(self, component: str, why: str) -> None:
        """See `Activator`."""
        self.of(component).reject(component, why)

    def states(self, component: str) -> frozenset[ClinicalState] | None:
        """Return in which clinical states it may be replaced; None for what the manifest says."""
        found = self.others.get(component)
        return found.states if found else None

    def step(self) -> None:
        """Do what is due; what fails stays as it is and is tried again."""
        for activator in self.others.values():
            activator.step()

    def heard(self, compartment: str, event: str) -> None:
        """Take what the supervisor tells."""
        for activator in self.others.values():
            activator.heard(compartment, event)


def number_of(version: str) -> int:
    """Return the counter at the end of a version's name.

    Raises:
        Unavailable: It has none.
    """
    digits = version.rpartition("+")[2]
    if not digits.isdecimal():
        raise Unavailable("the version has no counter")
    return int(digits)
