"""Runs several listeners on the running event loop: start, reload, drain, stop."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final, Literal

import uvloop

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.hub.web.gate import Gate
from asepsis.hub.web.listener import Listener
from asepsis.hub.web.registry import ConnectionRegistry
from asepsis.hub.web.site import Clock, Site
from asepsis.hub.web.turns import Turns

TICK_S: Final = 0.5
"""How often deadlines and the admission of open streams are judged."""
KEEPALIVE_IDLE_S: Final = 15
KEEPALIVE_INTERVAL_S: Final = 5
KEEPALIVE_PROBES: Final = 3
UNACKNOWLEDGED_MS_MAX: Final = 20_000
"""A peer that acknowledges nothing for this long is gone (TCP_USER_TIMEOUT, RFC 5482)."""


class Server:
    """A running set of listeners.

    Args:
        listeners: Their configurations; names are unique.
        clock: Wall time in nanoseconds since 1970.

    Attributes:
        registry: The open connections.
        addresses: Listener name -> (host, port) as bound.
    """

    def __init__(self, listeners: Sequence[Listener], *, clock: Clock) -> None:
        names = [each.name for each in listeners]
        if not names or len(set(names)) != len(names):
            raise ConfigError("listeners need different names, and there must be one")
        self.registry = ConnectionRegistry()
        self.addresses: dict[str, tuple[str, int]] = {}
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        turns = Turns(self._loop)
        self._sites = {each.name: Site(each, self.registry, clock, turns) for each in listeners}
        self._gates: list[Gate] = []
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Bind every listener, then accept.

        Raises:
            Unavailable: An address can not be bound; nothing listens then.
        """
        sockets: list[tuple[Site, socket.socket]] = []
        try:
            for site in self._sites.values():
                sockets.append((site, _bind(site.listener)))  # noqa: PERF401 - closes what it bound
        except OSError as error:
            for _, each in sockets:
                each.close()
            raise Unavailable("a listener's address can not be bound", hint=str(error)) from error
        for site, bound in sockets:
            self.addresses[site.listener.name] = bound.getsockname()[:2]
            self._gates.append(Gate(site, bound))
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def reload_context(self, name: str, context: ssl.SSLContext) -> None:
        """Use another TLS context for every new connection of a listener; open ones go on.

        Raises:
            ConfigError: No such listener.
        """
        if name not in self._sites:
            raise ConfigError(f"no listener {name}")
        self._sites[name].context = context

    def status(self) -> Mapping[str, Mapping[str, int]]:
        """Return counts since the start and open connections per listener."""
        return {
            name: {**asdict(site.counters), "open": len(site)} for name, site in self._sites.items()
        }

    async def close(self, *, drain_s: float = 5.0) -> None:
        """Stop accepting, let running requests end, then end what is left.

        Args:
            drain_s: Time for running requests, in seconds; 0 ends them at once.
        """
        for gate in self._gates:
            gate.close()
        protocols = [each for site in self._sites.values() for each in site.protocols]
        for site in self._sites.values():
            site.draining = True
        for protocol in protocols:
            protocol.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                for site in self._sites.values():
                    await site.idle.wait()
        await self._stop()

    async def _stop(self) -> None:
        tasks = [task for site in self._sites.values() for task in site.server_state.tasks]
        for site in self._sites.values():
            site.close_all()
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        now, now_ns = self._loop.time(), self._clock()
        for site in self._sites.values():
            site.set_date()
            for protocol in list(site.protocols):
                protocol.expire(now)
                protocol.readmit(now_ns)


async def serve(listeners: Sequence[Listener], *, clock: Clock) -> Server:
    """Start listeners on the running event loop and return the server.

    Args:
        listeners: Their configurations.
        clock: Wall time in nanoseconds since 1970.

    Resource handling: The caller awaits `Server.close`.

    Raises:
        ConfigError: No listener, or two of one name.
        Unavailable: An address can not be bound.
    """
    server = Server(listeners, clock=clock)
    await server.start()
    return server


def new_loop(kind: Literal["uvloop", "asyncio"] = "uvloop") -> asyncio.AbstractEventLoop:
    """Return a new event loop: uvloop in service; both are tested.

    Args:
        kind: Which implementation.
    """
    return uvloop.new_event_loop() if kind == "uvloop" else asyncio.SelectorEventLoop()


def _bind(listener: Listener) -> socket.socket:
    """Bind one address; accepted sockets inherit the options set here."""
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    bound = socket.create_server(
        (listener.host, listener.port), family=family, backlog=listener.backlog
    )
    bound.setblocking(False)
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX),
    ):
        bound.setsockopt(level, option, value)
    return bound
