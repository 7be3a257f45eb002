"""The one-way ring: how late a record arrives, and what a stalled reader costs its writer.

One writer and one reader process; records of 320 bytes at 500 a second, each with the time of its
writing. Beside it a SEQPACKET socket pair, which is what one would take without a ring: it is as
fast while its reader lives, and blocks or drops when it does not. Then the reader is stopped and
the writer goes on: the slowest write is what a hanging neighbour can do to the critical
compartment. Last, records a second at full speed from one process, beside a limit program that only
copies the bytes into shared memory.

Run: .venv/bin/python benchmarks/ring.py
"""

import mmap
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from statistics import quantiles

from _report import report
from asepsis.edge.sandbox import ring
from asepsis.edge.sandbox.ring import RingReader, RingWriter
from asepsis.edge.sandbox.ring_layout import Geometry

GEOMETRY = Geometry(slot_bytes=512, slots=4_096)
RECORDS = 2_000
RATE_HZ = 500
BURST = 100_000
FILL = bytes(312)
BLOCKED_S = 1.0
TARGET_P99_US = 1_000.0
Send = Callable[[bytes], object]
Receive = Callable[[], list[bytes]]


def ring_ends() -> tuple[RingWriter, Receive]:
    """Make a ring and return its two ends."""
    descriptor = ring.create("bench", geometry=GEOMETRY)
    sender, receiver = ring.wake_pair()
    writer = RingWriter(os.dup(descriptor), geometry=GEOMETRY, epoch=1, wakes=(sender,))
    reader = RingReader(ring.seal(descriptor))
    os.close(descriptor)

    def receive() -> list[bytes]:
        select.select([receiver], [], [], 0.2)
        ring.drain_wakes(receiver)
        return [payload for _, payload in reader.read().records]

    return writer, receive


def late_us(send: Send, receive: Receive, *, stalled: bool = False) -> tuple[list[float], float]:
    """Return lateness of every record and the slowest write, microseconds."""
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        if stalled:
            time.sleep(RECORDS / RATE_HZ + 1)
            os._exit(0)
        found: list[float] = []
        while len(found) < RECORDS:
            found += [
                (time.monotonic_ns() - int.from_bytes(r[:8], "little")) / 1e3 for r in receive()
            ]
        os.write(tell, b" ".join(b"%.1f" % late for late in found))
        os._exit(0)
    os.close(tell)
    slowest = 0.0
    due = time.monotonic()
    for _ in range(RECORDS):
        due += 1 / RATE_HZ
        time.sleep(max(0.0, due - time.monotonic()))
        began = time.monotonic_ns()
        send(began.to_bytes(8, "little") + FILL)
        slowest = max(slowest, (time.monotonic_ns() - began) / 1e3)
    with os.fdopen(told, "rb") as file:
        text = file.read()
    os.waitpid(child, 0)
    return [float(word) for word in text.split()], slowest


def patient(line: socket.socket) -> Send:
    """Return a send that gives up, for good, after being blocked for `BLOCKED_S`."""
    line.settimeout(BLOCKED_S)

    def send(payload: bytes) -> None:
        try:
            line.send(payload)
        except BlockingIOError:
            return
        except TimeoutError:
            line.setblocking(False)

    return send


def per_second(write: Send) -> float:
    """Return writes a second at full speed."""
    began = time.perf_counter()
    for _ in range(BURST):
        write(FILL)
    return BURST / (time.perf_counter() - began)


def limit_writer() -> Send:
    """Return the limit program: copy the bytes, nothing else."""
    memory = memoryview(mmap.mmap(-1, GEOMETRY.total_bytes))
    at = 0

    def write(payload: bytes) -> None:
        nonlocal at
        memory[at : at + len(payload)] = payload
        at = (at + 512) % (GEOMETRY.total_bytes - 512)

    return write


def p99(values: list[float]) -> float:
    """Return the 99th percentile."""
    return quantiles(values, n=100)[98]


def main() -> int:
    """Measure and report; 1 if the target is missed."""
    writer, receive = ring_ends()
    ours, _ = late_us(writer.write, receive)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer, _ = late_us(near.send, lambda: [far.recv(512)])
    writer, receive = ring_ends()
    _, slowest = late_us(writer.write, receive, stalled=True)
    _, peer_slowest = late_us(patient(near), list, stalled=True)
    speed, limit = per_second(ring_ends()[0].write), per_second(limit_writer())
    for name, values in (("ring", ours), ("socket pair", peer)):
        cut = quantiles(values, n=100)
        print(f"{name}: p50 {cut[49]:.0f} us, p99 {cut[98]:.0f} us, latest {max(values):.0f} us")
    print(f"slowest write while the reader hangs: {slowest:.0f} us")
    print(f"the same on a socket pair: {peer_slowest:.0f} us (blocked until it gave up)")
    print(f"writes a second: {speed:.0f}; limit program {limit:.0f}")
    met = report(
        "ring",
        p99(ours),
        "us",
        peer="SEQPACKET socket pair",
        peer_value=p99(peer),
        target=TARGET_P99_US,
        higher_is_better=False,
        stalled_write_us=round(slowest, 1),
        stalled_write_us_peer=round(peer_slowest, 1),
        writes_per_s=round(speed),
        writes_per_s_limit=round(limit),
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
