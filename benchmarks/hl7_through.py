"""hl7-through: MLLP -> gateway -> hub -> second gateway -> MLLP to an EHR sink, every check on.

Each sender has its own address, patient and connection. A message counts when the EHR sink has it;
its latency is from the sender's write to the sink's read, on one clock, for senders and sink are
one program. Afterwards the order of each patient is compared, and what was lost or came twice.

Four parts: runs paced at the target rate and at half of it, for the latency; a run at full load;
and an outage: the sink is away while everything is sent, then comes back and the backlog drains,
in order.

Beside it in the same run, as the peer: the `hl7` package's asyncio MLLP server, which parses and
answers and passes nothing on.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

import hl7_gateway
from _report import report
from hl7_gateway import HL7_SERVER, Load, cpu_s, now, run_other

TESTS = Path(__file__).parents[1] / "tests" / "system"
sys.path[:0] = [str(TESTS / "delivery"), str(TESTS / "hub")]

from gateway_ward import peer_text  # noqa: E402 - the path comes first
from through import Through, prepare_outbound  # noqa: E402 - the path comes first

TARGET_PER_S = 3_000
P99_MS_MAX = 50.0
IN_FLIGHT = 128
START, END = b"\x0b", b"\x1c\r"


@dataclass
class Arrivals:
    """What the EHR sink has.

    Attributes:
        ids: Control ids in the order of arrival.
        at_s: When each came first.
    """

    ids: list[bytes] = field(default_factory=list)
    at_s: dict[bytes, float] = field(default_factory=dict)


class EhrSink(asyncio.Protocol):
    """Reads, notes and answers; one connection."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Note and answer each message."""
        *frames, self._buffer = (self._buffer + data).split(END)
        now_s = time.perf_counter()
        answers: list[bytes] = []
        for frame in frames:
            control = frame.split(b"|", 10)[9]
            self._arrivals.ids.append(control)
            self._arrivals.at_s.setdefault(control, now_s)
            head = b"MSH|^~\\&|EHR|HOSP|HUB|HOSP|20261122||ACK|1|P|2.6\r"
            answers.append(START + head + b"MSA|CA|" + control + b"\r" + END)
        if self._transport is not None:
            self._transport.write(b"".join(answers))


class Paced(hl7_gateway.Sender):
    """A sender that posts by the clock, not by answers, and notes when."""

    def __init__(
        self,
        number: int,
        given: argparse.Namespace,
        load: Load,
        at: bytes,
        sent: dict[bytes, float],
    ) -> None:
        super().__init__(number, given, load, at)
        self._number = number
        self._when = sent

    def _post(self) -> None:
        self._when[b"%d-%d" % (self._number, self._next)] = time.perf_counter()
        super()._post()

    async def pace(self, per_s: float) -> None:
        """Send everything, so many a second."""
        began = time.perf_counter()
        for number in range(len(self._frames)):
            wait_s = began + number / per_s - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._post()
        await self.done

    def data_received(self, data: bytes) -> None:
        """Count answers; a paced sender sends nothing because of them."""
        self._buffer += data
        *answers, self._buffer = self._buffer.split(END)
        for answer in answers:
            self._load.positive += b"MSA|CA|" in answer or b"MSA|AA|" in answer
            self._answered += 1
        if self._answered == len(self._frames) and not self.done.done():
            self.done.set_result(None)


