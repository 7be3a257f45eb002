"""Polls a second of update clients with certificates on kept connections, beside goosebit.

Both servers run on one core, the same clients on the others, each connection a device of its own
that asks again as soon as it was answered. Ours speaks TLS with client certificates over a state
with `--registered` devices; goosebit speaks plain HTTP over an empty one, which favours it. The
cost of a poll is the processor time of the server; it is measured with few and with all devices.

goosebit is a peer with an environment of its own, never a dependency:

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install goosebit==0.2.12
    python benchmarks/polls.py --peer /tmp/peers/bin/python
"""

import argparse
import asyncio
import os
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import uvloop

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "system" / "ddi")]

from ddi_ward import MORE, DdiWard  # noqa: E402 - found by the path above

from _report import report  # noqa: E402 - as above
from asepsis.core.trust import tls  # noqa: E402 - as above

WARM_S = 2.0
PEER_PORT = 60_053
TARGET_RATIO = 5.0
TARGET_POLLS = 3_000
SCHEMA = """
import asyncio
from tortoise import Tortoise
from goosebit.db.config import TORTOISE_CONF

async def make():
    await Tortoise.init(config=TORTOISE_CONF)
    await Tortoise.generate_schemas()
    await Tortoise.close_connections()

asyncio.run(make())
"""
QUIET = MORE.replace("sleep_s = 1\nleast_s = 1", "sleep_s = 300\nleast_s = 30")


@dataclass(frozen=True)
class Measured:
    """What one server did.

    Attributes:
        polls: Answered a second.
        cost_us: Processor time of the server for one, microseconds.
        answer_bytes: Length of one answer with its head.
    """

    polls: float
    cost_us: float
    answer_bytes: int


class Poller(asyncio.Protocol):
    """One device: asks, and asks again when it was answered."""

    def __init__(self, request: bytes, counts: list[int]) -> None:
        self._request = request
        self._counts = counts
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self.transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Count a whole answer and ask again."""
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].split()[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"not answered: {head!r}")
        self._counts[0] += 1
        self._counts[1] = len(self._answer)
        self._answer = b""
        self.transport.write(self._request)  # type: ignore[attr-defined]


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def request_of(path: str) -> bytes:
    """Return a poll as update clients send it."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode()


async def poll(
    port: int, requests: list[tuple[bytes, ssl.SSLContext | None]], seconds: float, pid: int
) -> Measured:
    """Let every connection ask for some seconds."""
    loop, counts = asyncio.get_running_loop(), [0, 0]
    made: list[asyncio.BaseTransport] = []
    for request, context in requests:
        name = "localhost" if context else None
        transport, _ = await loop.create_connection(
            lambda r=request: Poller(r, counts),
            "127.0.0.1",
            port,
            ssl=context,
            server_hostname=name,
        )
        made.append(transport)
    await asyncio.sleep(WARM_S)
    began, before, cpu = time.monotonic(), counts[0], cpu_s(pid)
    await asyncio.sleep(seconds)
    polls, took, used = counts[0] - before, time.monotonic() - began, cpu_s(pid) - cpu
    for transport in made:
        transport.abort()  # type: ignore[attr-defined]
    return Measured(polls / took, used / max(1, polls) * 1e6, counts[1])


def fill(ward_folder: Path, count: int) -> None:
    """Register further devices, straight into the state."""
    row = ("generic", "", 0, "{}", 0, "", 0, "bench", 1, 0, "", 0)
    with sqlite3.connect(ward_folder / "data" / "hub" / "state.db") as state:
        state.executemany(
            "INSERT INTO ddi_targets VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            ((f"other-{n}", *row) for n in range(count)),
        )
    state.close()


def ours(folder: Path, *, connections: int, registered: int, seconds: float) -> Measured:
    """Measure the hub."""
    ward = DdiWard(folder, more=QUIET, before=lambda: fill(folder, registered), core=0)
    try:
        requests: list[tuple[bytes, ssl.SSLContext | None]] = []
        for n in range(connections):
            files = ward.maker.certify(f"pump-{n}")
            context = tls.client_context(root_der=ward.hospital.root_der, identity=files)
            requests.append((request_of(f"/default/controller/v1/pump-{n}"), context))
        port = ward.hub.ready["listeners"]["ddi"]["port"]
        return uvloop.run(poll(port, requests, seconds, ward.hub.process.pid))
    finally:
        ward.close()


def goosebit(python: str, folder: Path, *, connections: int, seconds: float) -> Measured:
    """Measure goosebit: plain HTTP, no device has to prove itself."""
    settings = {
        "GOOSEBIT_PORT": str(PEER_PORT),
        "GOOSEBIT_DB_URI": f"sqlite:///{folder}/goosebit.db",
        "GOOSEBIT_ARTIFACTS_DIR": str(folder / "artifacts"),
    }
    own = os.environ | settings
    subprocess.run([python, "-c", SCHEMA], env=own, check=True, capture_output=True)
    with (folder / "goosebit.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", "0", python, "-m", "goosebit"],
            env=own,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    base = "/DEFAULT/controller/v1/pump-"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urlopen(f"http://127.0.0.1:{PEER_PORT}{base}0").close()
                break
            except (URLError, ConnectionError):
                if time.monotonic() > deadline or process.poll() is not None:
                    said = (folder / "goosebit.log").read_text()
                    raise RuntimeError(f"goosebit does not serve: {said[-2000:]}") from None
                time.sleep(0.2)
        requests = [(request_of(f"{base}{n}"), None) for n in range(connections)]
        return uvloop.run(poll(PEER_PORT, requests, seconds, process.pid))  # type: ignore[arg-type]
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    """Measure and report; 1 if the targets are missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True, help="python of an environment with goosebit")
    parser.add_argument("--connections", type=int, default=600)
    parser.add_argument("--registered", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=6.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        more = {"connections": given.connections, "seconds": given.seconds}
        few = ours(folder / "few", registered=1_000, **more)
        many = ours(folder / "many", registered=given.registered, **more)
        peer = goosebit(given.peer, folder, **more)
    met = report(
        "polls",
        many.polls,
        "polls/s",
        peer="goosebit 0.2.12, plain HTTP",
        peer_value=peer.polls,
        target=max(TARGET_POLLS, TARGET_RATIO * peer.polls),
        connections=given.connections,
        registered=given.registered,
        cost_us=round(many.cost_us, 1),
        cost_us_of_1000=round(few.cost_us, 1),
        answer_bytes=many.answer_bytes,
        answer_bytes_of_1000=few.answer_bytes,
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
