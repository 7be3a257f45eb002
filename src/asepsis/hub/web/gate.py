"""From an accepted TCP connection to a TLS one: places, paced handshakes, a handshake deadline.

The TCP connection is counted before any memory is spent on TLS. Handshakes are begun a few per
turn of the event loop: 1,000 devices that reconnect at once then share the loop with the requests
of established connections instead of stopping them for seconds.
"""

import asyncio
from asyncio import sslproto
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from asepsis.hub.web.protocol import HttpProtocol
from asepsis.hub.web.site import Site, Slot

_BUFFER_BYTES: Final = 32_768


class Pacer:
    """Starts queued work a few items per turn of the event loop, in order.

    Args:
        loop: The running event loop.
        per_turn: Items begun in one turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, per_turn: int) -> None:
        self._loop = loop
        self._per_turn = per_turn
        self._queue: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def submit(self, start: Callable[[], None]) -> None:
        """Queue one item; the listener's connection limit bounds the queue."""
        self._queue.append(start)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        for _ in range(min(self._per_turn, len(self._queue))):
            self._queue.popleft()()
        self._scheduled = bool(self._queue)
        if self._scheduled:
            self._loop.call_soon(self._turn)


class Gate(asyncio.Protocol):
    """One accepted TCP connection until its handshake has ended.

    Args:
        site: The listener that accepted it.
        pacer: Shared by all connections of the listener.
    """

    def __init__(self, site: Site, pacer: Pacer) -> None:
        self._site = site
        self._pacer = pacer
        self._slot: Slot | None = None
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find a place and queue the handshake, or end the connection."""
        self._transport = cast("asyncio.Transport", transport)
        address = _address(self._transport)
        slot = None if self._site.draining else self._site.take(address, self._transport.abort)
        if slot is None:
            self._transport.abort()
            return
        self._slot = slot
        self._accepted_at = self._site.loop.time()
        self._transport.pause_reading()
        self._pacer.submit(self._begin)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Free the place of a connection that ended before its handshake began."""
        self._lost = True
        if self._slot is not None:
            self._slot.release()

    def _begin(self) -> None:
        if not self._lost and not self._transport.is_closing():
            task = self._site.loop.create_task(self._secure())
            self._site.server_state.tasks.add(task)
            task.add_done_callback(self._site.server_state.tasks.discard)

    async def _secure(self) -> None:
        site, slot = self._site, cast("Slot", self._slot)
        protocol = HttpProtocol(site, slot)
        waited_s = site.loop.time() - self._accepted_at
        try:
            tls = await _start_tls(
                site,
                self._transport,
                protocol,
                handshake_s=max(0.1, site.limits.handshake_s - waited_s),
            )
        except (OSError, ValueError, RuntimeError):
            # Garbage, a refused certificate, the deadline, or a peer that went away meanwhile
            # (uvloop says RuntimeError when the transport has closed under it).
            site.counters.handshakes_failed += 1
            slot.release()
            self._transport.abort()
            return
        protocol.connection_made(tls)


class _SmallBufferTls(sslproto.SSLProtocol):
    """asyncio's TLS with a read buffer of 32 KB: its own 256 KB would be 512 MB for 2,000 peers."""

    max_size = _BUFFER_BYTES


async def _start_tls(
    site: Site, transport: asyncio.Transport, protocol: asyncio.Protocol, *, handshake_s: float
) -> asyncio.BaseTransport:
    loop = site.loop
    if not isinstance(loop, asyncio.BaseEventLoop):
        tls = await loop.start_tls(
            transport,
            protocol,
            site.context,
            server_side=True,
            ssl_handshake_timeout=handshake_s,
            ssl_shutdown_timeout=site.limits.linger_s,
        )
        return cast("asyncio.BaseTransport", tls)
    waiter: asyncio.Future[None] = loop.create_future()
    layer = _SmallBufferTls(
        loop,
        protocol,
        site.context,
        waiter,
        server_side=True,
        call_connection_made=False,
        ssl_handshake_timeout=cast("int", handshake_s),
        ssl_shutdown_timeout=site.limits.linger_s,
    )
    transport.set_protocol(layer)
    layer.connection_made(transport)
    transport.resume_reading()
    await waiter
    return cast("asyncio.BaseTransport", layer._app_transport)  # type: ignore[attr-defined]  # noqa: SLF001 - as asyncio's own start_tls


def _address(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    return cast("tuple[str, int]", peer)[0] if isinstance(peer, tuple) and peer else ""
