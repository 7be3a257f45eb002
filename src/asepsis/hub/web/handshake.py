"""One TLS handshake: its deadline, its memory, and the alert that a refused peer is told.

asyncio and uvloop close a connection whose handshake failed without sending what OpenSSL wrote to
say why: a device whose certificate is refused would only see its connection end.
"""

import asyncio
import contextlib
import socket
import ssl
from asyncio import sslproto
from contextvars import ContextVar
from typing import Any, cast

from asepsis.hub.web.protocol import HttpProtocol
from asepsis.hub.web.site import Site

_connection: ContextVar[socket.socket] = ContextVar("connection")


class _AlertingTls(ssl.SSLObject):
    """Sends the alert of a failed handshake before the loop closes the connection."""

    _outgoing: ssl.MemoryBIO
    _sock: socket.socket | None

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **named: Any) -> Any:
        made = cast("Any", super())._create(incoming, outgoing, **named)  # noqa: SLF001 - ssl's
        made._outgoing, made._sock = outgoing, _connection.get(None)  # noqa: SLF001 - our own
        return made

    def do_handshake(self) -> None:
        """Go on with the handshake; see `ssl.SSLObject.do_handshake`."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            if self._sock is not None:
                # Best effort: the peer may be gone, or its buffer full.
                with contextlib.suppress(OSError):
                    self._sock.send(self._outgoing.read())
            raise
        self._sock = None


class _SharedBufferTls(sslproto.SSLProtocol):
    """asyncio's TLS with one read buffer for all connections.

    asyncio clears 256 KB for each, which is 512 MB for 2,000 peers. A buffer is filled and emptied
    within one callback, so one is enough for an event loop.
    """

    max_size = 65_536
    _shared = memoryview(bytearray(max_size))

    def get_buffer(self, n: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return the shared buffer for the next read."""
        return self._shared

    def drop_own_buffer(self) -> None:
        """Free the buffer that asyncio made; `buffer_updated` then reads the shared one."""
        self._ssl_buffer = bytearray()
        self._ssl_buffer_view = self._shared


async def shake_hands(
    site: Site, sock: socket.socket, protocol: HttpProtocol, *, handshake_s: float
) -> None:
    """Finish when TLS stands and `protocol.connection_made` was called.

    Args:
        site: The listener.
        sock: The accepted connection.
        protocol: What speaks on it then.
        handshake_s: How long it may take, in seconds.

    Raises:
        OSError: The handshake failed, took too long, or the peer went away.
        RuntimeError: The peer went away; uvloop's word for it.
    """
    loop, linger_s = site.loop, site.limits.linger_s
    # Callbacks of the handshake run in the context of this task, which is this connection's alone.
    _connection.set(sock)
    site.context.sslobject_class = _AlertingTls
    if not isinstance(loop, asyncio.BaseEventLoop):
        await loop.connect_accepted_socket(
            lambda: protocol,
            sock,
            ssl=site.context,
            ssl_handshake_timeout=handshake_s,
            ssl_shutdown_timeout=linger_s,
        )
        return
    waiter: asyncio.Future[None] = loop.create_future()
    layer = _SharedBufferTls(
        loop,
        protocol,
        site.context,
        waiter,
        server_side=True,
        ssl_handshake_timeout=cast("int", handshake_s),
        ssl_shutdown_timeout=cast("int", linger_s),
    )
    layer.drop_own_buffer()
    transport, _ = await loop.connect_accepted_socket(lambda: layer, sock)
    try:
        await waiter
    except BaseException:
        transport.abort()
        raise
