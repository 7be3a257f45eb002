"""The time compartment: asks the hub for signed time, verifies it, tells the origin compartment.

It holds no key and no file. What it tells is 20 bytes on a line that nothing comes back on, so the
compartment with the origin key parses nothing that came over the network.
"""

import base64
import contextlib
import encodings.idna
import random
import select
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from asepsis.core.errors import AsepsisError, TrustError
from asepsis.core.trust import libcrypto_binding, tls
from asepsis.edge.device.clock import BUILD_NS, Reading
from asepsis.edge.device.compartment import Line, serve, take
from asepsis.edge.sandbox.broker import BrokerClient
from asepsis.edge.sandbox.control import Order
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.caretaker import TIME_AGE_S_MAX, signed_time
from asepsis.edge.uplink.connection import Endpoint, HubConnection

TELL_S: Final = 5.0
"""How often the time is told, seconds: an origin compartment started anew waits no longer."""
IDLE_S: Final = 0.5
CONNECT_TIMEOUT_S: Final = 5.0
_PRELOADED: Final = (encodings.idna,)


class Timekeeper:
    """Asks once an hour until its supervisor is gone.

    Args:
        connect: Opens a connection to the enrolment listener.
        root_der: Pinned root.
        out: Line to the origin compartment.
        line: Control line.
    """

    def __init__(
        self,
        connect: Callable[[], HubConnection],
        *,
        root_der: bytes,
        out: socket.socket,
        line: Line,
    ) -> None:
        self._connect = connect
        self._root_der = root_der
        self._out = out
        self._line = line
        self._backoff = Backoff(rng=random.Random(), cap_s=8.0)  # noqa: S311 - jitter
        self._reading: Reading | None = None
        self._ask_s = 0.0
        self._tell_s = 0.0

    def run(self) -> None:
        """Keep the time."""
        while True:
            readable, _, _ = select.select([self._line.socket], [], [], IDLE_S)
            if readable and ((order := self._line.order()) is None or order.what == "stop"):
                return
            now_s = time.monotonic()
            if now_s >= self._ask_s:
                self._ask(now_s)
            if self._reading is not None and now_s >= self._tell_s:
                self._tell_s = now_s + TELL_S
                with contextlib.suppress(OSError):  # A full line: the reader is away for now.
                    self._out.send(self._reading.at(time.monotonic_ns()).encode())
            self._line.heartbeat(self._facts)

    def _ask(self, now_s: float) -> None:
        hub = self._connect()
        asked_ns = time.monotonic_ns()
        try:
            wall_ns = signed_time(hub, root_der=self._root_der)
            if wall_ns < BUILD_NS:
                raise TrustError("signed time is older than this software")
        except AsepsisError:
            self._ask_s = now_s + self._backoff.failed()
            return
        finally:
            hub.close()
        round_trip_ns = time.monotonic_ns() - asked_ns
        # Half the round trip is the error; one millisecond at least.
        self._reading = Reading(
            wall_ns, asked_ns + round_trip_ns // 2, 1 + round_trip_ns // 2_000_000
        )
        self._backoff.succeeded()
        self._ask_s, self._tell_s = now_s + TIME_AGE_S_MAX, now_s

    def _facts(self) -> dict[str, Any]:
        return {"synchronised": self._reading is not None}


def build(order: Order, line: Line) -> Callable[[], Timekeeper]:
    """Load every library; the rights go after this."""
    libcrypto_binding.library()
    root_der = base64.b64decode(order.body["root"])
    endpoint = Endpoint(str(order.body["host"]), int(order.body["port"]))
    client = BrokerClient([take(order, "channel0")])
    out = socket.socket(fileno=take(order, "out"))
    out.setblocking(False)
    context = tls.client_context_without_time_check(root_der=root_der)

    def connect() -> HubConnection:
        return HubConnection(
            endpoint,
            context,
            now_ns=None,
            timeout_s=CONNECT_TIMEOUT_S,
            dial=lambda _, timeout_s: client.dial(0, timeout_s=timeout_s),
        )

    return lambda: Timekeeper(connect, root_der=root_der, out=out, line=line)


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
