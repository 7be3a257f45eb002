"""What all connections of one listener share while the server runs."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.server import ServerState

from asepsis.hub.web.asgi import Message, Receive, Scope
from asepsis.hub.web.cycle import HeadLines
from asepsis.hub.web.listener import Listener
from asepsis.hub.web.registry import ConnectionRegistry
from asepsis.hub.web.turns import Turns

if TYPE_CHECKING:
    from asepsis.hub.web.protocol import HttpProtocol
    from asepsis.hub.web.reading import Reading

_NS: Final = 1_000_000_000
STALLED_S: Final = 0.25
"""A handshake that is older waits for its peer, not for us."""
Clock = Callable[[], int]


@dataclass(slots=True)
class Counters:
    """What the status page shows of one listener; all counts since the start."""

    accepted: int = 0
    refused_full: int = 0
    refused_address: int = 0
    evicted: int = 0
    handshakes_failed: int = 0
    refused_identity: int = 0
    requests: int = 0
    refused_requests: int = 0
    cut_slow: int = 0
    cut_stalled: int = 0


class Slot:
    """The place of one TCP connection among those that its listener may hold.

    Attributes:
        address: Peer address without port.
        abort: Ends the connection at once.
    """

    __slots__ = ("_site", "abort", "address")

    def __init__(self, site: "Site", address: str, abort: Callable[[], None]) -> None:
        self._site = site
        self.address = address
        self.abort = abort

    @property
    def held(self) -> bool:
        """False once the place was freed or given to a newcomer."""
        return self._site.holds(self)

    def prove(self) -> None:
        """Note that the connection got past admission: it is no longer evicted for newcomers."""
        self._site.unproven.pop(self, None)

    def release(self) -> None:
        """Free the place; harmless twice."""
        self._site.release(self)
        self.abort = _nothing


class Site:
    """One running listener.

    Args:
        listener: Its configuration.
        registry: The server's registry of open connections.
        clock: Wall time in nanoseconds since 1970.
        turns: Those of the event loop, shared by all listeners.
    """

    def __init__(
        self, listener: Listener, registry: ConnectionRegistry, clock: Clock, turns: Turns
    ) -> None:
        self.listener = listener
        self.limits = listener.limits
        self.context: ssl.SSLContext = listener.context
        self.registry = registry
        self.turns = turns
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.counters = Counters()
        self.head_lines = HeadLines(listener.headers)
        self.server_state = ServerState()
        self.config = uvicorn.Config(
            _no_app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            interface="asgi3",
        )
        self.config.load()
        self.protocols: set[HttpProtocol] = set()
        self.draining = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.unproven: dict[Slot, None] = {}
        self.handshaking: dict[Slot, float] = {}
        self._unfinished: dict[Reading, float] = {}
        self._slots: set[Slot] = set()
        self._per_address: dict[str, int] = {}
        self.set_date()

    def take(self, address: str, abort: Callable[[], None]) -> Slot | None:
        """Find a place for a new TCP connection, or None.

        A full listener evicts the oldest connection that has not got past admission, because an
        honest handshake takes milliseconds and an attacker's waits.
        """
        limits = self.limits
        count = self._per_address.get(address, 0)
        if limits.per_address_max is not None and count >= limits.per_address_max:
            self.counters.refused_address += 1
            return None
        if len(self._slots) >= limits.connections_max and not self._evict():
            self.counters.refused_full += 1
            return None
        slot = Slot(self, address, abort)
        self._slots.add(slot)
        self.idle.clear()
        self.unproven[slot] = None
        self._per_address[address] = count + 1
        self.counters.accepted += 1
        return slot

    def may_begin(self, room: int) -> bool:
        """Say whether another handshake may begin; makes room by cutting who was slow too long.

        Args:
            room: Handshakes that may be in progress besides those that have stalled.
        """
        limits, now = self.limits, self.loop.time()
        patient_since = now - limits.patience_s
        if self._handshakes_moving(now, room) >= room:
            return False
        if len(self.handshaking) >= limits.handshakes_max:
            slot, began = next(iter(self.handshaking.items()))
            if began > patient_since:
                return False
            del self.handshaking[slot]
            self.counters.cut_slow += 1
            slot.abort()
        if len(self._unfinished) >= limits.unfinished_max:
            began = next(iter(self._unfinished.values()))
            if began > patient_since:
                return False
            self._cut_oldest_request()
        return True

    def _handshakes_moving(self, now: float, most: int) -> int:
        """Count handshakes begun just now, up to `most`: the others wait for their peers."""
        count = 0
        for began in reversed(self.handshaking.values()):
            if began < now - STALLED_S or count == most:
                break
            count += 1
        return count

    def begin_request(self, protocol: "Reading") -> None:
        """Note a connection whose request is not complete; far too many, and the oldest is cut."""
        self._unfinished[protocol] = self.loop.time()
        limits = self.limits
        if len(self._unfinished) > limits.unfinished_max + limits.handshakes_max:
            self._cut_oldest_request()

    def finish_request(self, protocol: "Reading") -> None:
        """Note that the request is complete, or the connection at its end; harmless twice."""
        self._unfinished.pop(protocol, None)

    def _cut_oldest_request(self) -> None:
        oldest = next(iter(self._unfinished))
        del self._unfinished[oldest]
        self.counters.cut_slow += 1
        oldest.abort()

    def holds(self, slot: Slot) -> bool:
        """Say whether a place is still taken."""
        return slot in self._slots

    def release(self, slot: Slot) -> None:
        """Free a place; harmless twice."""
        if slot not in self._slots:
            return
        self._slots.discard(slot)
        if not self._slots:
            self.idle.set()
        self.unproven.pop(slot, None)
        left = self._per_address[slot.address] - 1
        if left:
            self._per_address[slot.address] = left
        else:
            del self._per_address[slot.address]

    def __len__(self) -> int:
        """Return the open TCP connections, handshakes included."""
        return len(self._slots)

    def set_date(self) -> None:
        """Render the Date field anew."""
        self.head_lines.set_date(formatdate(self.clock() / _NS, usegmt=True).encode())

    def close_all(self) -> None:
        """End every connection at once, handshakes included."""
        for slot in list(self._slots):
            slot.abort()

    def _evict(self) -> bool:
        oldest = next(iter(self.unproven), None)
        if oldest is None:
            return False
        self.counters.evicted += 1
        oldest.abort()
        self.release(oldest)
        return True


async def _no_app(_scope: Scope, _receive: Receive, _send: Callable[[Message], object]) -> None:
    """Satisfy uvicorn's configuration; every request goes to its listener's own application."""


def _nothing() -> None:
    """Stand in for an abort, so that an ended connection is freed without the cycle collector."""
