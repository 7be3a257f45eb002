"""How late a stream of records reaches a compartment: with every layer, and with none.

One writer publishes 500 records a second in a sealed ring, each with the time of its writing. A
reader, started by the launcher under test as a compartment is, says how late it read each one. It
is started with every layer of this machine and with none but the ring, in turns, so that whatever
else runs here meets both alike. The value is the median of all turns with every layer as a share of
that with none: layers may cost at the start, and nothing on the way of a sample.

Run: .venv/bin/python benchmarks/ring_stream.py [--turns N]
"""

import argparse
import os
import select
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from _report import report
from asepsis.core.errors import Unavailable
from asepsis.edge.device.manifest import ORIGIN, shipped
from asepsis.edge.device.state import code_link
from asepsis.edge.sandbox import bubblewrap, launcher, ring
from asepsis.edge.sandbox.control import receive_report
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.sandbox.ring import RingWriter
from asepsis.edge.sandbox.ring_layout import Geometry

GEOMETRY = Geometry(slot_bytes=512, slots=4_096)
RATE_HZ = 500
RECORDS = 750
FILL = bytes(312)
START_S = 20.0
TARGET = 1.10
READER = """
import sys, types
_reader = types.ModuleType("reader")
sys.modules["reader"] = _reader
exec('''
import select, time
from asepsis.edge.device.compartment import serve, take
from asepsis.edge.sandbox import ring
from asepsis.edge.sandbox.ring import RingReader, wake_of
class Reader:
    def __init__(self, order, line):
        self.line, self.wanted = line, order.body["records"]
        self.reader, self.wake = RingReader(take(order, "ring")), wake_of(take(order, "wake"))
    def run(self):
        late = []
        self.line.report("reading")
        while len(late) < self.wanted:
            select.select([self.wake], [], [], 0.2)
            ring.drain_wakes(self.wake)
            for _, payload in self.reader.read().records:
                written = int.from_bytes(payload[:8], "little")
                late.append(time.monotonic_ns() - written)
        for start in range(0, len(late), 100):
            self.line.report("late", ns=late[start:start + 100])
        self.line.report("done")
        self.line.order()
def build(order, line):
    return lambda: Reader(order, line)
def main(control):
    serve(control, build)
''', _reader.__dict__)
"""


def turn(layers: frozenset[Layer], folder: Path) -> list[float]:
    """Return how late each record was read, microseconds."""
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("ab", buffering=0))
        descriptor = ring.create("stream", geometry=GEOMETRY)
        sender, receiver = ring.wake_pair()
        writer = RingWriter(os.dup(descriptor), geometry=GEOMETRY, epoch=1, wakes=(sender,))
        readable = ring.seal(descriptor)
        os.close(descriptor)
        stack.callback(os.close, readable)
        stack.callback(receiver.close)
        plan = host.blueprint(
            shipped().compartments[ORIGIN], layers=layers, state=folder, prelude=READER
        )
        process = launcher.launch(
            replace(plan, module="reader"),
            body={"records": RECORDS},
            descriptors={"ring": readable, "wake": receiver.fileno()},
            code_folder=code_link(folder, bubblewrap.code().package),
            log=log,
        )
        stack.callback(process.kill)
        heard(process, "reading")
        due = time.monotonic()
        for _ in range(RECORDS):
            due += 1 / RATE_HZ
            time.sleep(max(0.0, due - time.monotonic()))
            writer.write(time.monotonic_ns().to_bytes(8, "little") + FILL)
        return [ns / 1e3 for told in heard(process, "done") for ns in told.get("ns", [])]


def heard(process: launcher.Compartment, last: str) -> list[dict[str, Any]]:
    """Return what it reports up to a word.

    Raises:
        Unavailable: It does not say that word.
    """
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        select.select([process.control], [], [], 0.2)
        try:
            told = receive_report(process.control)
        except BlockingIOError:
            continue
        if told is None or told.get("event") == "failed":
            break
        if told.get("event") == last:
            return found
        found.append(told)
    raise Unavailable(f"the reader did not say {last!r}")


def main() -> int:
    """Measure and report; 1 if the target is missed."""
    parser = argparse.ArgumentParser(description="Lateness with every layer and with none.")
    parser.add_argument("--turns", type=int, default=4)
    turns = parser.parse_args().turns
    every, none = detect().holding, frozenset({Layer.RING})
    late: dict[frozenset[Layer], list[float]] = {every: [], none: []}
    with tempfile.TemporaryDirectory(prefix="asepsis-stream-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        for number in range(turns):
            for layers in (every, none) if number % 2 else (none, every):
                late[layers] += turn(layers, folder)
    for name, layers in (("every layer", every), ("none", none)):
        cut = quantiles(late[layers], n=100)
        print(f"{name}: p50 {cut[49]:.1f} us, p99 {cut[98]:.0f} us, {len(late[layers])} records")
    met = report(
        "ring-stream",
        median(late[every]) / median(late[none]),
        "of none",
        peer="none but the ring",
        peer_value=1.0,
        target=TARGET,
        higher_is_better=False,
        p50_us=round(median(late[every]), 1),
        p50_us_none=round(median(late[none]), 1),
        p99_us=round(quantiles(late[every], n=100)[98], 1),
        p99_us_none=round(quantiles(late[none], n=100)[98], 1),
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
