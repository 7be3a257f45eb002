"""The open connections: who is behind each, and how to end them at once.

Revoking an identity must end its streams in under a second; the registry finds them by name.
"""

import itertools
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import IdentityInvalid
from asepsis.core.trust.identity import IDevId, PeerCertificate
from asepsis.core.trust.tls import unverified_chain

_numbers: Final = itertools.count(1)


class Connection:
    """One TLS connection after its handshake.

    Attributes:
        id: Number of the connection in this process, from 1.
        listener: Name of the listener.
        address: Peer address without port; empty if unknown.
        peer: Hospital identity, or None.
        peer_der: Certificate as DER, or None.
        idevid: Maker's identity on an enrolment listener, or None.
        opened_ns: Wall time of the end of the handshake, in nanoseconds since 1970.
        requests: Requests begun on it.
    """

    __slots__ = (
        "_abort",
        "_on_close",
        "_tls",
        "address",
        "closed",
        "id",
        "idevid",
        "listener",
        "opened_ns",
        "peer",
        "peer_der",
        "requests",
    )

    def __init__(
        self,
        *,
        listener: str,
        address: str,
        peer: PeerCertificate | None,
        peer_der: bytes | None,
        idevid: IDevId | None,
        opened_ns: int,
        tls: ssl.SSLObject | None,
        abort: Callable[[], None],
    ) -> None:
        self.id = next(_numbers)
        self.listener = listener
        self.address = address
        self.peer = peer
        self.peer_der = peer_der
        self.idevid = idevid
        self.opened_ns = opened_ns
        self.requests = 0
        self.closed = False
        self._tls = tls
        self._abort = abort
        self._on_close: list[Callable[[], None]] = []

    @property
    def uri(self) -> str | None:
        """Name of the identity behind the connection, or None."""
        return None if self.peer is None else self.peer.uri

    @property
    def request_id(self) -> str:
        """Name of the newest request on this connection, for logs and problem details."""
        return f"{self.id}-{self.requests}"

    def peer_chain(self) -> tuple[bytes, ...]:
        """Return the certificates that the peer sent, leaf first, as DER.

        Empty without a client certificate, and after a resumed handshake, which sends none.
        """
        if self._tls is None:
            return ()
        try:
            return unverified_chain(self._tls)
        except IdentityInvalid:
            return ()

    def close(self) -> None:
        """End the connection at once; unsent bytes are dropped."""
        self._abort()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back when the connection has ended; at once if it has already.

        A handler that streams registers here to stop waiting for its source.
        """
        if self.closed:
            callback()
        else:
            self._on_close.append(callback)

    def mark_closed(self) -> None:
        """Run the callbacks once; called by the protocol module only."""
        self.closed = True
        # Lets go of the protocol and its TLS state, which then need no cycle collector.
        self._abort, self._tls = _nothing, None
        callbacks, self._on_close = self._on_close, []
        for callback in callbacks:
            callback()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """One line of the status page."""

    id: int
    listener: str
    address: str
    uri: str | None
    opened_ns: int
    requests: int


class ConnectionRegistry:
    """All open connections of a server, by number and by identity."""

    def __init__(self) -> None:
        self._all: dict[int, Connection] = {}
        self._by_uri: dict[str, dict[int, Connection]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._all.values()))

    def add(self, connection: Connection) -> None:
        """Remember an open connection; called by the protocol module."""
        self._all[connection.id] = connection
        if connection.uri is not None:
            self._by_uri.setdefault(connection.uri, {})[connection.id] = connection

    def remove(self, connection: Connection) -> None:
        """Forget an ended connection; called by the protocol module, harmless twice."""
        if self._all.pop(connection.id, None) is None or connection.uri is None:
            return
        same = self._by_uri[connection.uri]
        del same[connection.id]
        if not same:
            del self._by_uri[connection.uri]

    def of_identity(self, uri: str, *, listener: str | None = None) -> list[Connection]:
        """Return the connections of one identity, oldest first.

        Args:
            uri: Name of the identity.
            listener: Count only this listener's.
        """
        found = self._by_uri.get(uri, {}).values()
        return [each for each in found if listener in (None, each.listener)]

    def close_identity(self, uri: str) -> int:
        """End every connection of one identity at once; return how many there were."""
        return _close(self.of_identity(uri))

    def close_where(self, matches: Callable[[Connection], bool]) -> int:
        """End every connection that matches at once; return how many there were."""
        return _close([each for each in self if matches(each)])

    def listing(self) -> list[ConnectionInfo]:
        """Return what the status page shows, oldest connection first."""
        return [
            ConnectionInfo(
                id=each.id,
                listener=each.listener,
                address=each.address,
                uri=each.uri,
                opened_ns=each.opened_ns,
                requests=each.requests,
            )
            for each in self._all.values()
        ]


def _close(connections: list[Connection]) -> int:
    for connection in connections:
        connection.close()
    return len(connections)


def _nothing() -> None:
    """Stand in for the abort of a connection that has ended."""
