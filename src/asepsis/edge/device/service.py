"""The service compartment: tells a technician's notebook what this device is. Reads nothing else.

It holds a listening socket while a person has opened the service port, and the facts that it was
started with: no ring, no key, no request. A peer sends one line and gets one line of JSON.

Source: docs/reference/supervisor.md, "The service port".
"""

import contextlib
import json
import select
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from asepsis.edge.device.compartment import Line, serve
from asepsis.edge.sandbox.control import Order

IDLE_S: Final = 0.2
LINE_BYTES_MAX: Final = 64
PATIENCE_S: Final = 2.0
"""A peer that has not sent its line by then is cut."""
FINISH_S: Final = 1.0
"""How long who has connected is still answered after the order to stop."""
PEERS_MAX: Final = 8
PORT: Final = "port"


class Service:
    """Answers until its supervisor is gone, or the port is closed.

    Args:
        listeners: Listening sockets.
        facts: What it tells.
        line: Control line.
    """

    def __init__(
        self, listeners: list[socket.socket], *, facts: dict[str, Any], line: Line
    ) -> None:
        self._listeners = listeners
        self._answer = json.dumps(facts, sort_keys=True).encode() + b"\n"
        self._line = line
        self._peers: dict[socket.socket, tuple[float, int]] = {}
        self._served = 0

    def run(self) -> None:
        """Answer."""
        while True:
            # Who does not fit waits in the queue.
            accepting = self._listeners if len(self._peers) < PEERS_MAX else []
            watched = [self._line.socket, *accepting, *self._peers]
            readable, _, _ = select.select(watched, [], [], IDLE_S)
            for ready in readable:
                if ready in self._listeners:
                    self._accept(ready)
                elif ready in self._peers:
                    self._serve(ready)
            self._cut(time.monotonic())
            if self._line.socket in readable and not self._obey():
                self._finish()
                return
            self._line.heartbeat(lambda: {"served": self._served})

    def _finish(self) -> None:
        """Answer who has connected; the next one to serve takes who comes now."""
        until_s = time.monotonic() + FINISH_S
        while self._peers and (left_s := until_s - time.monotonic()) > 0:
            readable, _, _ = select.select(list(self._peers), [], [], left_s)
            for ready in readable:
                self._serve(ready)

    def _accept(self, listener: socket.socket) -> None:
        if len(self._peers) >= PEERS_MAX:
            return
        with contextlib.suppress(OSError):  # Another process may have taken it meanwhile.
            peer, _ = listener.accept()
            peer.setblocking(False)
            self._peers[peer] = (time.monotonic(), 0)

    def _serve(self, peer: socket.socket) -> None:
        since_s, got = self._peers[peer]
        try:
            part = peer.recv(LINE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if part and b"\n" not in part and got + len(part) < LINE_BYTES_MAX:
            self._peers[peer] = (since_s, got + len(part))
            return
        if b"\n" in part:
            with contextlib.suppress(OSError):
                peer.send(self._answer)
                self._served += 1
        self._end(peer)

    def _cut(self, now_s: float) -> None:
        for peer, (since_s, _) in list(self._peers.items()):
            if now_s - since_s > PATIENCE_S:
                self._end(peer)

    def _end(self, peer: socket.socket) -> None:
        del self._peers[peer]
        peer.close()

    def _obey(self) -> bool:
        order = self._line.order()
        return order is not None and order.what != "stop"


def build(order: Order, line: Line) -> Callable[[], Service]:
    """Take the listening sockets; the rights go after this."""
    names = [name for name in order.descriptors if name.startswith(PORT)]
    listeners = [socket.socket(fileno=order.descriptors.pop(name)) for name in sorted(names)]
    for listener in listeners:
        listener.setblocking(False)
    return lambda: Service(listeners, facts=dict(order.body["facts"]), line=line)


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
