"""A compartment is replaced while it streams: records lost, and the largest gap at a consumer.

A writer process publishes 500 records a second, each a sample of four channels, in a sealed ring. A
compartment with every layer of this machine forwards them over TCP, by a socket of the connect
broker, to a consumer process, which says at each connection what it has. The supervision under test
replaces that compartment, every second time by a new version and every second time because it was
killed (SIGKILL) and its spare takes over. Beside it the same compartment is killed and started
anew, cold, as a service manager does: the consumer loses nothing there either, and waits longer.

Run: .venv/bin/python benchmarks/swap.py [--replacements N]
"""

import argparse
import contextlib
import multiprocessing
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from statistics import median
from typing import IO, Any

from _report import report
from asepsis.core.model.manifest import Compartment, Rung
from asepsis.edge.device.manifest import NETWORK, shipped
from asepsis.edge.device.rings import RingOwner
from asepsis.edge.device.state import code_link
from asepsis.edge.sandbox import bubblewrap, launcher
from asepsis.edge.sandbox.broker import Address, Broker
from asepsis.edge.sandbox.control import receive_report
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.sandbox.ring import RingWriter, wake_of
from asepsis.edge.sandbox.ring_layout import Geometry
from asepsis.edge.sandbox.supervision import Phase
from asepsis.edge.sandbox.supervision_parts import Means, Pace, Runner, Starter
from asepsis.edge.sandbox.supervision_watch import Watch
from asepsis.edge.uplink.backoff import Backoff

GEOMETRY = Geometry(slot_bytes=64, slots=8_192)
RATE_HZ = 500
SAMPLE = struct.Struct("<4h")
RECORD = struct.Struct("<Q8s")
TARGET_MS = 50.0
PEER_KILLS = 5
FORK = multiprocessing.get_context("fork")
PACE = Pace(trial_s=0.02, spare_s=0.02)
STREAMER = """
import select, struct, sys, types
_streamer = types.ModuleType("streamer")
sys.modules["streamer"] = _streamer
exec('''
import select, struct, time
from asepsis.edge.device.compartment import serve, take
from asepsis.edge.sandbox import ring
from asepsis.edge.sandbox.broker import BrokerClient
from asepsis.edge.sandbox.ring import RingReader, Token, wake_of
RECORD = struct.Struct("<Q8s")
class Streamer:
    def __init__(self, order, line, client):
        self.order, self.line, self.client = order, line, client
    def run(self):
        consumer = self.client.dial(0, timeout_s=5.0)
        consumer.setsockopt(6, 1, 1)
        (done,) = struct.unpack("<Q", consumer.recv(8))
        token = Token(epoch=self.order.body["ring_epoch"], sequence=done)
        reader = RingReader(take(self.order, "ring"), token=token if done else None)
        wake = wake_of(take(self.order, "wake"))
        while True:
            ready, _, _ = select.select([wake, self.line.socket], [], [], 0.02)
            ring.drain_wakes(wake)
            while (chunk := reader.read(records_max=512)).records:
                consumer.sendall(b"".join(RECORD.pack(n, p) for n, p in chunk.records))
            if self.line.socket in ready:
                order = self.line.order()
                if order is None or order.what == "stop":
                    consumer.close()
                    return
            self.line.heartbeat(dict)
def build(order, line):
    client = BrokerClient([take(order, "channel0")])
    return lambda: Streamer(order, line, client)
def main(control):
    serve(control, build)
''', _streamer.__dict__)
"""


def write(owner_end: Mapping[str, int], values: Mapping[str, int], mapped: Connection) -> None:
    """Be the writer: a record every 2 ms until killed."""
    writer = RingWriter(
        owner_end["ring"], geometry=GEOMETRY, wakes=(wake_of(owner_end["wake"]),), **values
    )
    mapped.send(True)
    due = time.monotonic()
    for number in range(1 << 40):
        due += 1 / RATE_HZ
        time.sleep(max(0.0, due - time.monotonic()))
        writer.write(SAMPLE.pack(*((number * k) % 1_000 for k in range(1, 5))))


