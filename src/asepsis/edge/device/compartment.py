"""What every compartment does first: take its order, get ready, give up rights, then work."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from asepsis.core.errors import AsepsisError, FramingError
from asepsis.edge.sandbox import control
from asepsis.edge.sandbox.confine import Confinement, confine
from asepsis.edge.sandbox.control import Order
from asepsis.edge.sandbox.door import PROC

WITNESS: Final = "witness"
"""Name of the line on which a compartment hands its supervisor the listener of its filter."""
HEARTBEAT_S: Final = 1.0
"""How often a compartment says that it lives, seconds."""


class Worker(Protocol):
    """The inside of a compartment."""

    def run(self) -> None:
        """Work until told to stop or left alone."""
        ...


class Line:
    """The control line as a compartment uses it.

    Args:
        control_line: Its end.
    """

    def __init__(self, control_line: socket.socket) -> None:
        self.socket = control_line
        self._due_s = 0.0

    def report(self, event: str, **details: Any) -> None:
        """Tell the supervisor; dropped if it does not listen."""
        control.send_report(self.socket, {"event": event, **details})

    def heartbeat(self, facts: Callable[[], dict[str, Any]]) -> None:
        """Say once a second that this compartment lives."""
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + HEARTBEAT_S
            self.report("alive", **facts())

    def order(self) -> Order | None:
        """Take an order that is there; None when the supervisor is gone."""
        return control.receive_order(self.socket)


def serve(control_descriptor: int, build: Callable[[Order, Line], Callable[[], Worker]]) -> None:
    """Run a compartment.

    Args:
        control_descriptor: Its end of the control line.
        build: Gets ready with all rights still there (maps rings, reads keys, loads libraries), and
            returns what makes the worker once they are gone. Of one that stands by, the second
            part waits until it is called to serve.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to judge.
    line = Line(socket.socket(fileno=control_descriptor))
    try:
        first = line.order()
        if first is None:
            return
        proc = first.descriptors.pop(PROC, None)
        witness = first.descriptors.pop(WITNESS, None)
        make = build(first, line)
        locked = confine(
            Confinement.from_document(first.body["confinement"]), proc=proc, witness=witness
        )
        line.report("confined", pid=os.getpid(), memory_locked=locked)
        if first.body.get("warm") and not _called(first, line):
            return
        make().run()
        line.report("released")
    except AsepsisError as error:
        line.report("failed", code=error.code, text=str(error)[:300])
        sys.exit(1)


def _called(first: Order, line: Line) -> bool:
    """Stand by, ready, until called to serve; what it reads comes with the call."""
    while (order := line.order()) is not None and order.what != "stop":
        if order.what == "serve":
            first.body.update(order.body)
            first.descriptors.update(order.descriptors)
            return True
    return False


def take(order: Order, name: str) -> int:
    """Return a descriptor that must have come with an order.

    Raises:
        FramingError: It did not.
    """
    try:
        return order.descriptors.pop(name)
    except KeyError:
        raise FramingError(f"order {order.what} came without {name}") from None
