"""A hub that says what a test tells it to say, over real TLS, and a device's spool."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from asepsis.core.errors import AsepsisError
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Lane
from asepsis.core.trust import tls
from asepsis.core.trust.sealing import throw_away_kek
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.trust.sealing_libcrypto import LibcryptoAead
from asepsis.edge.uplink.connection import Endpoint, HubConnection
from asepsis.edge.uplink.outgoing import Fate, Outgoing
from asepsis.edge.uplink.spool import Spool
from asepsis.hub.web.problems import problem
from hospital import Hospital

NOON_NS = 20_000 * 86_400 * 10**9


class Request(NamedTuple):
    """What arrived."""

    path: str
    media_type: str
    body: bytes


Script = Callable[[Request], AsepsisError | None]


@dataclass
class ScriptedHub:
    """Answers 201, or the problem that the script names; notes everything."""

    port: int
    root_der: bytes
    script: Script = lambda _request: None
    hangs_up_on: set[bytes] = field(default_factory=set[bytes])
    got: list[Request] = field(default_factory=list[Request])
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, request: Request) -> AsepsisError | None:
        """Note a request and say what is wrong with it."""
        with self.changed:
            self.got.append(request)
            self.changed.notify_all()
        return self.script(request)

    def bodies(self, path: str) -> list[bytes]:
        """Return what came to a path, in order."""
        return [request.body for request in self.got if request.path == path]

    def connect(self) -> HubConnection:
        """Return a connection as a device opens it."""
        context = tls.client_context(root_der=self.root_der)
        return HubConnection(Endpoint("127.0.0.1", self.port), context, now_ns=None, timeout_s=5)


class Fates:
    """Notes what became of each record; a test waits for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._all: list[tuple[bytes, Fate]] = []

    def __call__(self, record: Outgoing, fate: Fate) -> None:
        with self._changed:
            self._all.append((record.body, fate))
            self._changed.notify_all()

    def wait(self, count: int, *, seconds: float = 20) -> list[tuple[bytes, Fate]]:
        """Return all fates once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._all) >= count, seconds), self._all
            return list(self._all)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ScriptedHub]:
    hospital = Hospital(tmp_path / "hospital")
    made = ScriptedHub(0, hospital.root_der)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            refused = made.take(Request(self.path, self.headers["Content-Type"], body))
            if body in made.hangs_up_on:
                made.hangs_up_on.remove(body)
                self.close_connection = True
                return
            self._answer(refused)

        def do_GET(self) -> None:
            self._answer(made.take(Request(self.path, "", b"")))

        def _answer(self, refused: AsepsisError | None) -> None:
            body = json.dumps({"outcome": "stored", "position": 1}).encode()
            status, headers = 201, [(b"content-length", b"%d" % len(body))]
            if refused is not None:
                status, headers, body = problem(refused)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name.decode(), value.decode())
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files = tls.KeyAndChain(
        chain_path=hospital.data / "hub/tls/chain.pem", key_path=hospital.data / "hub/tls/key.pem"
    )
    context = tls.server_context(tls.Listener.PEOPLE, identity=files)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    journal = SqliteJournal(
        tmp_path / "spool",
        cipher=DayKeys(tmp_path / "keys", kek=throw_away_kek(), aead=LibcryptoAead()),
        lanes={Lane.LATE: LaneBudget(bytes_max=65_536, age_s=3_600)},
        clock=lambda: NOON_NS,
        limits=JournalLimits(linger_s=0.0, reserve_bytes=0),
    )
    yield Spool(journal, now_ns=lambda: NOON_NS)
    journal.close()


@pytest.fixture
def fates() -> Fates:
    return Fates()
