"""Real servers on loopback in a thread, real TLS, and raw clients that can misbehave."""

import asyncio
import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from web_pki import Authority, Identity, client_context

from asepsis.core.errors import AsepsisError, IdentityExpired, IdentityRevoked, NotAuthenticated
from asepsis.core.trust import tls
from asepsis.core.trust.identity import PeerCertificate
from asepsis.hub.web import limits
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.bodies import bounded_body
from asepsis.hub.web.listener import Listener
from asepsis.hub.web.routing import Route, Router
from asepsis.hub.web.server import Server, new_loop, serve

QUICK = {"request_s": 1.0, "handshake_s": 1.0, "idle_s": 2.0, "write_stall_s": 1.0, "linger_s": 0.3}
LOOPS = ("uvloop", "asyncio")
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class Action(Enum):
    """Two actions are enough to see that each route has its own."""

    READ = "read"
    WRITE = "write"


@dataclass
class Book:
    """An admission whose state a test changes while the server runs."""

    revoked: set[str] = field(default_factory=set[str])
    now_ns: int | None = None
    asked: int = 0

    def admit(self, peer: PeerCertificate | None, listener: str, now_ns: int) -> object:
        self.asked += 1
        if peer is None:
            if listener == "clinical":
                raise NotAuthenticated("a hospital certificate is required")
            return "anonymous"
        if peer.uri in self.revoked:
            raise IdentityRevoked("the identity is revoked")
        if (self.now_ns or now_ns) > peer.not_after_ns and listener == "clinical":
            raise IdentityExpired("the certificate has expired")
        return peer.uri


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await bounded_body(receive, 1_000_000, scope=scope)
    await answer(send, 200, body, media=b"application/octet-stream")


async def whoami(scope: Scope, _receive: Receive, send: Send) -> None:
    text = f"{scope['asepsis.principal']} {scope['asepsis.idevid'] is not None}"
    await answer(send, 200, text.encode(), media=b"text/plain")


async def stream(scope: Scope, _receive: Receive, send: Send) -> None:
    ended = asyncio.Event()
    scope["asepsis.connection"].on_close(ended.set)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while not ended.is_set():
        await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.05)


async def flood(_scope: Scope, receive: Receive, send: Send) -> None:
    """Stream as fast as the peer reads, 64 KB at a time."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (await _still_there(receive)) is None:
        await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})


async def _still_there(receive: Receive) -> str | None:
    try:
        return (await asyncio.wait_for(receive(), 0.001))["type"]
    except TimeoutError:
        return None


async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise KeyError("secret detail")


ROUTES = (
    Route("POST", "/echo", echo, Action.WRITE),
    Route("GET", "/whoami", whoami, Action.READ),
    Route("GET", "/stream", stream, Action.READ),
    Route("POST", "/flood", flood, Action.READ),
    Route("GET", "/broken", broken, Action.READ),
)


def allow(_principal: object, _action: Enum) -> None:
    """Let everybody do everything: the decision table is somebody else's."""


class Running:
    """A server in its own thread; the test talks to it over sockets only."""

    def __init__(self, listeners: Sequence[Callable[[], Listener]], kind: str) -> None:
        self._listeners = listeners
        self._kind: Literal["uvloop", "asyncio"] = "uvloop" if kind == "uvloop" else "asyncio"
        self._ready: Future[Server] = Future()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        self.server = self._ready.result(10)

    def _main(self) -> None:
        self.loop = new_loop(self._kind)
        asyncio.set_event_loop(self.loop)
        self._done = asyncio.Event()
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    async def _serve(self) -> None:
        try:
            server = await serve([make() for make in self._listeners], clock=time.time_ns)
        except AsepsisError as error:
            self._ready.set_exception(error)
            return
        self._ready.set_result(server)
        await self._done.wait()
        await server.close(drain_s=0.2)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the server's loop and return its result."""

        async def run() -> Any:
            result = function()
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def status(self, name: str = "clinical") -> Any:
        return self.call(self.server.status)[name]

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


@dataclass
class Bench:
    """Everything a test of this folder needs."""

    authority: Authority
    hub: tls.KeyAndChain
    book: Book
    running: Running

    def connect(
        self,
        identity: Identity | None,
        *,
        listener: str = "clinical",
        version: ssl.TLSVersion | None = None,
        session: ssl.SSLSession | None = None,
        context: ssl.SSLContext | None = None,
    ) -> ssl.SSLSocket:
        context = context or client_context(self.authority.root_der, identity, version=version)
        raw = socket.create_connection(self.running.server.addresses[listener], timeout=5)
        try:
            return context.wrap_socket(raw, server_hostname="localhost", session=session)
        except BaseException:
            raw.close()
            raise


def request(
    path: str = "/whoami", *, method: str = "GET", body: bytes = b"", extra: str = ""
) -> bytes:
    """Return the bytes of one correct request."""
    length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: hub\r\n{length}{extra}\r\n".encode() + body


def read_answer(sock: socket.socket) -> tuple[int, bytes, bytes]:
    """Read one answer with Content-Length; return status, head and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65_536)
        if not chunk:
            raise ConnectionResetError(f"closed after {data!r}")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    wanted = int(fields.get(b"content-length", b"0"))
    while len(body) < wanted:
        body += sock.recv(65_536)
    return int(head.split()[1]), head, body


def wait_closed(sock: socket.socket, *, within_s: float) -> float:
    """Return after how many seconds the peer closed; fail if it did not."""
    began = time.monotonic()
    sock.settimeout(within_s)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while sock.recv(65_536):
            pass
    return time.monotonic() - began


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="session")
def hub_identity(authority: Authority) -> tls.KeyAndChain:
    return authority.server()


@pytest.fixture(scope="session")
def device(authority: Authority) -> Identity:
    return authority.device(7)


@pytest.fixture(scope="session")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("maker"), name="Test Maker")


@pytest.fixture(params=LOOPS)
def loop_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bench(
    authority: Authority, hub_identity: tls.KeyAndChain, maker: Authority, loop_kind: str
) -> Iterator[Bench]:
    """All three listeners with quick limits."""
    book, router = Book(), Router(ROUTES, check=allow)
    contexts = {
        "clinical": tls.server_context(
            tls.Listener.CLINICAL, identity=hub_identity, issuing_der=[authority.issuing_der]
        ),
        "enrolment": tls.server_context(
            tls.Listener.ENROLMENT,
            identity=hub_identity,
            issuing_der=[authority.issuing_der],
            maker_der=[maker.root_der, maker.issuing_der],
        ),
        "people": tls.server_context(tls.Listener.PEOPLE, identity=hub_identity),
    }
    bounds = {
        "clinical": limits.CLINICAL,
        "enrolment": limits.BEFORE_IDENTITY,
        "people": limits.PEOPLE,
    }

    def make(name: str) -> Callable[[], Listener]:
        return lambda: Listener(
            name=name,
            host="127.0.0.1",
            port=0,
            context=contexts[name],
            app=router,
            admission=book,
            limits=replace(bounds[name], **QUICK),
            idevid=name == "enrolment",
        )

    running = Running([make(name) for name in contexts], loop_kind)
    try:
        yield Bench(authority, hub_identity, book, running)
    finally:
        running.close()
