"""The other end of a driver: peers that answer a machine, in virtual time and without a socket.

A peer is what a machine is from the other side: bytes and ticks in, bytes out. `Conversation` lets
the two talk with time that costs nothing; `ScriptedPeer` answers by a table, for protocols that
have no peer of their own yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from asepsis.edge.gateway.drivers.sdk import (
    TICK_NS,
    Machine,
    Output,
    Send,
)

Kind = TypeVar("Kind")


class Peer(Protocol):
    """A device as a driver's machine sees it; times are monotonic nanoseconds."""

    def receive(self, data: bytes, now_ns: int) -> Sequence[bytes]:
        """Take what a machine sent; return what the device answers."""
        ...

    def tick(self, now_ns: int) -> Sequence[bytes]:
        """Return what the device sends by itself."""
        ...


@dataclass(slots=True)
class ScriptedPeer:
    """Answers what it knows by a table.

    Attributes:
        answers: What comes in -> what goes out, whole messages.
        silent: Whether its cable is out.
    """

    answers: Mapping[bytes, Sequence[bytes]]
    silent: bool = False

    def receive(self, data: bytes, now_ns: int) -> Sequence[bytes]:  # noqa: ARG002 - of a peer
        """Answer by the table."""
        return () if self.silent else self.answers.get(data, ())

    def tick(self, now_ns: int) -> Sequence[bytes]:  # noqa: ARG002 - of a peer
        """Say nothing by itself."""
        return ()


@dataclass(slots=True)
class Conversation:
    """A machine and a peer that talk in virtual time.

    Attributes:
        machine: The driver's side.
        peer: The device's side; None while the cable is out.
        now_ns: Virtual time.
        told: Everything the machine told but what it sent, in order, with the time of it.
    """

    machine: Machine
    peer: Peer | None
    now_ns: int = 1_000_000_000
    told: list[tuple[int, Output]] = field(default_factory=list[tuple[int, Output]])

    def start(self) -> None:
        """Let the machine begin."""
        self._take(self.machine.start(self.now_ns))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end_ns = self.now_ns + int(seconds * 1e9)
        while self.now_ns < end_ns:
            self.now_ns += TICK_NS
            for data in self.peer.tick(self.now_ns) if self.peer else ():
                self._take(self.machine.receive(data, self.now_ns))
            self._take(self.machine.tick(self.now_ns))

    def hear(self, kind: type[Kind], *, since_ns: int = 0) -> list[Kind]:
        """Return what the machine told of one kind."""
        return [
            output for at_ns, output in self.told if isinstance(output, kind) and at_ns >= since_ns
        ]

    def _take(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if not isinstance(output, Send):
                self.told.append((self.now_ns, output))
            elif self.peer is not None:
                for data in self.peer.receive(output.data, self.now_ns):
                    self._take(self.machine.receive(data, self.now_ns))
