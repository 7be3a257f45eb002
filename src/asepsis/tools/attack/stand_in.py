"""The process of a gateway that reads what strangers write, held by an attacker from the start.

It takes away from itself what the real one does and then does nothing: what the real one would have
done does not matter to an attacker who holds it.
"""

from collections.abc import Callable

from asepsis.edge.device.compartment import Line, serve
from asepsis.edge.sandbox.control import Order


class StandIn:
    """Waits for the attacker.

    Args:
        line: Control line.
    """

    def __init__(self, line: Line) -> None:
        self._line = line

    def run(self) -> None:
        """Say so, and end."""
        self._line.report("nobody attacked")


def build(_: Order, line: Line) -> Callable[[], StandIn]:
    """Get ready; the rights go after this."""
    return lambda: StandIn(line)


def main(control_descriptor: int) -> None:
    """Run the process."""
    serve(control_descriptor, build)
