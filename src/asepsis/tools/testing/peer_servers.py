"""Scripted peers on real transports: a datagram port, and a pseudo-terminal.

A peer stays sans-IO; these threads are its cable. They answer whoever speaks last, as a monitor on
a ward network does.
"""

import contextlib
import os
import select
import socket
import threading
import time
import tty
from collections.abc import Sequence
from typing import Final

from asepsis.tools.testing.scripted_peer import Peer

TICK_S: Final = 0.05
DATAGRAM_BYTES_MAX: Final = 9_216


class UdpPeer(threading.Thread):
    """A peer on a datagram port.

    Args:
        peer: The protocol.
        host: Where it listens.
        port: 0 lets the kernel choose.

    Resource handling: `close` ends the thread and the socket.
    """

    def __init__(self, peer: Peer, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(name="udp-peer", daemon=True)
        self.peer = peer
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._client: tuple[str, int] | None = None
        self._closing = threading.Event()

    def run(self) -> None:
        """Serve until closed."""
        while not self._closing.is_set():
            readable, _, _ = select.select([self._socket], [], [], TICK_S)
            if readable:
                with contextlib.suppress(OSError):
                    data, client = self._socket.recvfrom(DATAGRAM_BYTES_MAX)
                    self._client = (str(client[0]), int(client[1]))
                    self._send(self.peer.receive(data, time.monotonic_ns()))
            self._send(self.peer.tick(time.monotonic_ns()))
        self._socket.close()

    def announce(self, data: bytes, *, port: int, host: str = "127.0.0.1") -> None:
        """Send an announcement from the peer's address."""
        self._socket.sendto(data, (host, port))

    def close(self) -> None:
        """End."""
        self._closing.set()
        self.join(5)

    def _send(self, datagrams: Sequence[bytes]) -> None:
        if self._client is None:
            return
        for data in datagrams:
            with contextlib.suppress(OSError):
                self._socket.sendto(data, self._client)


class PtyPeer(threading.Thread):
    """A peer at the far end of a pseudo-terminal.

    Args:
        peer: The protocol.

    Attributes:
        path: Of the near end, for the settings.

    Resource handling: `close` ends the thread and both ends.
    """

    def __init__(self, peer: Peer) -> None:
        super().__init__(name="pty-peer", daemon=True)
        self.peer = peer
        self._far, self._near = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self._far, False)
        self.path = os.ttyname(self._near)
        self._closing = threading.Event()

    def run(self) -> None:
        """Serve until closed."""
        while not self._closing.is_set():
            readable, _, _ = select.select([self._far], [], [], TICK_S)
            if readable:
                with contextlib.suppress(OSError):
                    data = os.read(self._far, 4_096)
                    self._send(self.peer.receive(data, time.monotonic_ns()))
            self._send(self.peer.tick(time.monotonic_ns()))
        os.close(self._far)
        os.close(self._near)

    def close(self) -> None:
        """End."""
        self._closing.set()
        self.join(5)

    def _send(self, chunks: Sequence[bytes]) -> None:
        for data in chunks:
            with contextlib.suppress(OSError):
                os.write(self._far, data)
