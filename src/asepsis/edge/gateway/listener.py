"""MLLP ports: who is let in, how many, and the clock that judges slow ones.

Source: MLLP Release 1; REQ-TLS of the Asepsis standard for the TLS listeners.
"""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from asepsis.core.errors import ConfigError, NotPermitted, Unavailable
from asepsis.core.trust import libcrypto_x509, tls
from asepsis.edge.gateway.desk import Desk
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.policy import Door, Peer
from asepsis.edge.gateway.rate import Bucket
from asepsis.edge.gateway.session import RECEIVE_BYTES, Place, Session, SessionProtocol
from asepsis.edge.gateway.settings import ListenerTls

HANDSHAKE_S: Final = 10.0
SWEEP_S: Final = 0.25
BACKLOG: Final = 512
IP_FREEBIND: Final = 15
"""Number of ip(7), which Python 3.11 does not name."""


def listener_context(settings: ListenerTls) -> ssl.SSLContext:
    """Build the TLS context of a listener: the floor of the standard, client certificates if asked.

    Raises:
        ConfigError: A file does not load.
    """
    identity = tls.KeyAndChain(
        chain_path=Path(settings.chain_file), key_path=Path(settings.key_file)
    )
    context = tls.server_context(tls.Listener.PEOPLE, identity=identity)
    if settings.client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cafile=settings.client_ca_file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{settings.client_ca_file}: no CA certificate loads") from error
    return context


@dataclass(frozen=True, slots=True)
class Port:
    """A bound port of one listener.

    Attributes:
        door: Listener and peers.
        socket: Bound, not listening yet.
        context: TLS, None for clear text.
    """

    door: Door
    socket: socket.socket
    context: ssl.SSLContext | None


def bind(door: Door, *, lent: bool = False) -> Port:
    """Bind the port of a listener and load its certificates; a confined process can do neither.

    Args:
        door: Listener and peers.
        lent: Whether its address comes and goes, so that it may be bound before it is here
            (IP_FREEBIND of ip(7)).

    Raises:
        ConfigError: TLS files do not load.
        Unavailable: The address is taken or not ours.
    """
    settings = door.listener
    context = listener_context(settings.tls) if settings.tls else None
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, place = found[0][0], found[0][4]
        if lent:
            bound = _bind_before(family, place[:2])
        else:
            bound = socket.create_server(place[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise Unavailable(
            f"listener {settings.name}: {settings.host} port {settings.port}: {error.strerror}"
        ) from error
    return Port(door, bound, context)


def _bind_before(family: socket.AddressFamily, place: tuple[object, ...]) -> socket.socket:
    """Bind an address that may not be here yet; errors as `socket.bind`."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        bound.bind(place)
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


class MllpListener:
    """One port and its sessions.

    Args:
        port: From `bind`; owned from now on.
        desk: Where messages go.
        findings: Told who knocked.
        seen: Told where a peer came from: peer, address, SHA-256 of its public key or "".

    Resource handling: `open` listens, `close` ends the port and every session.
    """

    def __init__(
        self, port: Port, *, desk: Desk, findings: Findings, seen: Callable[[Peer, str, str], None]
    ) -> None:
        self._seen = seen
        self._port = port
        self._door = door = port.door
        self._desk = desk
        self._findings = findings
        self._sessions: dict[Session, tuple[Peer, asyncio.Transport]] = {}
        self._buckets = {
            peer.name: Bucket(per_s=peer.rate_per_s, burst=peer.burst) for peer in door.peers
        }
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        """Listen; return the port."""
        context = self._port.context
        self._server = await asyncio.get_running_loop().create_server(
            lambda: SessionProtocol(self._begin, self._buffer),
            sock=self._port.socket,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S if context else None,
            backlog=BACKLOG,
        )
        return int(self._port.socket.getsockname()[1])

    def sweep(self, now_s: float) -> None:
        """Judge the deadlines of every session.

        Args:
            now_s: The event loop's time.
        """
        for session in tuple(self._sessions):
            session.expire(now_s)

    def close(self) -> None:
        """Stop listening and end every session; what was taken is durable already."""
        if self._server is not None:
            self._server.close()
        else:
            self._port.socket.close()
        for _, transport in tuple(self._sessions.values()):
            transport.close()

    def _begin(self, transport: asyncio.Transport) -> Session | None:
        address = str(transport.get_extra_info("peername")[0])
        try:
            peer = self._door.peer_at(address)
            self._check_certificate(peer, transport)
        except NotPermitted as error:
            self._findings.note(Finding.UNKNOWN_SENDER, address, reason=str(error))
            return None
        same = sum(other is peer for other, _ in self._sessions.values())
        full = len(self._sessions) >= self._door.listener.connections_max
        if same >= peer.connections_max or full:
            self._findings.note(Finding.TOO_MANY_CONNECTIONS, peer.name)
            return None
        if peer.cleartext:
            self._findings.note(Finding.CLEARTEXT, peer.name)
        self._seen(peer, address, _key_of(transport))
        place = Place(peer, self._buckets[peer.name], self._desk, self._findings, self._ended)
        session = Session(place, transport)
        self._sessions[session] = (peer, transport)
        return session

    def _check_certificate(self, peer: Peer, transport: asyncio.Transport) -> None:
        """Compare the pinned certificate.

        Raises:
            NotPermitted: Another certificate of the same CA.
        """
        if not peer.certificates:
            return
        layer = cast("ssl.SSLObject | None", transport.get_extra_info("ssl_object"))
        der = layer.getpeercert(binary_form=True) if layer is not None else None
        if not der or hashlib.sha256(der).digest() not in peer.certificates:
            raise NotPermitted("its certificate is not the one listed")

    def _ended(self, session: Session) -> None:
        self._sessions.pop(session, None)


def _key_of(transport: asyncio.Transport) -> str:
    """Return the SHA-256 of the peer's public key, hexadecimal; empty without a certificate."""
    layer = cast("ssl.SSLObject | None", transport.get_extra_info("ssl_object"))
    der = layer.getpeercert(binary_form=True) if layer is not None else None
    if not der:
        return ""
    return hashlib.sha256(libcrypto_x509.read_certificate(der).spki_der).hexdigest()


async def sweep_forever(listeners: "list[MllpListener]") -> None:
    """Judge deadlines until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_S)
        for listener in listeners:
            listener.sweep(loop.time())
