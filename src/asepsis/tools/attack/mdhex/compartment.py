"""The same services in a compartment of their own; carried in as text, like every attacker.

It holds six listening sockets that were made for it, one folder, and nothing of the monitor.
"""

import json
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asepsis.edge.device.compartment import Line as ControlLine
from asepsis.edge.device.compartment import serve as serve_compartment
from asepsis.edge.device.compartment import take
from asepsis.edge.sandbox.control import Order
from asepsis.tools.attack.mdhex.services import SERVICES, serve


@dataclass(frozen=True, slots=True)
class Alone:
    """Services, and no monitor.

    Attributes:
        folder: Its folder.
        line: Control line.
        wired: Whether a maker has wired remote keys to the bedside.
    """

    folder: Path
    line: ControlLine
    wired: bool

    def press(self, key: str) -> str:
        """Pass a key on, where a maker has made a way for it."""
        if not self.wired:
            return json.dumps({key: "denied: there is no way for a key"})
        self.line.report("key", key=key)
        return json.dumps({key: "SUCCEEDED"})


class Services:
    """Serves until its supervisor is gone.

    Args:
        listeners: By name of the service.
        world: What they are part of.
    """

    def __init__(self, listeners: dict[str, socket.socket], world: Alone) -> None:
        self._listeners = listeners
        self._world = world

    def run(self) -> None:
        """Serve."""
        serve(self._listeners, self._world, beat=self._beat)

    def _beat(self) -> bool:
        line = self._world.line
        line.heartbeat(dict)
        readable, _, _ = select.select([line.socket], [], [], 0)
        return not readable or ((order := line.order()) is not None and order.what != "stop")


def build(order: Order, line: ControlLine) -> Callable[[], Services]:
    """Take the sockets; the rights go after this."""
    listeners = {name: socket.socket(fileno=take(order, name)) for name in SERVICES}
    world = Alone(Path(order.body["state"]), line, bool(order.body["wired"]))
    return lambda: Services(listeners, world)


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve_compartment(control_descriptor, build)
