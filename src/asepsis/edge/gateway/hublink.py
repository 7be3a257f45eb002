"""One kept connection to the hub that posts one message at a time.

The hub answers the requests of a connection one after the other, so a second one in flight would
gain nothing and could overtake the first if that has to be repeated.

Source: RFC 9112 (HTTP/1.1 messages), only what the hub's own answers use.
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, cast

from asepsis.core.errors import (
    AsepsisError,
    IdentityExpired,
    IdentityInvalid,
    InputError,
    TransientError,
    TrustError,
    Unavailable,
)
from asepsis.edge.gateway.spool import Parcel
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import Endpoint, refusal

HEAD_BYTES_MAX: Final = 16_384
BODY_BYTES_MAX: Final = 65_536
CONNECT_S: Final = 10.0
REFUSED_WAIT_S: Final = 5.0
"""Wait after the hub refused this identity, seconds; a person may release it again."""
_FINAL: Final = frozenset((400, 413, 415, 422))
"""Answers that mean: these bytes will never be taken."""


class LinkState(Enum):
    """What a link is doing."""

    DOWN = "down"
    IDLE = "idle"
    BUSY = "busy"


Answered = Callable[["HubLink", Parcel, AsepsisError | None], None]
"""Told None for a stored message, InputError for a refused one, other errors: send it again."""


class HubLink(asyncio.Protocol):
    """Connects, posts, reconnects.

    Args:
        endpoint: The hub's clinical listener.
        context: Returns the TLS context of now; asked at every connect.
        check: Judges the hub's certificate after the handshake; raises TrustError or Unavailable.
        backoff: Waiting times between attempts.
        idle: Told when the link can take a message.
        answered: Told what became of one.
        failed: Told why a connection failed or the hub pushed back.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        context: Callable[[], ssl.SSLContext],
        check: Callable[[ssl.SSLObject], None],
        backoff: Backoff,
        idle: "Callable[[HubLink], None]",
        answered: Answered,
        failed: Callable[[AsepsisError], None],
    ) -> None:
        self._endpoint = endpoint
        self._context = context
        self._check = check
        self._backoff = backoff
        self._idle = idle
        self._answered = answered
        self._failed = failed
        self._transport: asyncio.Transport | None = None
        self._parcel: Parcel | None = None
        self._buffer = b""
        self._lost = asyncio.Event()
        self._pause_s = 0.0
        self._head = (
            f"POST /hl7v2 HTTP/1.1\r\nHost: {endpoint.host}\r\nContent-Type: application/hl7-v2\r\n"
        ).encode()
        self.state = LinkState.DOWN
        self.deadline_s = float("inf")
        """Event loop time at which the hub must have answered."""
        self.stale = False
        """Set when certificates were renewed: the link reconnects once it is idle."""

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        try:
            while True:
                try:
                    await self._connect()
                except AsepsisError as error:
                    self._failed(error)
                    await asyncio.sleep(self._wait_s(error))
                    continue
                await self._lost.wait()
                await asyncio.sleep(self._pause_s or self._backoff.failed())
        finally:
            self.abort()

    def post(self, parcel: Parcel, *, deadline_s: float) -> None:
        """Send one message; only when idle.

        Args:
            parcel: The message.
            deadline_s: Event loop time by which an answer must be here.
        """
        transport = self._transport
        assert transport is not None, "only an idle link is given work"  # noqa: S101 - our own bug
        assert self.state is LinkState.IDLE, "one at a time"  # noqa: S101 - our own bug
        self.state = LinkState.BUSY
        self._parcel = parcel
        self.deadline_s = deadline_s
        transport.write(
            b"%bAsepsis-Epoch: %d\r\nAsepsis-Sequence: %d\r\nContent-Length: %d\r\n\r\n%b"
            % (self._head, parcel.epoch, parcel.sequence, len(parcel.body), parcel.body)
        )

    def abort(self) -> None:
        """Cut the connection; a message in flight is told to be sent again."""
        if self._transport is not None:
            self._transport.abort()

    def renew(self) -> None:
        """Reconnect with new certificates as soon as nothing is in flight."""
        self.stale = True
        if self.state is LinkState.IDLE:
            self.state = LinkState.DOWN
            self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the message in flight back."""
        self._transport = None
        self.state = LinkState.DOWN
        self._buffer = b""
        self.deadline_s = float("inf")
        parcel, self._parcel = self._parcel, None
        self._lost.set()
        if parcel is not None:
            reason = type(exc).__name__ if exc else "closed"
            self._answered(self, parcel, Unavailable(f"the hub's connection ended ({reason})"))

    def data_received(self, data: bytes) -> None:
        """Read one answer."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES_MAX:
                self.abort()
            return
        head = _Head(self._buffer[:end])
        length = head.length
        if length is None or length > BODY_BYTES_MAX or self._parcel is None:
            self.abort()  # Not an answer of our hub, or one that nobody asked for.
            return
        if len(self._buffer) < end + 4 + length:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + length], b""
        self._settle(head, body)

    def _settle(self, head: "_Head", body: bytes) -> None:
        parcel, self._parcel = cast("Parcel", self._parcel), None
        self.deadline_s = float("inf")
        error = outcome_of(head.status, head.value(b"content-type"), body, head.retry_after)
        self._pause_s = 0.0
        if isinstance(error, (TransientError, TrustError)):
            self._pause_s = self._wait_s(error)
            self.state = LinkState.DOWN
            self._answered(self, parcel, error)
            self.abort()
            return
        self._backoff.succeeded()
        self.state = LinkState.IDLE
        self._answered(self, parcel, error)
        if self.stale or head.value(b"connection").lower() == b"close":
            self.state = LinkState.DOWN
            self.abort()
        else:
            self._idle(self)

    async def _connect(self) -> None:
        """Connect once.

        Raises:
            TransientError: Nobody there.
            TrustError: Not our hub.
        """
        self._lost.clear()
        self._pause_s = 0.0
        self.stale = False
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(
                loop.create_connection(
                    lambda: self,
                    self._endpoint.host,
                    self._endpoint.port,
                    ssl=self._context(),
                    server_hostname=self._endpoint.host,
                ),
                CONNECT_S,
            )
        except ssl.SSLCertVerificationError as error:
            raise IdentityInvalid(f"the hub's certificate: {error.verify_message}") from error
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"no answer from the hub ({type(error).__name__})") from error
        if self._transport is None:
            raise Unavailable("the hub closed the connection at once")
        try:
            self._check(self._transport.get_extra_info("ssl_object"))
        except AsepsisError:
            self.abort()
            raise
        self.state = LinkState.IDLE
        self._idle(self)

    def _wait_s(self, error: AsepsisError) -> float:
        if isinstance(error, TrustError):
            return REFUSED_WAIT_S
        asked_s = error.retry_after_s if isinstance(error, TransientError) else 0
        # Unavailable asks for its default of a second, which is no wish of the hub.
        return self._backoff.failed(retry_after_s=0 if isinstance(error, Unavailable) else asked_s)


