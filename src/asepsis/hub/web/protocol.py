"""The life of one TLS connection: identity, admission, deadlines, answers in order, and its end.

`reading.py` turns bytes into requests. Here is what uvicorn lacks around them: the peer's identity,
admission at connect and at every request, deadlines for slow peers in both directions, a pipelining
limit, refusals as problem details in the order of the requests, turns for requests that can wait,
and an end for connections that linger.

Deadlines are two numbers per connection which the server compares with the clock every half
second; a request that arrives whole costs no timer.
"""

import asyncio
from functools import partial
from typing import Any, Final, cast

from asepsis.core.errors import AsepsisError, IdentityInvalid, LimitExceeded
from asepsis.core.trust.identity import (
    IDevId,
    PeerCertificate,
    idevid_from_der,
    peer_from_der,
)
from asepsis.hub.web.asgi import App, Receive, Scope, Send
from asepsis.hub.web.cycle import Cycle
from asepsis.hub.web.heads import Refusal
from asepsis.hub.web.problems import problem
from asepsis.hub.web.reading import NEVER, Reading
from asepsis.hub.web.registry import Connection
from asepsis.hub.web.site import Site, Slot

REFUSED_S: Final = 2.0
"""How long a peer that was not admitted may take to ask and be told why."""
LINGER_BYTES_MAX: Final = 8_388_608
"""Bytes of a refused request that are read and dropped so that its answer is not reset."""


