"""What the supervision of one compartment works with: processes, waits, starts and permits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from asepsis.edge.sandbox.launcher import Compartment


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a supervisor waits for what.

    Attributes:
        start_s: From a start to every self-test, seconds.
        release_s: From "let go" to the end of the process, seconds.
        trial_s: Service after which a version is the confirmed one and failures are forgiven.
        spare_s: Service after which a spare is made ready, seconds.
        permit_s: From the question for a permit to its answer, seconds.
        blind_s: What a pause between two looks counts for at most, seconds: where the machine stood
            still, nobody was silent.
    """

    start_s: float = 20.0
    release_s: float = 2.0
    trial_s: float = 30.0
    spare_s: float = 2.0
    permit_s: float = 2.0
    blind_s: float = 1.0


@dataclass(slots=True, eq=False, kw_only=True)
class Runner:
    """One process of a compartment.

    Attributes:
        process: It.
        version: Version of its code.
        likeness: What it was started by; another one would be started by the same.
        let_go: Closes what the supervisor holds for it.
        begun_s: When it was started or promoted, monotonic.
        heard_s: When it was last heard, monotonic.
        told: Self-tests it has reported.
    """

    process: Compartment
    version: str
    likeness: object
    let_go: Callable[[], None] = lambda: None
    begun_s: float = 0.0
    heard_s: float = 0.0
    told: set[str] = field(default_factory=set[str])

    def end(self) -> None:
        """End it and let go of what was held for it."""
        self.process.kill()
        self.let_go()


class Starter(Protocol):
    """Starts the processes of one compartment."""

    def start(self, version: str, *, warm: bool) -> Runner:
        """Start one; a warm one waits for `serve` once it is confined.

        Raises:
            AsepsisError: It cannot be started.
            OSError: The system refuses.
        """
        ...

    def serve(self, runner: Runner) -> None:
        """Let a warm one serve, with what it reads.

        Raises:
            AsepsisError: It takes no orders.
        """
        ...

    def likeness(self, version: str) -> object:
        """Return what a process would be started by now."""
        ...

    def may_start(self) -> bool:
        """Return whether everything that it reads is there."""
        ...


class Permit(Protocol):
    """Asks the critical compartment whether a version may be activated now."""

    def ask(self, version: str) -> None:
        """Ask; an earlier question is void.

        Raises:
            AsepsisError: Nobody can answer.
        """
        ...

    def verdict(self) -> str | None:
        """Return why it is not permitted, "" where it is, None where there is no answer yet."""
        ...

    def redeem(self) -> None:
        """Use the permit up: what it permits is begun at once.

        Raises:
            AsepsisError: It does not hold any more.
        """
        ...


class Wait(Protocol):
    """How long to wait after a failure."""

    def failed(self) -> float:
        """Count a failure and return seconds."""
        ...

    def succeeded(self) -> None:
        """Start over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the supervision of one compartment works with.

    Attributes:
        starter: Starts its processes.
        permit: Asks whether a version may be activated now.
        wait: Waits between failures.
        confirm: Given compartment and version, makes it the confirmed one, durably; raises
            TransientError where the disk refuses.
    """

    starter: Starter
    permit: Permit
    wait: Wait
    confirm: Callable[[str, str], None]


Tell = Callable[[str, str, Mapping[str, Any]], None]
"""Told compartment, event and details."""
