"""What the update agent works with; the supervisor and its processes fill these in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from asepsis.core.model.update import TestResult
from asepsis.edge.device.update.memory import Held, MemoryStore, Target
from asepsis.edge.device.update.moment import Situation, Terms, Window
from asepsis.edge.device.update.plan import Plan


class Activator(Protocol):
    """Puts versions of compartments into service: the supervisor."""

    def confirmed(self, component: str) -> str:
        """Return the version that starts after a power cut."""
        ...

    def proved(self, component: str, version: str) -> bool:
        """Return whether a version serves and has reported its own self-tests."""
        ...

    def on_trial(self, component: str, version: str) -> bool:
        """Return whether a version runs that a start of the device, or its end, may still undo."""
        ...

    def restarts(self, component: str) -> bool:
        """Return whether a version of it takes effect by a start of the device."""
        ...

    def begin(self, target: Target) -> None:
        """Make a version ready and activate it once the critical compartment permits.

        Raises:
            SafetyRefusal: Not in this clinical state.
            TransientError: Not now.
            InputError: There is no such version, or another one is being replaced.
        """
        ...

    def reject(self, component: str, why: str) -> None:
        """Bring the confirmed version back, at once and without a question."""
        ...


class Supply(Protocol):
    """Brings what the director assigns: fetcher and verifier."""

    def step(self) -> None:
        """Go on with a contact, or begin one that is due; never waits."""
        ...

    def offers(self) -> Sequence[Target] | None:
        """Return what the director assigns and everybody agreed on, in its order.

        None where that is not known now, because nobody answers.
        """
        ...

    def windows(self, target: Target) -> tuple[Window, ...]:
        """Return when the director allows it; none for always."""
        ...

    def ready(self, target: Target) -> bool:
        """Return whether its artefact is here and was checked."""
        ...

    def stage(self, target: Target) -> None:
        """Put it where a version belongs, and read it back.

        Raises:
            TransientError: The disk takes no more.
            AsepsisError: It is not what was signed, or has another form.
        """
        ...

    def plan(self, target: Target) -> Plan:
        """Return what its release demands.

        Raises:
            AsepsisError: It is not readable.
        """
        ...

    def verified(self, target: Target) -> None:
        """Raise the floor of its component.

        Raises:
            TransientError: The disk takes no more.
        """
        ...


class Surroundings(Protocol):
    """What the device knows of itself."""

    def situation(self) -> Situation:
        """Return what is known of now."""
        ...

    def terms(self, target: Target, plan: Plan) -> Terms:
        """Return what release, manifest and hospital demand of the moment."""
        ...

    def fingerprint(self) -> Mapping[str, str]:
        """Return the SHA-256 of what an update must not change, by name."""
        ...


class Tests(Protocol):
    """Runs the self-tests of a release in a compartment of their own."""

    def begin(self, target: Target, plan: Plan) -> None:
        """Start them; an earlier run is ended.

        Raises:
            AsepsisError: They do not start.
        """
        ...

    def results(self) -> tuple[TestResult, ...] | None:
        """Return them; None while they run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the agent works with.

    Attributes:
        store: Its memory.
        supply: Fetcher and verifier.
        activator: The supervisor.
        surroundings: What the device knows of itself.
        tests: Self-tests.
        tell: Given each new state once it is durable.
        boot: Name of this boot, for what waits for the next one.
    """

    store: MemoryStore
    supply: Supply
    activator: Activator
    surroundings: Surroundings
    tests: Tests
    tell: Callable[[Held], None]
    boot: str
