"""One kept connection to the hub that posts one batch at a time.

The hub answers the requests of a connection one after the other, so a second one in flight would
gain nothing and could overtake the first if that has to be repeated.

Source: RFC 9112 (HTTP/1.1 messages), only what the hub's own answers use.
"""

import asyncio
import ssl
from collections.abc import Callable
from enum import Enum
from typing import Final, cast

from asepsis.core.errors import (
    AsepsisError,
    IdentityInvalid,
    TransientError,
    TrustError,
    Unavailable,
)
from asepsis.core.wire.message_record import AGE_UNKNOWN_MS
from asepsis.edge.gateway.hub_answers import Head, Verdict, failure_of, verdict_of
from asepsis.edge.gateway.spool import Parcel
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import Dial, Endpoint

MEDIA: Final = "application/vnd.asepsis.hl7v2-batch"
HEAD_BYTES_MAX: Final = 16_384
BODY_BYTES_MAX: Final = 1_048_576
CONNECT_S: Final = 10.0
REFUSED_WAIT_S: Final = 5.0
"""Wait after the hub refused this identity, seconds; a person may release it again."""


class LinkState(Enum):
    """What a link is doing."""

    DOWN = "down"
    IDLE = "idle"
    BUSY = "busy"


Answered = Callable[["HubLink", Verdict], None]
"""Told what became of the batch that the link was given."""


class HubLink(asyncio.Protocol):
    """Connects, posts, reconnects.

    Args:
        endpoint: The hub's clinical listener.
        dial: Connects to it; may block for seconds, in a thread.
        context: Returns the TLS context of now; asked at every connect.
        check: Judges the hub's certificate after the handshake; raises TrustError or Unavailable.
        backoff: Waiting times between attempts.
        idle: Told when the link can take a batch.
        answered: Told what became of the batch.
        failed: Told why a connection failed or the hub pushed back.
        fence: What `Asepsis-Fence` says now; None without a pair.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by the uplink
        self,
        endpoint: Endpoint,
        *,
        dial: Dial,
        context: Callable[[], ssl.SSLContext],
        check: Callable[[ssl.SSLObject], None],
        backoff: Backoff,
        idle: "Callable[[HubLink], None]",
        answered: Answered,
        failed: Callable[[AsepsisError], None],
        fence: Callable[[], bytes] | None = None,
    ) -> None:
        self._fence = fence
        self._endpoint = endpoint
        self._dial = dial
        self._context = context
        self._check = check
        self._backoff = backoff
        self._idle = idle
        self._answered = answered
        self._failed = failed
        self._transport: asyncio.Transport | None = None
        self._count = 0  # Messages in flight.
        self._asking = False
        self._buffer = b""
        self._lost = asyncio.Event()
        self._pause_s = 0.0
        self._question = f"GET /metadata HTTP/1.1\r\nHost: {endpoint.host}\r\n\r\n".encode()
        self._head = (
            f"POST /hl7v2 HTTP/1.1\r\nHost: {endpoint.host}\r\nContent-Type: {MEDIA}\r\n"
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

    def post(self, body: bytes, *, epoch: int, count: int, deadline_s: float) -> None:
        """Send a batch; only when idle.

        Args:
            body: Its groups, of one epoch, in order.
            epoch: That epoch.
            count: Messages in it.
            deadline_s: Event loop time by which an answer must be here.
        """
        transport = self._transport
        assert transport is not None, "only an idle link is given work"  # noqa: S101 - our own bug
        assert self.state is LinkState.IDLE, "one at a time"  # noqa: S101 - our own bug
        self.state = LinkState.BUSY
        self._count = count
        self.deadline_s = deadline_s
        fence = b"" if self._fence is None else b"Asepsis-Fence: %b\r\n" % self._fence()
        head = b"%b%bAsepsis-Epoch: %d\r\nContent-Length: %d\r\n\r\n" % (
            self._head,
            fence,
            epoch,
            len(body),
        )
        transport.writelines((head, body))

    def ask(self, *, deadline_s: float) -> None:
        """Tell the hub that this gateway lives; only when idle.

        Args:
            deadline_s: Event loop time by which an answer must be here.
        """
        assert self._transport is not None, "only an idle link is asked"  # noqa: S101 - our own bug
        self.state = LinkState.BUSY
        self._asking = True
        self.deadline_s = deadline_s
        self._transport.write(self._question)

    def abort(self) -> None:
        """Cut the connection; a batch in flight is told to be sent again."""
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
        """Give the batch in flight back."""
        self._transport = None
        self.state = LinkState.DOWN
        self._buffer = b""
        self.deadline_s = float("inf")
        count, self._count = self._count, 0
        self._asking = False
        self._lost.set()
        if count:
            reason = type(exc).__name__ if exc else "closed"
            self._answered(self, Unavailable(f"the hub's connection ended ({reason})"))

    def data_received(self, data: bytes) -> None:
        """Read one answer."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES_MAX:
                self.abort()
            return
        head = Head(self._buffer[:end])
        length = head.length
        if length is None or length > BODY_BYTES_MAX or not (self._count or self._asking):
            self.abort()  # Not an answer of our hub, or one that nobody asked for.
            return
        if len(self._buffer) < end + 4 + length:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + length], b""
        self._settle(head, body)

    def _settle(self, head: Head, body: bytes) -> None:
        count, self._count = self._count, 0
        asked, self._asking = self._asking, False
        self.deadline_s = float("inf")
        verdict = failure_of(head, body) if asked else verdict_of(head, body, count=count)
        self._pause_s = 0.0
        if isinstance(verdict, (TransientError, TrustError)):
            self._pause_s = self._wait_s(verdict)
            self.state = LinkState.DOWN
            self._tell(verdict, asked=asked)
            self.abort()
            return
        self._backoff.succeeded()
        self.state = LinkState.IDLE
        self._tell(verdict, asked=asked)
        if self.stale or head.value(b"connection").lower() == b"close":
            self.state = LinkState.DOWN
            self.abort()
        else:
            self._idle(self)

    def _tell(self, verdict: Verdict | None, *, asked: bool) -> None:
        if not asked and verdict is not None:
            self._answered(self, verdict)
        elif isinstance(verdict, AsepsisError):
            self._failed(verdict)

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
        connected = await loop.run_in_executor(None, self._dial, self._endpoint, CONNECT_S)
        connected.setblocking(False)
        try:
            await asyncio.wait_for(
                loop.create_connection(
                    lambda: self,
                    sock=connected,
                    ssl=self._context(),
                    server_hostname=self._endpoint.host,
                ),
                CONNECT_S,
            )
        except ssl.SSLCertVerificationError as error:
            raise IdentityInvalid(f"the hub's certificate: {error.verify_message}") from error
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"no answer from the hub ({type(error).__name__})") from error
        finally:
            if self._transport is None:
                connected.close()
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


def age_ms(parcel: Parcel, now_s: float) -> int:
    """Return how long the gateway has had a group, milliseconds, as a batch says it."""
    if parcel.arrived_s is None:
        return AGE_UNKNOWN_MS
    return min(int((now_s - parcel.arrived_s) * 1_000), AGE_UNKNOWN_MS - 1)
