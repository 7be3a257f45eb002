"""A server in a process of its own: `victim.py KIND LOOP FOLDER`, stops when stdin ends.

KIND is `ours` (three listeners with the limits of service), `uvicorn` (the peer: one listener with
the same TLS context and plain uvicorn) or `limit` (the same TLS context, a protocol that answers
every read with the same bytes and checks nothing). Prints one JSON object: listener -> port.
"""

import asyncio
import json
import socket
import sys
import threading
import time
from enum import Enum
from pathlib import Path
from typing import cast

import uvicorn

from asepsis.core.trust import tls
from asepsis.core.trust.identity import PeerCertificate
from asepsis.hub.web import limits
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.bodies import bounded_body
from asepsis.hub.web.listener import Listener
from asepsis.hub.web.routing import Route, Router
from asepsis.hub.web.server import new_loop, serve


class Action(Enum):
    """The one action of this server."""

    WRITE = 1


class Everybody:
    """Admits everybody; what is measured here is the web server."""

    def admit(self, peer: PeerCertificate | None, listener: str, now_ns: int) -> object:
        """Return a principal."""
        del listener, now_ns
        return "anonymous" if peer is None else peer.uri


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body."""
    body = await bounded_body(receive, 1_000_000, scope=scope)
    await answer(send, 200, body, media=b"application/octet-stream")


async def bare_echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Do the same without our helpers, for the peer."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def contexts(folder: Path) -> dict[str, tls.ssl.SSLContext]:
    """Read the hub's identity from the folder and build the three contexts."""
    own = tls.KeyAndChain(chain_path=folder / "hub.pem", key_path=folder / "hub.key")
    issuing = [(folder / "issuing.der").read_bytes()]
    return {
        "clinical": tls.server_context(tls.Listener.CLINICAL, identity=own, issuing_der=issuing),
        "enrolment": tls.server_context(tls.Listener.ENROLMENT, identity=own, issuing_der=issuing),
        "people": tls.server_context(tls.Listener.PEOPLE, identity=own),
    }


async def run_ours(folder: Path, done: asyncio.Event) -> None:
    """Serve three listeners until `done`."""
    bounds = {
        "clinical": limits.CLINICAL,
        "enrolment": limits.BEFORE_IDENTITY,
        "people": limits.PEOPLE,
    }
    router = Router([Route("POST", "/echo", echo, Action.WRITE)], check=lambda _p, _a: None)
    listeners = [
        Listener(
            name=name,
            host="127.0.0.1",
            port=0,
            context=context,
            app=router,
            admission=Everybody(),
            limits=bounds[name],
        )
        for name, context in contexts(folder).items()
    ]
    server = await serve(listeners, clock=time.time_ns)
    print(json.dumps({n: a[1] for n, a in server.addresses.items()}), flush=True)  # noqa: T201
    await done.wait()
    print(json.dumps({k: dict(v) for k, v in server.status().items()}), flush=True)  # noqa: T201
    await server.close(drain_s=0)


async def run_uvicorn(folder: Path, done: asyncio.Event) -> None:
    """Serve the same handler on plain uvicorn with the clinical TLS context."""
    context = contexts(folder)["clinical"]
    config = uvicorn.Config(
        bare_echo,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        ssl_context_factory=lambda _config, _default: context,
        timeout_graceful_shutdown=0,
    )
    server = uvicorn.Server(config)
    sock = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(json.dumps({"clinical": sock.getsockname()[1]}), flush=True)  # noqa: T201
    task = asyncio.create_task(server.serve(sockets=[sock]))
    await done.wait()
    server.should_exit = server.force_exit = True
    await task


class Parrot(asyncio.Protocol):
    """Answers whatever it reads, so that only TLS and the event loop are measured."""

    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"v" * 1_000

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer."""
        del data
        self.transport.write(self.ANSWER)


async def run_limit(folder: Path, done: asyncio.Event) -> None:
    """Serve the parrot until `done`."""
    context, loop = contexts(folder)["clinical"], asyncio.get_running_loop()
    server = await loop.create_server(Parrot, "127.0.0.1", 0, ssl=context, backlog=2_048)
    print(json.dumps({"clinical": server.sockets[0].getsockname()[1]}), flush=True)  # noqa: T201
    await done.wait()
    server.close()


RUNS = {"ours": run_ours, "uvicorn": run_uvicorn, "limit": run_limit}


def main() -> None:
    """Run until stdin ends."""
    kind, loop_kind, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    loop = new_loop("asyncio" if loop_kind == "asyncio" else "uvloop")
    asyncio.set_event_loop(loop)
    done = asyncio.Event()

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=watch, daemon=True).start()
    loop.run_until_complete(RUNS[kind](folder, done))


if __name__ == "__main__":
    main()
