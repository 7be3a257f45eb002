"""From an accepted TCP connection to a TLS one: places, paced handshakes, a handshake deadline.

The TCP connection is counted before any memory is spent on TLS. Handshakes are begun a few per
turn of the event loop: 1,000 devices that reconnect at once then share the loop with the requests
of established connections instead of stopping them for seconds.
"""

import contextlib
import logging
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from asepsis.hub.web.handshake import shake_hands
from asepsis.hub.web.protocol import HttpProtocol
from asepsis.hub.web.site import Site, Slot

ACCEPTED_PER_TURN: Final = 64
"""Connections accepted in one turn of the event loop."""
STARTS_PER_TURN: Final = 4
ROOM_MIN: Final = 8
"""Handshakes that may be in progress however long the turns are."""
TURN_CPU_S_MAX: Final = 0.008
"""A turn of the event loop that computes longer has too many handshakes in it."""
RETRY_S: Final = 0.002
"""When to look again for room for a handshake."""
PAUSE_S: Final = 0.2
"""Pause when the process is out of file descriptors."""
_log: Final = logging.getLogger("asepsis.hub.web")


class Pacer:
    """Begins queued handshakes as fast as the turns of the event loop stay short.

    What a turn costs is not the handshakes it begins but the steps of those in progress, so their
    number adapts: it grows while turns are short and shrinks when one was long. Established
    connections then wait for a few milliseconds, whatever the storm.

    The newest waiting goes first: under a flood an honest peer is served before those that wait
    only to hold a place, and in an honest storm all are served within seconds anyway.

    Args:
        site: The listener; its connection limit bounds the queue.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._loop = site.loop
        self._queue: deque[Callable[[], None]] = deque()
        self._scheduled = False
        self._room = float(ROOM_MIN)
        self._cpu_s = 0.0

    def submit(self, begin: Callable[[], None]) -> None:
        """Queue one handshake."""
        self._queue.append(begin)
        if not self._scheduled:
            self._scheduled = True
            self._again(0)

    def _again(self, delay_s: float) -> None:
        # CPU time, not the clock: a busy machine is no reason to make peers wait longer still.
        self._cpu_s = time.thread_time()
        if delay_s:
            self._loop.call_later(delay_s, self._turn)
        else:
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if time.thread_time() - self._cpu_s > TURN_CPU_S_MAX:
            self._room = max(ROOM_MIN, self._room * 0.7)
        else:
            self._room = min(self._site.limits.handshakes_max, self._room + 0.25)
        for _ in range(STARTS_PER_TURN):
            if not self._queue:
                self._scheduled = False
                return
            if not self._site.may_begin(int(self._room)):
                self._again(RETRY_S)
                return
            self._queue.pop()()
        self._again(0)


class Gate:
    """Accepts the connections of one listener.

    The loops' own servers would build the TLS layer before the address can be judged; here a
    connection that waits is nothing but a socket, whose bytes stay in the kernel.

    Args:
        site: The listener.
        bound: Its listening socket, non-blocking; closed by `close`.
    """

    def __init__(self, site: Site, bound: socket.socket) -> None:
        self._site = site
        self._bound = bound
        self._pacer = Pacer(site)
        site.loop.add_reader(bound, self._accept)

    def close(self) -> None:
        """Stop accepting; harmless twice."""
        if self._bound.fileno() >= 0:
            self._site.loop.remove_reader(self._bound)
            self._bound.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            try:
                sock, peer = self._bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._admit(sock, str(peer[0]))

    def _pause(self, error: OSError) -> None:
        """Wait for file descriptors or memory: the kernel keeps who knocks."""
        _log.error("listener %s cannot accept: %s", self._site.listener.name, error.strerror)
        self._site.loop.remove_reader(self._bound)
        self._site.loop.call_later(PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self._bound.fileno() >= 0:
            self._site.loop.add_reader(self._bound, self._accept)

    def _admit(self, sock: socket.socket, address: str) -> None:
        slot = self._site.take(address, partial(_hang_up, sock))
        if slot is None:
            _reset(sock)
            return
        sock.setblocking(False)
        self._pacer.submit(partial(self._begin, sock, slot, self._site.loop.time()))

    def _begin(self, sock: socket.socket, slot: Slot, accepted_at: float) -> None:
        left_s = self._site.limits.handshake_s - (self._site.loop.time() - accepted_at)
        if self._site.draining or not slot.held or left_s <= 0:
            slot.release()
            sock.close()
            return
        self._site.handshaking[slot] = self._site.loop.time()
        task = self._site.loop.create_task(self._secure(sock, slot, left_s))
        self._site.server_state.tasks.add(task)
        task.add_done_callback(self._site.server_state.tasks.discard)

    async def _secure(self, sock: socket.socket, slot: Slot, handshake_s: float) -> None:
        site = self._site
        protocol = HttpProtocol(site, slot)
        # Garbage, a refused certificate, the deadline, or a peer that went away meanwhile
        # (uvloop says RuntimeError when the transport has closed under it).
        with contextlib.suppress(OSError, RuntimeError):
            await shake_hands(site, sock, protocol, handshake_s=handshake_s)
        site.handshaking.pop(slot, None)
        if protocol.connection is None:
            site.counters.handshakes_failed += 1
            slot.release()
            protocol.discard()


def _hang_up(sock: socket.socket) -> None:
    """End a connection whose socket somebody else reads: its reader sees the end."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _reset(sock: socket.socket) -> None:
    """Close without keeping the kernel's state of a connection that nobody wanted."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
