"""Bytes between a TLS connection and a local socket, both ways, with one buffer each."""

import contextlib
import select
import socket
import ssl
from typing import Final

CHUNK: Final = 65_536
IDLE_S: Final = 60.0
"""A connection that carries nothing for so long is cut; a session is heard of every second."""
_LATER: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


def pump(secured: ssl.SSLSocket, plain: socket.socket) -> None:
    """Carry until one side ends or nothing came for `IDLE_S`; closes both.

    One thread does both ways: a TLS connection must not be read and written at the same time.

    Args:
        secured: Connection to the device.
        plain: Near end of a local pair.
    """
    with secured, plain, contextlib.suppress(OSError):
        secured.setblocking(False)
        plain.setblocking(False)
        inward, outward = _Way(secured, plain), _Way(plain, secured)
        while not (inward.has_ended or outward.has_ended):
            inward.move()
            outward.move()
            readers = [way.source for way in (inward, outward) if not way.held]
            writers = [way.target for way in (inward, outward) if way.held]
            if not inward.held and secured.pending():
                continue  # Decrypted already: the kernel would not say that it is there.
            found = select.select(readers, writers, [], IDLE_S)
            if not found[0] and not found[1]:
                return


class _Way:
    """One way: what was read and not yet written."""

    __slots__ = ("has_ended", "held", "source", "target")

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.held = b""
        self.has_ended = False

    def move(self) -> None:
        """Read if nothing is held, and write what is."""
        if not self.held:
            with contextlib.suppress(*_LATER):
                self.held = self.source.recv(CHUNK)
                self.has_ended = not self.held
        if self.held:
            with contextlib.suppress(*_LATER):
                self.held = self.held[self.target.send(self.held) :]
