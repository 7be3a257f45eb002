"""Bodies that are read as they come: longer than others, patient with us, not with the peer."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from web_pki import Authority, Identity

from asepsis.core.trust import tls
from asepsis.hub.web import limits
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.listener import Listener
from asepsis.hub.web.routing import Route, Router
from conftest import QUICK, Action, Bench, Book, Running, allow, echo, read_answer, request

MIB = 1 << 20
STREAM = {"stream_bytes_max": 8 * MIB, "stream_stall_s": 1.0, "body_bytes_max": MIB}


async def count(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length of a body that is never held; pause once for longer than a stall."""
    total, paused = 0, False
    while True:
        message = await receive()
        total += len(message.get("body", b""))
        if total > MIB and not paused:
            paused = True
            await asyncio.sleep(2)
        if not message.get("more_body", False):
            break
    await answer(send, 200, str(total).encode(), media=b"text/plain")


@pytest.fixture
def streaming(
    authority: Authority, hub_identity: tls.KeyAndChain, loop_kind: str
) -> Iterator[Bench]:
    """Return a listener that streams bodies below `/store`."""
    book = Book()
    routes = (
        Route("POST", "/store", count, Action.WRITE),
        Route("POST", "/store/{study}", count, Action.WRITE),
        Route("POST", "/stored", echo, Action.WRITE),
    )

    def make() -> Listener:
        return Listener(
            name="clinical",
            host="127.0.0.1",
            port=0,
            context=tls.server_context(
                tls.Listener.CLINICAL, identity=hub_identity, issuing_der=[authority.issuing_der]
            ),
            app=Router(routes, check=allow),
            admission=book,
            limits=replace(limits.CLINICAL, **QUICK, **STREAM),
            streams=frozenset({"POST /store"}),
        )

    running = Running([make], loop_kind)
    yield Bench(authority, hub_identity, book, running)
    running.close()


@pytest.mark.parametrize("path", ["/store", "/store/1.2"])
def test_a_streamed_body_may_be_long_and_wait_for_us(
    streaming: Bench, device: Identity, path: str
) -> None:
    with streaming.connect(device) as sock:
        sock.settimeout(20)
        sock.sendall(request(path, method="POST", body=bytes(4 * MIB)))
        assert read_answer(sock)[::2] == (200, str(4 * MIB).encode())
        sock.sendall(request(path, method="POST", body=b"x"))
        assert read_answer(sock)[0] == 200


@pytest.mark.parametrize(("path", "size"), [("/store", 9 * MIB), ("/stored", 2 * MIB)])
def test_each_body_has_its_own_limit(
    streaming: Bench, device: Identity, path: str, size: int
) -> None:
    with streaming.connect(device) as sock:
        sock.sendall(request(path, method="POST", extra="").replace(b": 0", b": %d" % size))
        assert read_answer(sock)[0] == 413


def test_a_peer_that_stalls_is_told_and_cut(streaming: Bench, device: Identity) -> None:
    with streaming.connect(device) as sock:
        sock.settimeout(10)
        began = time.monotonic()
        head = request("/store", method="POST").replace(b": 0", b": 5000")
        sock.sendall(head)
        for _ in range(3):  # Longer than a whole request may take, but never silent for long.
            time.sleep(0.6)
            sock.sendall(b"x")
        assert read_answer(sock)[0] == 408
        assert 2.5 < time.monotonic() - began < 6