def consume(server: socket.socket, result: Connection) -> None:
    """Be the consumer: resume at each connection; tell gaps, losses and repeats when asked."""
    done, last, lost, twice = 0, 0.0, 0, 0
    gaps: list[float] = []
    line: socket.socket | None = None
    rest = b""
    while True:
        ready, _, _ = select.select([line or server, result], [], [])
        if result in ready:
            result.recv()
            result.send((done, lost, twice, gaps))
            lost, twice, gaps = 0, 0, []
            continue
        if line is None:
            line, rest = server.accept()[0], b""
            with contextlib.suppress(OSError):
                line.send(struct.pack("<Q", done))
            continue
        try:
            data = line.recv(1 << 16)
        except OSError:  # Whoever is killed may leave a reset behind.
            data = b""
        if not data:
            line.close()
            line = None
            continue
        now, rest = time.monotonic(), rest + data
        whole = len(rest) // RECORD.size * RECORD.size
        for number, _ in RECORD.iter_unpack(rest[:whole]):
            lost += max(0, number - done - 1) if done else 0
            twice += number <= done
            done = max(done, number)
        rest = rest[whole:]
        if last and now - last > 3 / RATE_HZ:
            gaps.append((now - last) * 1_000)
        last = now


class Granted:
    """A permit that is always there: no patient depends on this device."""

    def ask(self, version: str) -> None:
        """Ask."""

    def verdict(self) -> str:
        """Return that it is permitted."""
        return ""

    def redeem(self) -> None:
        """Use it up."""


@dataclass
class Streamers:
    """Starts the compartment that streams."""

    owner: RingOwner
    where: Address
    folder: Path
    log: IO[bytes]
    layers: Any = field(default_factory=lambda: detect().holding)

    def blueprint(self) -> launcher.Blueprint:
        """Return what one is started by."""
        declared = shipped().compartments[NETWORK]
        plan = host.blueprint(declared, layers=self.layers, state=self.folder, prelude=STREAMER)
        return replace(plan, module="streamer")

    def start(self, version: str, *, warm: bool) -> Runner:
        """Start one."""
        broker = Broker([self.where], channels=1)
        body: dict[str, Any] = {"warm": warm}
        descriptors = {"channel0": broker.theirs[0].fileno()}
        if not warm:
            feed = self.owner.oldest()
            body["ring_epoch"] = feed.epoch
            descriptors |= feed.handed()
        plan = self.blueprint()
        process = launcher.launch(
            plan, body=body, descriptors=descriptors, code_folder=self.folder, log=self.log
        )
        broker.start()
        return Runner(process=process, version=version, likeness=plan, let_go=broker.close)

    def serve(self, runner: Runner) -> None:
        """Call one that stands by."""
        feed = self.owner.oldest()
        runner.process.order("serve", {"ring_epoch": feed.epoch}, descriptors=feed.handed())

    def likeness(self, version: str) -> object:
        """Return what would be started now."""
        del version
        return self.blueprint()

    def may_start(self) -> bool:
        """Return that it may."""
        return True


class Bench:
    """A compartment under supervision, the streaming one if none is named."""

    def __init__(
        self, starter: Starter, *, rung: Rung, declared: Compartment | None = None
    ) -> None:
        self.events: list[str] = []
        declared = declared or shipped().compartments[NETWORK]
        self.watch = Watch(
            replace(declared, update=replace(declared.update, rung=rung)),
            means=Means(
                starter=starter,
                permit=Granted(),
                wait=Backoff(rng=Random(1), cap_s=0.1),
                confirm=lambda _name, _version: None,
            ),
            version="a",
            pace=PACE,
            tell=lambda _name, event, _details: self.events.append(event),
            clock_s=time.monotonic,
        )

    def step(self) -> None:
        """Do what is due, then listen."""
        watch = self.watch
        watch.look(time.monotonic())
        lines = {runner.process.control: runner for runner in watch.runners}
        ready, _, _ = select.select(list(lines), [], [], 0.02) if lines else ([], [], [])
        for line in ready:
            while lines[line] in watch.runners:
                try:
                    told = receive_report(line)
                except BlockingIOError:
                    break
                if told is None:
                    watch.gone(lines[line], "ended")
                    break
                watch.heard(lines[line], str(told.get("event")))

    def until(self, phase: Phase) -> None:
        """Go on until it stands in a phase."""
        deadline = time.monotonic() + 30
        while self.watch.phase is not phase:
            if time.monotonic() > deadline:
                raise SystemExit(f"stuck in {self.watch.phase}: {self.events[-9:]}")
            self.step()

    def kill(self) -> None:
        """Kill what serves."""
        assert self.watch.serving
        os.kill(self.watch.serving.process.pid, signal.SIGKILL)
        while self.watch.phase in {Phase.SERVING, Phase.READY, Phase.WARMING}:
            self.step()

    def replace(self, number: int) -> None:
        """Replace it once: by a version, or because it was killed."""
        if number % 2:
            self.watch.swap("b" if self.watch.version == "a" else "a")
            while self.watch.replacing:
                self.step()
        else:
            self.until(Phase.READY)
            self.kill()
        self.until(Phase.SERVING)
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            self.step()