async def part(
    through: Through, given: argparse.Namespace, *, per_s: float, outage: bool = False
) -> dict[str, float]:
    """Send every message and wait until the sink has it."""
    loop = asyncio.get_running_loop()
    arrivals, load, sent = Arrivals(), Load(), dict[bytes, float]()
    total = given.senders * given.messages

    async def sink() -> asyncio.Server:
        return await loop.create_server(lambda: EhrSink(arrivals), "127.0.0.1", through.sink.port)

    server = None if outage else await sink()
    at = now()
    senders = [
        await connect(through, number, given, load, at, sent) for number in range(given.senders)
    ]
    pids = processes(through)
    used = [cpu_s(pid) for pid in pids.values()]
    began = time.perf_counter()
    await asyncio.gather(*(one.pace(per_s / given.senders) for one in senders))
    acked_s = time.perf_counter() - began
    if outage:
        began = time.perf_counter()
        server = await sink()
    deadline = time.monotonic() + 120
    # One number decides, and this runs once.
    while len(arrivals.at_s) < total and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    last_s = max(arrivals.at_s.values(), default=began)
    cores = {
        f"{name}_cores": (cpu_s(pid) - was) / max(last_s - began, 1e-6)
        for (name, pid), was in zip(pids.items(), used, strict=True)
    }
    assert server is not None
    server.close()
    times = sorted(arrivals.at_s[one] - sent[one] for one in arrivals.at_s)
    return {
        "per_s": len(arrivals.at_s) / (last_s - began),
        "acked_per_s": total / acked_s,
        "p50_ms": times[len(times) // 2] * 1_000,
        "p99_ms": times[int(len(times) * 0.99)] * 1_000,
        "lost": total - len(arrivals.at_s),
        "twice": sum(Counter(arrivals.ids).values()) - len(arrivals.at_s),
        "out_of_order": disorder(arrivals),
        **cores,
    }


async def connect(
    through: Through,
    number: int,
    given: argparse.Namespace,
    load: Load,
    at: bytes,
    sent: dict[bytes, float],
) -> Paced:
    """Return a connected sender."""
    _, made = await asyncio.get_running_loop().create_connection(
        lambda: Paced(number, given, load, at, sent),
        "127.0.0.1",
        through.ward.port(),
        local_addr=(f"127.0.1.{number + 1}", 0),
    )
    return made


def disorder(arrivals: Arrivals) -> int:
    """Return how many messages came after a later one of the same patient."""
    last: dict[bytes, int] = {}
    bad = 0
    for control in dict.fromkeys(arrivals.ids):
        patient, _, number = control.partition(b"-")
        bad += int(number) < last.get(patient, -1)
        last[patient] = max(last.get(patient, -1), int(number))
    return bad


def processes(through: Through) -> dict[str, int]:
    """Return the processes that are measured."""
    assert through.ward.hub is not None
    assert through.ward.gateway is not None
    assert through.outbound is not None
    return {
        "hub": through.ward.hub.process.pid,
        "gateway_in": through.ward.gateway.pid,
        "gateway_out": through.outbound.pid,
    }


def run(given: argparse.Namespace, *, per_s: float, outage: bool = False) -> dict[str, float]:
    """Measure once, with everything fresh."""
    more = 'ack = "hub"\nin_flight_max = 256\n'
    peers = "".join(
        peer_text(f"bed-{n}", [f"127.0.1.{n + 1}"], more=more) for n in range(given.senders)
    )
    with tempfile.TemporaryDirectory(prefix="asepsis-through-") as folder:
        through = prepare_outbound(Path(folder), in_flight=IN_FLIGHT, peers=peers)
        through.sink.kill()  # The benchmark is the sink.
        try:
            through.ward.start_hub()
            through.enter()
            through.ward.start_gateway()
            through.start_outbound()
            return uvloop.run(part(through, given, per_s=per_s, outage=outage))
        finally:
            through.close()


def main() -> None:
    """Measure everything in turn and print the one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--senders", type=int, default=12)
    parser.add_argument("--messages", type=int, default=1_000, help="of each sender")
    given = parser.parse_args()
    given.depth = 4
    peer_load = argparse.Namespace(senders=given.senders, messages=100, depth=4)
    peer = run_other(HL7_SERVER, peer_load)
    paced = run(given, per_s=TARGET_PER_S)
    half = run(given, per_s=TARGET_PER_S / 2)
    full = run(given, per_s=1e6)
    drained = run(given, per_s=1e6, outage=True)
    parts = {"paced": paced, "half": half, "full": full, "drained": drained}
    print(parts, file=sys.stderr)
    bad = sum(p["lost"] + p["twice"] + p["out_of_order"] for p in parts.values())
    met = report(
        "hl7-through",
        full["per_s"] if not bad else 0.0,
        "messages/s of 4.8 KB, MLLP through two gateways and a hub to an EHR sink",
        peer="asyncio MLLP server of the hl7 package (parses and answers, passes nothing on)",
        peer_value=peer["per_s"],
        target=TARGET_PER_S,
        paced_per_s=round(paced["per_s"], 1),
        p50_ms=round(paced["p50_ms"], 2),
        p99_ms=round(paced["p99_ms"], 2),
        p99_ms_target=P99_MS_MAX,
        p99_met=paced["p99_ms"] <= P99_MS_MAX,
        half_target_per_s=round(half["per_s"], 1),
        half_target_p50_ms=round(half["p50_ms"], 2),
        half_target_p99_ms=round(half["p99_ms"], 2),
        drained_per_s=round(drained["per_s"], 1),
        cores={k: round(v, 2) for k, v in full.items() if k.endswith("_cores")},
        lost_twice_or_out_of_order=bad,
    )
    sys.exit(0 if met and not bad and paced["p99_ms"] <= P99_MS_MAX else 1)


if __name__ == "__main__":
    main()
