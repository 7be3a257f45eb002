"""hl7-gateway: MLLP -> gateway -> mutual TLS -> real hub -> journal, every check on, two cores.

Each sender has its own address, policy and connection and keeps some messages of 4.8 KB in flight,
as a central station does. A message counts when its positive acknowledgement is there; afterwards
the hub's journal is compared with what was acknowledged: a run that lost or doubled one has failed.

`ack = "hub"`: acknowledged once durable at the hub. `ack = "spool"`: once durable in the gateway;
its rate is that of the *journal*: from the first message sent to the last one stored at the hub.

The values are of the moment of sending, so the hub renews leases and offers them to live views too.
Gateway and hub have a core each; the senders share both, and the cores that each used are printed.

Beside it in the same run: the `hl7` package's asyncio MLLP server, which parses and answers and
stores nothing, and a limit program that frames, syncs to a file and answers, and checks nothing.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import cast

import uvloop

from _report import report

GATEWAY_TESTS = Path(__file__).parents[1] / "tests" / "system" / "gateway"
sys.path.insert(0, str(GATEWAY_TESTS))

from gateway_ward import DEVICE, EI, Ward, make_ward, peer_text  # noqa: E402

TARGET_PER_S = 5_000
P99_MS_MAX = 20.0
MESSAGE_BYTES = 4_800
GATEWAY_CORE, HUB_CORE = 0, 1
PEER_SHARE = 10
"""The peer gets one part in so many of the messages: it is slower by more than that."""


def pcd_01(number: int, sender: int, at: bytes) -> bytes:
    """Return an observation report of about 4.8 KB, measured at `at`."""
    body = bytearray(
        b"MSH|^~\\&|MON|ICU|GW|HOSP|%b||ORU^R01^ORU_R01|%d-%d|P|2.6|||AL|NE\r"
        b"PID|||4711^^^HOSP^MR||DOE^JANE\rPV1||I|ICU^1^%d\r"
        b"OBR|1|||69965^MDC_DEV_MON_PHYSIO^MDC|||%b\r" % (at, sender, number, sender, at)
    )
    row = 0
    while len(body) < MESSAGE_BYTES:
        row += 1
        body += (
            b"OBX|%d|NM|147842^MDC_ECG_HEART_RATE^MDC|1.7.4.%d|%d|264864^MDC_DIM_BEAT_PER_MIN^MDC"
            b"|||||R|||%b||||%b\r" % (row, row, 60 + row, at, EI)
        )
    return bytes(body)


@dataclass
class Load:
    """What was sent and answered."""

    times_s: list[float] = field(default_factory=list)
    positive: int = 0


class Sender(asyncio.Protocol):
    """One connection that keeps `depth` messages in flight."""

    def __init__(self, number: int, given: argparse.Namespace, load: Load, at: bytes) -> None:
        messages, depth = given.messages, given.depth
        self._frames = [b"\x0b" + pcd_01(n, number, at) + b"\x1c\r" for n in range(messages)]
        self._depth = depth
        self._load = load
        self._sent: list[float] = []
        self._next = self._answered = 0
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def begin(self) -> None:
        """Send the first messages."""
        for _ in range(min(self._depth, len(self._frames))):
            self._post()

    def _post(self) -> None:
        assert self._transport is not None
        self._sent.append(time.perf_counter())
        self._transport.write(self._frames[self._next])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        """Count answers and send what they make room for."""
        self._buffer += data
        *answers, self._buffer = self._buffer.split(b"\x1c\r")
        now = time.perf_counter()
        for answer in answers:
            self._load.times_s.append(now - self._sent[self._answered])
            self._load.positive += b"MSA|CA|" in answer or b"MSA|AA|" in answer
            self._answered += 1
            if self._next < len(self._frames):
                self._post()
        if self._answered == len(self._frames) and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the run."""
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"cut after {self._answered}: {exc}"))


async def drive(port: int, given: argparse.Namespace, at: bytes) -> tuple[Load, float]:
    """Let every sender send its messages; return the answers and the seconds it took."""
    load = Load()
    loop = asyncio.get_running_loop()
    made: list[Sender] = []
    for number in range(given.senders):
        _, one = await loop.create_connection(
            lambda number=number: Sender(number, given, load, at),
            "127.0.0.1",
            port,
            local_addr=(f"127.0.1.{number + 1}", 0),
        )
        made.append(one)
    began = time.perf_counter()
    for one in made:
        one.begin()
    await asyncio.gather(*(one.done for one in made))
    return load, time.perf_counter() - began


def run_gateway(given: argparse.Namespace, ack: str) -> dict[str, float]:
    """Measure gateway and hub once."""
    more = f'ack = "{ack}"\nin_flight_max = {max(8, given.depth)}\n'
    peers = "".join(
        peer_text(f"bed-{n}", [f"127.0.1.{n + 1}"], more=more) for n in range(given.senders)
    )
    with tempfile.TemporaryDirectory(prefix="asepsis-gateway-") as folder:
        ward = make_ward(Path(folder), peers=peers)
        try:
            ward.hub = ward.hospital.start_hub(core=HUB_CORE)
            ward.start_gateway(wrap=["taskset", "-c", str(GATEWAY_CORE)])
            return measure(ward, given)
        finally:
            ward.close()


