"""From the bytes of one connection to its requests: uvicorn's parser loop with our limits.

uvicorn gives the parser, flow control and the ASGI call. This class adds raw byte limits on the
head, a deadline for every request, a cap on bodies, and what is refused before anything is called.
"""

import asyncio
import math
from abc import abstractmethod
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from asepsis.core.errors import AsepsisError, FramingError, LimitExceeded
from asepsis.hub.web.asgi import Scope
from asepsis.hub.web.cycle import Cycle
from asepsis.hub.web.heads import Refusal, judge_head, read_target
from asepsis.hub.web.site import Site

NEVER: Final = math.inf
PIECE_BYTES: Final = 65_536
"""Most bytes given to the parser at once, so that a limit is judged between pieces."""


class HeadRefused(Exception):  # noqa: N818 - carries a refusal through the C parser
    """Ends the parser's run with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__()
        self.refusal = refusal


class Reading(HttpToolsProtocol):
    """The reading side of a connection.

    Args:
        site: The listener that accepted it.
    """

    transport: asyncio.Transport
    cycle: Cycle  # pyright: ignore[reportIncompatibleVariableOverride] - only ours are made

    def __init__(self, site: Site) -> None:
        super().__init__(site.config, site.server_state, {}, site.loop)
        # uvicorn's parser is lenient about bytes after a request that closes; ours is not.
        self.parser = httptools.HttpRequestParser(self)
        self.site = site
        self._limits = site.listener.limits
        self._header_count_max = self._limits.header_count_max
        self._clock = site.clock
        self._scope_base: Scope = {}
        self.deadline = NEVER
        self._in_head = True
        self._begun = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_bytes_max = self._limits.body_bytes_max
        self._streamed = False
        self._closing = False

    @abstractmethod
    def abort(self) -> None:
        """End the connection at once."""

    @abstractmethod
    def _admit(self, now_ns: int) -> object:
        """Ask admission; raises what `Admission.admit` raises."""

    @abstractmethod
    def _take_request(self, scope: Scope, *, refusal: Refusal | None) -> None:
        """Take a request whose head is complete, or refuse it and everything after it."""

    @abstractmethod
    def _refuse(self, refusal: Refusal) -> None:
        """Answer bytes that are no request, after everything that was asked before them."""

    @abstractmethod
    def _drop(self, data: bytes) -> None:
        """Count what a peer sends after its connection was refused."""

    def data_received(self, data: bytes) -> None:
        """Judge and parse received bytes."""
        if self._closing:
            self._drop(data)
            return
        try:
            self._feed(data)
        except HeadRefused as error:
            self._refuse(error.refusal)
        except httptools.HttpParserUpgrade:
            # `judge_head` has refused it already; what follows is not HTTP.
            self._closing = True
        except httptools.HttpParserError as error:
            self._refuse(_refusal_of(error))

    def _feed(self, data: bytes) -> None:
        limit = self._limits.head_bytes_max
        rest: bytes | memoryview = data
        while rest and not self._closing:
            budget = limit - self._head_bytes if self._in_head else PIECE_BYTES
            if len(rest) > budget:
                rest = memoryview(rest)  # What an image brings is not copied to be cut.
            piece, rest = rest[:budget], rest[budget:]
            if self._in_head:
                self._head_bytes += len(piece)
            self.parser.feed_data(piece)
            if self._in_head and self._head_bytes >= limit:
                raise HeadRefused(
                    Refusal(LimitExceeded(f"request line and headers are over {limit} bytes"), 431)
                )
        if self._begun and self.deadline == NEVER:
            self.deadline = self.loop.time() + self._limits.request_s
            self.site.begin_request(self)

    def on_message_begin(self) -> None:
        """Start a request; called by the parser at its first byte."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._begun = True
        if self.cycle:
            # Idle time ends here; on a new connection the request's deadline is already set.
            self.deadline = NEVER

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self.url += url
        limit = self._limits.target_bytes_max
        if len(self.url) > limit:
            raise HeadRefused(Refusal(LimitExceeded(f"target is over {limit} bytes"), 414))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one field; fields after the body (trailers) are refused."""
        if not self._in_head:
            raise HeadRefused(Refusal(FramingError("trailer fields are not taken")))
        headers = self.headers
        if len(headers) >= self._header_count_max:
            text = f"more than {self._header_count_max} headers"
            raise HeadRefused(Refusal(LimitExceeded(text), 431))
        name = name.lower()
        if name == b"expect":
            self.expect_100_continue = True
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Judge the head, ask admission, and give the request to the application."""
        self._in_head = False
        scope = self._scope_base.copy()
        scope["asepsis.connection"].requests += 1
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["headers"] = self.headers
        target = read_target(self.url)
        if not isinstance(target, Refusal):
            scope["path"], scope["raw_path"], scope["query_string"] = target
        self._measure(scope)
        refusal = judge_head(
            self.parser.get_http_version(), self.headers, body_bytes_max=self._body_bytes_max
        )
        if isinstance(target, Refusal):
            refusal = refusal or target
        if refusal is None:
            try:
                scope["asepsis.principal"] = self._admit(self._clock())
            except AsepsisError as error:
                refusal = Refusal(error)
        if refusal is None and self._streamed:
            # Its peer is known and its route bounds how many there are: no longer one of those
            # whose requests are overdue, as long as its bytes come.
            self.site.finish_request(self)
            self.deadline = self.loop.time() + self._limits.stream_stall_s
        self._take_request(scope, refusal=refusal)

    def _measure(self, scope: Scope) -> None:
        """Set the limit of the body that follows."""
        limits = self._limits
        self._streamed = self.site.listener.is_streamed(scope["method"], scope["path"])
        self._body_bytes_max = limits.stream_bytes_max if self._streamed else limits.body_bytes_max

    def on_body(self, body: bytes) -> None:
        """Collect body bytes within the listener's hard cap."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        self._body_bytes += len(body)
        limit = self._body_bytes_max
        if self._body_bytes > limit:
            raise HeadRefused(Refusal(LimitExceeded(f"body is over {limit} bytes")))
        if self._streamed:
            self.deadline = self.loop.time() + self._limits.stream_stall_s
        if len(cycle.body) > PIECE_BYTES:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request; the next byte begins another."""
        self._in_head = True
        self._begun = False
        self._head_bytes = 0
        if self.deadline != NEVER:
            self.deadline = NEVER
            self.site.finish_request(self)
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()


def _refusal_of(error: httptools.HttpParserError) -> Refusal:
    """Find the reason in a parser error: our own one from a callback, or bad syntax."""
    cause = error.__context__ or error.__cause__
    if isinstance(cause, HeadRefused):
        return cause.refusal
    return Refusal(FramingError("not an HTTP/1.1 request"))