class _Head:
    """Status line and fields of an answer."""

    def __init__(self, head: bytes) -> None:
        lines = head.split(b"\r\n")
        self.status = int(lines[0][9:12]) if lines[0][9:12].isdigit() else 0
        self._fields = lines[1:]

    def value(self, name: bytes) -> bytes:
        for line in self._fields:
            field, _, value = line.partition(b":")
            if field.lower() == name:
                return value.strip()
        return b""

    @property
    def length(self) -> int | None:
        text = self.value(b"content-length")
        return int(text) if text.isdigit() and len(text) < 10 else None

    @property
    def retry_after(self) -> str | None:
        return self.value(b"retry-after").decode("ascii", "replace") or None


def outcome_of(
    status: int, media: bytes, body: bytes, retry_after: str | None
) -> AsepsisError | None:
    """Return what an answer of `/hl7v2` means; None: stored.

    InputError is final for these bytes; TrustError is about the gateway's identity; everything
    else passes: the message is kept and sent again.
    """
    if status == 200:
        return None
    if status in _FINAL:
        if media.startswith(b"application/hl7-v2"):
            return InputError("the hub refuses the message")
        error = refusal(status, body, retry_after)
        return error if isinstance(error, InputError) else InputError(str(error))
    error = refusal(status, body, retry_after)
    if isinstance(error, (TransientError, TrustError)):
        return error
    return Unavailable(f"the hub answered {status}: {_title(body)}")


def _title(body: bytes) -> str:
    try:
        problem: Any = json.loads(body)
        return str(problem["title"])[:80]
    except (ValueError, KeyError, TypeError):
        return "no reason given"


def check_validity(tls: ssl.SSLObject, now_ns: int) -> None:
    """Judge the validity dates of the hub's certificate by trusted time.

    Raises:
        IdentityExpired: Outside.
    """
    certificate = tls.getpeercert() or {}
    begins_s = ssl.cert_time_to_seconds(str(certificate["notBefore"]))
    ends_s = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    if not begins_s <= now_ns / 1e9 <= ends_s:
        raise IdentityExpired("the hub's certificate is outside its validity")