def measure(ward: Ward, given: argparse.Namespace) -> dict[str, float]:
    """Send, wait for the last message in the journal, and compare."""
    assert ward.hub is not None
    assert ward.gateway is not None
    total = given.senders * given.messages
    at = now()
    began = time.perf_counter()
    pids = (ward.hub.process.pid, ward.gateway.pid, os.getpid())
    before = [cpu_s(pid) for pid in pids]
    load, seconds = uvloop.run(drive(ward.port(), given, at))
    ward.wait_journalled(timeout_s=120)
    through = time.perf_counter() - began
    hub_s, gateway_s, senders_s = (
        cpu_s(pid) - used for pid, used in zip(pids, before, strict=True)
    )
    ward.stop_gateway()
    stored = Counter(ward.journalled())
    sent = {pcd_01(n, s, at) for s in range(given.senders) for n in range(given.messages)}
    ordered = sorted(load.times_s)
    return {
        "acks_per_s": total / seconds,
        "journal_per_s": total / through,
        "p50_ms": ordered[len(ordered) // 2] * 1_000,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1_000,
        "lost": len(sent - stored.keys()) + total - load.positive,
        "doubled": sum(times - 1 for times in stored.values()),
        "hub_us": hub_s / total * 1e6,
        "gateway_us": gateway_s / total * 1e6,
        "hub_cores": hub_s / through,
        "gateway_cores": gateway_s / through,
        "senders_cores": senders_s / through,
    }


def now() -> bytes:
    """Return this moment as a sender writes it: the values are of the present, and go live."""
    return f"{datetime.now(UTC):%Y%m%d%H%M%S}.000+0000".encode()


def cpu_s(pid: int) -> float:
    """Return the processor time that a process and its children have used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    if pid == os.getpid():
        return own
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_s(int(child)) for child in children)


HL7_SERVER = """
import asyncio
from hl7.mllp import start_hl7_server
async def serve(reader, writer):
    try:
        while True:
            message = await reader.readmessage()
            writer.writemessage(message.create_ack())
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()
async def main():
    server = await start_hl7_server(serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
LIMIT = """
import asyncio, os, sys, threading
import uvloop
waiting, changed = [], threading.Condition()
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
ACK = b"\\x0bMSH|^~\\\\&|GW|HOSP|MON|ICU|||ACK|1|P|2.6\\rMSA|CA|1\\r\\x1c\\r"
def write(loop):
    while True:
        with changed:
            while not waiting: changed.wait()
            group, waiting[:] = waiting[:], []
        os.writev(file, [body for body, _ in group][:1000])
        os.fdatasync(file)
        loop.call_soon_threadsafe(lambda g=group: [t.write(ACK) for _, t in g])
class P(asyncio.Protocol):
    rest = b""
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data):
        *frames, self.rest = (self.rest + data).split(b"\\x1c\\r")
        with changed:
            waiting.extend((frame, self.transport) for frame in frames)
            changed.notify()
async def main():
    loop = asyncio.get_running_loop()
    threading.Thread(target=write, args=(loop,), daemon=True).start()
    server = await loop.create_server(P, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
uvloop.run(main())
"""


def run_other(program: str, given: argparse.Namespace) -> dict[str, float]:
    """Measure another MLLP server with the same senders."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["taskset", "-c", str(GATEWAY_CORE), sys.executable, "-c", program]
        with subprocess.Popen([*command, f"{folder}/log"], stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            try:
                load, seconds = uvloop.run(drive(port, given, now()))
            finally:
                server.kill()
    ordered = sorted(load.times_s)
    return {
        "per_s": len(ordered) / seconds,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1_000,
    }


def main() -> None:
    """Measure everything in turn and print the one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--senders", type=int, default=12)
    parser.add_argument("--messages", type=int, default=1_000, help="of each sender")
    parser.add_argument("--depth", type=int, default=4, help="messages in flight per sender")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    assert DEVICE
    rows: dict[str, list[dict[str, float]]] = {"hub": [], "spool": [], "hl7": [], "limit": []}
    for _ in range(given.runs):
        fewer = argparse.Namespace(**vars(given))
        fewer.messages = max(10, given.messages // PEER_SHARE)
        rows["hl7"].append(run_other(HL7_SERVER, fewer))
        rows["limit"].append(run_other(LIMIT, given))
        for ack in ("hub", "spool"):
            rows[ack].append(run_gateway(given, ack))
        print({name: found[-1] for name, found in rows.items()}, file=sys.stderr)

    def middle(name: str, key: str) -> float:
        return round(median(row[key] for row in rows[name]), 2)

    bad = sum(row["lost"] + row["doubled"] for ack in ("hub", "spool") for row in rows[ack])
    p99_ms = middle("hub", "p99_ms")
    met = report(
        "hl7-gateway",
        middle("hub", "journal_per_s") if not bad else 0.0,
        "messages/s of 4.8 KB, MLLP to the hub's journal, ack = hub",
        peer="asyncio MLLP server of the hl7 package (parses and answers, stores nothing)",
        peer_value=middle("hl7", "per_s"),
        target=TARGET_PER_S,
        p99_ms=p99_ms,
        p99_ms_target=P99_MS_MAX,
        p99_met=p99_ms <= P99_MS_MAX,
        peer_p99_ms=middle("hl7", "p99_ms"),
        limit_per_s=middle("limit", "per_s"),
        limit_p99_ms=middle("limit", "p99_ms"),
        spool_acks_per_s=middle("spool", "acks_per_s"),
        spool_p99_ms=middle("spool", "p99_ms"),
        spool_journal_per_s=middle("spool", "journal_per_s"),
        gateway_us_per_message=middle("hub", "gateway_us"),
        hub_us_per_message=middle("hub", "hub_us"),
        gateway_cores=middle("hub", "gateway_cores"),
        hub_cores=middle("hub", "hub_cores"),
        senders_cores=middle("hub", "senders_cores"),
        senders=given.senders,
        depth=given.depth,
        runs=given.runs,
        lost_or_doubled=bad,
    )
    sys.exit(0 if met and not bad and p99_ms <= P99_MS_MAX else 1)


if __name__ == "__main__":
    main()
