"""The network between ward and hub, as a story holds it in its hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from asepsis.tools.simulator.processes import Actor

ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where somebody finds the hub.

    Attributes:
        clinical: For machines.
        enrolment: For machines without a certificate.
        people: For people.
    """

    clinical: int
    enrolment: int
    people: int


class Network(Protocol):
    """Carries what the ward sends, and can be cut."""

    @property
    def wrap(self) -> Sequence[str]:
        """Command put before every process that stands in the ward."""
        ...

    def open(self, inside: Ports, folder: Path) -> Ports:
        """Begin to carry; return the ports as the ward sees them."""
        ...

    def cut(self) -> None:
        """Carry nothing any more; nobody is told."""
        ...

    def join(self) -> None:
        """Carry again."""
        ...

    def close(self) -> None:
        """End; may be called again."""
        ...


class Switch:
    """A process that carries bytes on loopback; needs no rights."""

    def __init__(self) -> None:
        self._actor: Actor | None = None

    @property
    def wrap(self) -> Sequence[str]:
        """Nothing: the ward is on this machine's loopback like everybody."""
        return ()

    def open(self, inside: Ports, folder: Path) -> Ports:
        """Start the process; errors as `Actor.wait_for`."""
        self._actor = Actor(
            "network",
            "asepsis.tools.simulator.switch_process",
            [str(inside.clinical), str(inside.enrolment)],
            log=folder / "network.log",
        )
        clinical, enrolment = self._actor.wait_for("ready", timeout_s=ANSWER_S)["ports"]
        return Ports(clinical, enrolment, inside.people)

    def cut(self) -> None:
        """Hold everything back; errors as `Actor.wait_for`."""
        self._say("cut")

    def join(self) -> None:
        """Let it flow; errors as `Actor.wait_for`."""
        self._say("join")

    def close(self) -> None:
        """End the process."""
        if self._actor:
            self._actor.close()

    def _say(self, command: str) -> None:
        if self._actor:
            self._actor.command(command)
            self._actor.wait_for(command, timeout_s=ANSWER_S)
