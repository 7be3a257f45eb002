"""What a caller says about one listener, and the port that decides who may connect."""

import ssl
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from asepsis.core.errors import ConfigError
from asepsis.core.trust.identity import PeerCertificate
from asepsis.hub.web.asgi import App, Headers
from asepsis.hub.web.limits import Limits


class Admission(Protocol):
    """Decides from memory who stands behind a connection; filled by `hub.registry`.

    Called after every handshake, before every request and once a second for every open
    connection, so it must not wait for anything.
    """

    def admit(self, peer: PeerCertificate | None, listener: str, now_ns: int) -> object:
        """Return the principal of a peer.

        Args:
            peer: Hospital identity of the peer; None if it showed none, or a maker's.
            listener: Name of the listener.
            now_ns: Wall time in nanoseconds since 1970.

        Raises:
            NotAuthenticated: This listener wants an identity and there is none.
            IdentityRevoked: The identity is revoked.
            IdentityExpired: The certificate is outside its validity.
            IdentityInvalid: The certificate is not one of this hub's.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One address, its TLS context, its application and its limits.

    Attributes:
        name: Name given to `Admission`, in the scope and in the status.
        host: Address to bind.
        port: Port to bind; 0 lets the kernel choose, see `Server.addresses`.
        context: TLS context; built by `core.trust.tls.server_context`.
        app: ASGI application.
        admission: Who may connect.
        limits: What is refused.
        idevid: True on the enrolment listener: a certificate that is no hospital identity is read
            as a maker's IDevID and given to the application as such, never as a peer.
        strangers: True on a listener whose peers' certificates are no identities of this hospital:
            TLS has checked them, they are no peer, and the application judges their DER.
        challenge: WWW-Authenticate of a 401.
        headers: Header fields of every answer, besides Date, no-store and nosniff.
        backlog: Connections that the kernel keeps before they are accepted.
        patient: Paths whose requests wait their turn when the event loop is busy; all others are
            begun at once.
        streams: Method and path, as `POST /store`, of requests whose bodies are long and read as
            they come, also of every path below: they have a limit and a deadline of their own.
    """

    name: str
    host: str
    port: int
    context: ssl.SSLContext
    app: App
    admission: Admission
    limits: Limits
    idevid: bool = False
    strangers: bool = False
    challenge: str = "Bearer"
    headers: Headers = field(default_factory=list[tuple[bytes, bytes]])
    backlog: int = 2_048
    patient: Collection[str] = frozenset()
    streams: Collection[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("a listener needs a name")
        if not 0 <= self.port < 65_536:
            raise ConfigError(f"listener {self.name}: no such port: {self.port}")

    def is_streamed(self, method: str, path: str) -> bool:
        """Say whether the body of such a request is read as it comes."""
        asked = f"{method} {path}/"
        return any(asked.startswith(each + "/") for each in self.streams)