class HttpProtocol(Reading):
    """One connection.

    Args:
        site: The listener that accepted it.
        slot: Its place among the listener's connections.
    """

    def __init__(self, site: Site, slot: Slot) -> None:
        super().__init__(site)
        self.slot = slot
        listener = site.listener
        self._app = listener.app
        self._patient = listener.patient
        self._ask = listener.admission.admit
        self._name = listener.name
        self._proven = False
        self.connection: Connection | None = None
        self.stall_deadline = NEVER
        self._peer_error: AsepsisError | None = None
        self._dropped_bytes = 0
        self._running: Cycle | None = None

    # -- Life of the connection ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[override]
        """Begin after the TLS handshake: read the peer's identity and ask admission."""
        super().connection_made(cast("asyncio.Transport", transport))
        limits = self._limits
        self.transport.set_write_buffer_limits(high=limits.write_buffer_bytes_max)
        self.connection = self._introduce()
        self.site.protocols.add(self)
        self.site.registry.add(self.connection)
        self._scope_base = self._describe(self.connection)
        self.deadline = self.loop.time() + limits.request_s
        self.slot.abort = self.abort
        self.site.begin_request(self)
        self._admit_connection()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: free the place, tell the application and whoever waits for the end."""
        self.deadline = self.stall_deadline = NEVER
        self.slot.release()
        self.site.finish_request(self)
        if self.connection is None:
            return
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)
        self.pipeline.clear()
        self.site.protocols.discard(self)
        self.site.registry.remove(self.connection)
        self.connection.mark_closed()

    def discard(self) -> None:
        """Free a protocol whose handshake failed without waiting for the cycle collector."""
        self.parser = cast("Any", None)

    def abort(self) -> None:
        """End the connection at once; unsent bytes are dropped."""
        if self.transport is not None:  # pyright: ignore[reportUnnecessaryComparison]
            self.transport.abort()

    def expire(self, now: float) -> None:
        """Judge the two deadlines; called by the server every half second.

        Args:
            now: The event loop's time in seconds.
        """
        if self.stall_deadline <= now:
            self.site.counters.cut_stalled += 1
            self.abort()
        elif self.deadline <= now:
            self._overdue()

    def readmit(self, now_ns: int) -> None:
        """Ask admission again between requests, so that no stream outlives its identity."""
        try:
            self._admit(now_ns)
        except AsepsisError:
            if self._running is not None and self._running.response_started:
                self.abort()

    def shutdown(self) -> None:
        """Finish what is being answered, then close; a stream is asked to end now."""
        cycle = self._running
        if cycle is None or cycle.response_complete:
            self._close_gently()
            return
        cycle.keep_alive = False
        cycle.draining = True
        cycle.message_event.set()

    def _introduce(self) -> Connection:
        tls = self.transport.get_extra_info("ssl_object")
        der: bytes | None = None if tls is None else tls.getpeercert(True)
        known = der and not self.site.listener.strangers
        peer, idevid = self._identify(der) if der and known else (None, None)
        return Connection(
            listener=self.site.listener.name,
            address=self.slot.address,
            peer=peer,
            peer_der=der or None,
            idevid=idevid,
            opened_ns=self.site.clock(),
            tls=tls,
            abort=self.abort,
        )

    def _identify(self, der: bytes) -> tuple[PeerCertificate | None, IDevId | None]:
        try:
            return peer_from_der(der), None
        except IdentityInvalid as error:
            if not self.site.listener.idevid:
                self._peer_error = error
                return None, None
        try:
            return None, idevid_from_der(der)
        except IdentityInvalid as error:
            self._peer_error = error
            return None, None

    def _admit(self, now_ns: int) -> object:
        if self._peer_error is not None:
            raise self._peer_error
        return self._ask(self._scope_base["asepsis.peer"], self._name, now_ns)

    def _admit_connection(self) -> None:
        connection = cast("Connection", self.connection)
        try:
            self._admit(self.site.clock())
        except AsepsisError:
            # Told in the answer to its first request: a close alone would explain nothing.
            self.site.counters.refused_identity += 1
            self.deadline = self.loop.time() + REFUSED_S
            return
        limit = self._limits.per_identity_max
        if connection.uri is None:
            return
        self.slot.prove()
        if limit is not None:
            same = self.site.registry.of_identity(connection.uri, listener=connection.listener)
            for oldest in same[: max(0, len(same) - limit)]:
                self.site.counters.evicted += 1
                oldest.close()

    def _describe(self, connection: Connection) -> Scope:
        """Return the scope's entries that all requests of the connection share."""
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": "https",
            "method": "GET",
            "root_path": "",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "headers": [],
            "asepsis.peer": connection.peer,
            "asepsis.peer_der": connection.peer_der,
            "asepsis.idevid": connection.idevid,
            "asepsis.connection": connection,
            "asepsis.challenge": self.site.listener.challenge,
        }

    def _take_request(self, scope: Scope, *, refusal: Refusal | None) -> None:
        if refusal is None:
            self._take_up(self._new_cycle(scope, keep=self.parser.should_keep_alive()), self._app)
            return
        self.site.counters.refused_requests += 1
        self._take_up(self._new_cycle(scope, keep=False), self._refuser(refusal))
        self._closing = True

    def _new_cycle(self, scope: Scope, *, keep: bool) -> Cycle:
        self._body_bytes = 0
        cycle = Cycle(
            scope=cast("Any", scope),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep and not self.site.draining,
            on_response=self.on_response_complete,
        )
        cycle.head_lines = self.site.head_lines
        self.cycle = cycle  # pyright: ignore[reportIncompatibleVariableOverride]
        return cycle

    def _take_up(self, cycle: Cycle, app: App) -> None:
        if self._running is None:
            self._run(cycle, app)
            return
        if len(self.pipeline) >= self._limits.pipelined_max:
            self.site.counters.refused_requests += 1
            self.abort()
            self._closing = True
            return
        self.flow.pause_reading()
        self.pipeline.appendleft((cycle, cast("Any", app)))

    def _run(self, cycle: Cycle, app: App) -> None:
        self._running = cycle
        if cycle.scope["path"] in self._patient:
            self.site.turns.begin(partial(self._start, cycle, app))
        else:
            self._start(cycle, app)

    def _start(self, cycle: Cycle, app: App) -> None:
        if not cycle.disconnected:  # The peer may have gone while its request waited.
            self._start_asgi_task(cycle, cast("Any", app))

    # -- Refusals and the end -----------------------------------------------------------------

    def _refuse(self, refusal: Refusal) -> None:
        """Answer bytes that are no request, after everything that was asked before them."""
        if self._closing:
            return
        self._closing = True
        self.site.counters.refused_requests += 1
        cycle = self.cycle
        app = self._refuser(refusal)
        if cycle and cycle.more_body and not cycle.response_complete:
            # The body of a request that is running or queued went wrong.
            self._refuse_body(cycle, refusal, app)
            return
        if cycle and not cycle.keep_alive:
            return
        self._take_up(self._new_cycle(self._scope_base.copy(), keep=False), app)

    def _refuser(self, refusal: Refusal) -> App:
        return partial(_refused, refusal, self.site.listener.challenge)

    def _refuse_body(self, cycle: Cycle, refusal: Refusal, app: App) -> None:
        if cycle is self._running:
            connection = cast("Connection", self.connection)
            cycle.answer(
                problem(refusal.error, status=refusal.status, instance=connection.request_id)
            )
            cycle.disconnected = True
            cycle.message_event.set()
        else:
            self.pipeline[0] = (cycle, cast("Any", app))

    def _overdue(self) -> None:
        """End what took too long: tell a slow sender, drop everything else."""
        self.deadline = NEVER
        if self._streamed and self._begun and self.flow.read_paused and not self._closing:
            # We are slow, not the peer: the reader of the stream has limits of its own.
            self.deadline = self.loop.time() + self._limits.stream_stall_s
        elif self._begun and not self._closing:
            self.site.counters.cut_slow += 1
            seconds = self._limits.stream_stall_s if self._streamed else self._limits.request_s
            self._refuse(Refusal(LimitExceeded(f"request took over {seconds:g} s"), 408))
        elif self.transport.is_closing():
            self.abort()
        elif self._closing:
            self._end()
        else:
            self._close_gently()

    def on_response_complete(self) -> None:
        """Go on after an answer: the next pipelined request, the idle wait, or the end."""
        self.site.counters.requests += 1
        cycle, self._running = cast("Cycle", self._running), None
        if self.transport.is_closing():
            return
        if not cycle.keep_alive:
            self._close_gently()
            return
        if not self._proven:
            self._proven = True
            self.slot.prove()
        if self.pipeline:
            waiting, app = self.pipeline.pop()
            self._run(cast("Cycle", waiting), cast("App", app))
        if not self.pipeline:
            self.flow.resume_reading()
        if self._running is None and not self._begun:
            self.deadline = self.loop.time() + self._limits.idle_s

    def _close_gently(self) -> None:
        """Close so that the last answer arrives: what the peer still sends is read and dropped."""
        self.pipeline.clear()
        self._closing = True
        if not self._begun:
            self._end()
            return
        self.deadline = self.loop.time() + self._limits.linger_s
        self.flow.resume_reading()

    def _end(self) -> None:
        """Close after what is still unsent; a peer that does not take it is cut."""
        self.deadline = self.loop.time() + self._limits.linger_s
        self.transport.close()

    def _drop(self, data: bytes) -> None:
        self._dropped_bytes += len(data)
        if self._dropped_bytes > LINGER_BYTES_MAX:
            self.abort()

    # -- Bytes out ----------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Note that the peer does not read; it has `write_stall_s` to begin."""
        super().pause_writing()
        self.stall_deadline = self.loop.time() + self._limits.write_stall_s

    def resume_writing(self) -> None:
        """Note that the peer reads again."""
        super().resume_writing()
        self.stall_deadline = NEVER


_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


async def _refused(
    refusal: Refusal, challenge: str, scope: Scope, _receive: Receive, send: Send
) -> None:
    """Answer in place of the application."""
    connection: Connection = scope["asepsis.connection"]
    result = problem(
        refusal.error,
        status=refusal.status,
        instance=connection.request_id,
        challenge=challenge,
    )
    await send({"type": "http.response.start", "status": result.status, "headers": result.headers})
    await send({"type": "http.response.body", "body": result.body})
