"""One request and its answer: uvicorn's cycle with our response head and write limits.

The response head is written together with a body whose length is known, so that a small answer is
one TLS record and one system call; a streaming answer (no Content-Length) sends its head at once.
"""

import asyncio
import logging
import re
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from asepsis.hub.web.asgi import App, Headers, Message, Scope
from asepsis.hub.web.problems import Problem, problem

_log: Final = logging.getLogger("asepsis.hub.web")
# What must not stand in a header besides the line ends that we write; those are counted.
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
JOINED_BYTES_MAX: Final = 16_384
"""A longer body is not copied to leave with its head: it fills a TLS record of its own."""
_HOP_BY_HOP: Final = frozenset((b"connection", b"transfer-encoding"))
_BODILESS: Final = frozenset((204, 304))


class Cycle(RequestResponseCycle):
    """One request being answered.

    uvicorn calls `receive` and `run_asgi` as they are; `send` is ours.
    """

    scope: Scope  # type: ignore[assignment]
    head_lines: "HeadLines"
    draining = False
    _held_head: bytes = b""

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """Write one ASGI message; waits while the peer does not read.

        Raises:
            RuntimeError: The application breaks the ASGI protocol; our own bug.
        """
        flow: FlowControl = self.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._start(message)
        elif not self.response_complete:
            self._body(message)
        else:
            raise RuntimeError("the answer is already complete")

    async def receive(self) -> Any:
        """Return the next ASGI event; a streaming answer is told to end when the server drains."""
        event = await super().receive()
        if self.draining and self.response_started:
            return {"type": "http.disconnect"}
        return event

    async def run_asgi(self, app: App) -> None:  # type: ignore[override]
        """Call the application; whatever it does wrong, the peer gets a whole answer or none."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.transport.abort()
            raise
        except Exception:  # noqa: BLE001 - as below
            # The last line of defence: an application's bug must not take the server down.
            _log.exception("request %s failed", self._instance())
            self._fail()
        else:
            if not self.response_complete and not self.disconnected:
                _log.error("request %s was left without a whole answer", self._instance())
                self._fail()
        finally:
            self.on_response = _nothing

    def _fail(self) -> None:
        """Answer for an application that failed: problem details without the cause."""
        self.answer(problem(RuntimeError(), instance=self._instance()))

    def answer(self, result: Problem) -> None:
        """Write a whole problem as the answer and end the exchange; the connection closes."""
        if self.disconnected or self.response_complete:
            return
        if self.response_started and not self._held_head:
            # Half an answer is out; only the end of the connection can say that it is void.
            self.transport.abort()
            return
        self.keep_alive = False
        self.response_started = False
        self._held_head = b""
        self.chunked_encoding = None
        self._start(
            {"type": "http.response.start", "status": result.status, "headers": result.headers}
        )
        self._body({"type": "http.response.body", "body": result.body})

    def _instance(self) -> str:
        connection = self.scope.get("asepsis.connection")
        return "" if connection is None else connection.request_id

    def _start(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"expected http.response.start, not {message['type']}")
        self.response_started = True
        self.waiting_for_100_continue = False
        if self.more_body:
            # The rest of the request is not read, so nothing can follow it on this connection.
            self.keep_alive = False
        status: int = message["status"]
        head = self._head(status, message.get("headers", ()))
        if self.chunked_encoding:
            self.transport.write(head)
        else:
            self._held_head = head

    def _head(self, status: int, headers: Headers) -> bytes:
        lines: list[bytes] = []
        store = False
        for field, value in headers:
            name = field.lower()
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"cache-control":
                store = True
            elif name in _HOP_BY_HOP:
                self.keep_alive = self.keep_alive and value.lower() != b"close"
                continue
            lines += (name, b": ", value, b"\r\n")
        own = b"".join(lines)
        if own.count(b"\n") * 4 != len(lines) or _CONTROL.search(own):
            raise RuntimeError("header holds a control character")
        fixed = self.head_lines.common if store else self.head_lines.no_store
        lines = [STATUS_LINE[status], own, fixed]
        if self.chunked_encoding is None:
            self.chunked_encoding = self.scope["method"] != "HEAD" and status not in _BODILESS
            if self.chunked_encoding:
                lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        return b"".join(lines)

    def _body(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError(f"expected http.response.body, not {message['type']}")
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
        if self.expected_content_length < 0 or (self.expected_content_length and not more):
            raise RuntimeError("the body is not as long as its Content-Length")
        self._flush(body)
        if not more:
            self._complete()

    def _flush(self, body: bytes) -> None:
        if self._held_head:
            head, self._held_head = self._held_head, b""
            if len(body) > JOINED_BYTES_MAX:
                self.transport.writelines((head, body))
            else:
                self.transport.write(head + body)
        elif body:
            self.transport.write(body)

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        self.on_response()


class HeadLines:
    """The header lines that every answer of a listener carries, rendered once a second.

    Attributes:
        common: Date and the security headers.
        no_store: The same and `Cache-Control: no-store`, for answers that do not set their own.
    """

    __slots__ = ("_fixed", "common", "no_store")

    def __init__(self, extra: Headers) -> None:
        fixed = [(b"x-content-type-options", b"nosniff"), *extra]
        self._fixed = b"".join(b"%b: %b\r\n" % each for each in fixed)
        self.set_date(b"")

    def set_date(self, date: bytes) -> None:
        """Render the lines with an HTTP date; without one the Date field is left out."""
        self.common = (b"date: %b\r\n" % date if date else b"") + self._fixed
        self.no_store = self.common + b"cache-control: no-store\r\n"


def _nothing() -> None:
    """Replace a callback that would keep the connection alive."""