@dataclass
class Figures:
    """What the consumer saw."""

    done: int
    lost: int
    twice: int
    gaps_ms: list[float]


class Consumer:
    """The consumer process."""

    def __init__(self, stack: ExitStack) -> None:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.where = Address(*server.getsockname())
        self._ask, answer = FORK.Pipe()
        process = FORK.Process(target=consume, args=(server, answer), daemon=True)
        process.start()
        stack.callback(process.kill)

    def figures(self) -> Figures:
        """Return what it saw since it was asked last."""
        self._ask.send(0)
        return Figures(*self._ask.recv())


def ring_with_writer(stack: ExitStack) -> RingOwner:
    """Return a sealed ring that a process of its own writes."""
    owner = RingOwner("samples", geometry=GEOMETRY)
    stack.callback(owner.close)
    made, values = owner.begin()
    told, tell = FORK.Pipe()
    writer = FORK.Process(target=write, args=(made, values, tell), daemon=True)
    writer.start()
    stack.callback(writer.kill)
    told.recv()
    owner.mapped()
    return owner


def measure(count: int) -> tuple[Figures, Figures]:
    """Return what the consumer saw with spares and versions, and of cold starts."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asepsis-swap-")))
        folder.chmod(0o755)
        log = stack.enter_context((folder / "log").open("ab", buffering=0))
        owner, consumer = ring_with_writer(stack), Consumer(stack)
        code = code_link(folder, bubblewrap.code().package)
        streamers = Streamers(owner, consumer.where, code, log)
        bench = Bench(streamers, rung=Rung.SWAP)
        stack.callback(bench.watch.end)
        bench.until(Phase.SERVING)
        bench.until(Phase.READY)
        consumer.figures()
        for number in range(count):
            bench.replace(number)
        ours = consumer.figures()
        bench.watch.end()
        cold = Bench(streamers, rung=Rung.RESTART)
        stack.callback(cold.watch.end)
        cold.until(Phase.SERVING)
        consumer.figures()
        for _ in range(PEER_KILLS):
            cold.kill()
            cold.until(Phase.SERVING)
            time.sleep(0.1)
        return ours, consumer.figures()


def main() -> int:
    """Measure and report; 1 if the target is missed or anything is lost."""
    parser = argparse.ArgumentParser(description="Gaps and losses of replacements.")
    parser.add_argument("--replacements", type=int, default=200)
    count = parser.parse_args().replacements
    ours, cold = measure(count)
    worst, worst_cold = max(ours.gaps_ms, default=0.0), max(cold.gaps_ms, default=0.0)
    print(f"{count} replacements, half of them by SIGKILL; {ours.done} records of 4 samples")
    print(f"lost {ours.lost}, twice {ours.twice}; largest gap {worst:.1f} ms")
    print(f"killed and started cold: lost {cold.lost}, largest gap {worst_cold:.0f} ms")
    met = report(
        "swap",
        worst,
        "ms",
        peer="killed and started cold",
        peer_value=worst_cold,
        target=TARGET_MS,
        higher_is_better=False,
        lost=ours.lost,
        twice=ours.twice,
        replacements=count,
        pause_ms_median=round(median(ours.gaps_ms or [0.0]), 1),
        peer_lost=cold.lost,
    )
    return 0 if met and not ours.lost else 1


if __name__ == "__main__":
    sys.exit(main())
