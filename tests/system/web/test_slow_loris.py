"""2,000 peers that never finish a request: memory and the latency of an honest client."""

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from web_pki import Authority, Identity, client_context, device_uri

from conftest import read_answer, request

HERE = Path(__file__).parent
CONNECTIONS = 2_000
PER_IDENTITY = 8
GROWTH_BYTES_MAX = 50_000_000
P99_MS_MAX = 100
ATTEMPTS = 3
"""Whatever else a machine does adds to a latency and never takes from it: one attempt under the
bound shows what the listener costs; none of three shows that it costs too much."""
SECONDS = 25
WARM_UP_REQUESTS = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and certificates on disk, for processes of their own."""
    authority = Authority(tmp_path_factory.mktemp("ward"))
    authority.server()
    for number in range(CONNECTIONS // PER_IDENTITY):
        authority.device(number)
    authority.device(9_999)
    (authority.folder / "issuing.der").write_bytes(authority.issuing_der)
    (authority.folder / "root.der").write_bytes(authority.root_der)
    return authority.folder


@contextlib.contextmanager
def victim(
    folder: Path, kind: str, loop_kind: str
) -> Iterator[tuple[psutil.Process, dict[str, int]]]:
    process = subprocess.Popen(
        [sys.executable, HERE / "victim.py", kind, loop_kind, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield psutil.Process(process.pid), json.loads(process.stdout.readline())
    finally:
        process.communicate(timeout=20)


@contextlib.contextmanager
def attackers(
    folder: Path, port: int, identities: int, each: int
) -> Iterator[list[dict[str, int]]]:
    nice = [shutil.which("nice") or "nice", "-n", "5"]
    process = subprocess.Popen(
        [
            *nice,
            sys.executable,
            HERE / "attackers.py",
            str(port),
            folder,
            str(identities),
            str(each),
        ],
        stdout=subprocess.PIPE,
    )
    reports: list[dict[str, int]] = []
    stdout = process.stdout
    assert stdout is not None

    def collect() -> None:
        reports.extend(json.loads(line) for line in stdout)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield reports
    finally:
        process.kill()
        process.wait()
        thread.join()
        stdout.close()


class Honest:
    """A client that sends 1 KB every 20 ms on a kept connection and notes how long each took."""

    def __init__(self, folder: Path, port: int) -> None:
        who = _identity(folder, 9_999)
        self.context = client_context((folder / "root.der").read_bytes(), who)
        self.port = port
        self.sock = self.connect()
        self.took_ms: list[float] = []

    def connect(self) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.context.wrap_socket(raw, server_hostname="localhost")

    def ask(self) -> None:
        began = time.perf_counter()
        self.sock.sendall(request("/echo", method="POST", body=b"v" * 1_000))
        assert read_answer(self.sock)[0] == 200
        self.took_ms.append((time.perf_counter() - began) * 1_000)

    def p99_ms(self) -> float:
        return sorted(self.took_ms)[int(len(self.took_ms) * 0.99)]


def _identity(folder: Path, number: int) -> Identity:
    label = folder / f"device-{number}"
    return Identity(device_uri(number), label.with_suffix(".pem"), label.with_suffix(".key"), b"")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    ("loop_kind", "listener", "identities", "each"),
    [
        ("uvloop", "clinical", CONNECTIONS // PER_IDENTITY, PER_IDENTITY),
        ("uvloop", "enrolment", -100, 20),
        ("uvloop", "people", -100, 20),
        ("asyncio", "clinical", CONNECTIONS // PER_IDENTITY, PER_IDENTITY),
    ],
)
def test_two_thousand_slow_peers_cost_little(
    folder: Path, loop_kind: str, listener: str, identities: int, each: int
) -> None:
    """Goal: under 50 MB more memory, and an honest client's p99 under 100 ms all the while.

    All 2,000 knock at once and again whenever they are cut; on the clinical listener each has a
    valid certificate, the hardest case. The server lets a part of them in at a time.
    """
    for _ in range(ATTEMPTS):
        cost = attack(folder, loop_kind, against=listener, identities=identities, each=each)
        print(f"\n{listener} {loop_kind}: {cost}")  # noqa: T201 - the figures of the report
        assert cost.tried >= CONNECTIONS
        assert cost.growth_bytes < GROWTH_BYTES_MAX
        if cost.p99_ms < P99_MS_MAX:
            return
    pytest.fail(f"p99 over {P99_MS_MAX} ms in each of {ATTEMPTS} attempts")


@dataclass(frozen=True)
class Cost:
    """What an attack cost the server and its honest client."""

    tried: int
    growth_bytes: int
    p99_ms: float
    worst_ms: float


def attack(folder: Path, loop_kind: str, *, against: str, identities: int, each: int) -> Cost:
    with victim(folder, "ours", loop_kind) as (process, ports):
        honest = Honest(folder, ports["clinical"])
        for _ in range(WARM_UP_REQUESTS):
            honest.ask()
        honest.took_ms.clear()
        before = process.memory_info().rss
        peak = 0
        with attackers(folder, ports[against], identities, each) as reports:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                honest.ask()
                peak = max(peak, process.memory_info().rss)
                time.sleep(0.02)
        honest.sock.close()
    return Cost(reports[-1]["tried"], peak - before, honest.p99_ms(), max(honest.took_ms))


@pytest.mark.slow
@pytest.mark.alone
def test_the_peer_takes_what_we_refuse(folder: Path) -> None:
    """Goal: negative control: plain uvicorn takes 60 MB of header; the measurement sees it."""
    with victim(folder, "uvicorn", "uvloop") as (process, ports):
        honest = Honest(folder, ports["clinical"])
        honest.ask()
        before = process.memory_info().rss
        honest.sock.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\nX: ")
        for _ in range(60):
            honest.sock.sendall(b"a" * 1_000_000)
        time.sleep(0.5)
        grown = process.memory_info().rss - before
        honest.sock.close()
    assert grown > GROWTH_BYTES_MAX
