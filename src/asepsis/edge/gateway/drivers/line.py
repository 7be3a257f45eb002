"""A line process: one device, its machine, and nothing else.

It is the only process that reads what the device sends. It holds no key, can open no file, make no
socket and reach nobody but the device; what it understood goes to the keeper over a channel.
"""

import codecs
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from asepsis.core.errors import Unavailable
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.drivers import channel
from asepsis.edge.gateway.drivers.catalogue import Plan
from asepsis.edge.gateway.drivers.channel import Report
from asepsis.edge.gateway.drivers.sdk import (
    OUTPUTS_MAX,
    SEND_BYTES_MAX,
    TICK_NS,
    Machine,
    Output,
    Send,
)
from asepsis.edge.gateway.drivers.transports import Line, open_line
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.seccomp import SyscallClass

MEMORY_MIB: Final = 512
FILES: Final = 64
HEARTBEAT_NS: Final = 1_000_000_000
"""A report at least this often, so that counters arrive although nothing is told."""
EXIT_GONE: Final = 1
CODECS: Final = ("ascii", "latin-1", "utf-8", "utf-16-be", "utf-16-le", "cp1252", "cp437")
"""Texts that devices speak; no codec can be loaded once the process is confined."""


class Talk:
    """Lets a machine talk over a line and reports what it tells.

    Args:
        machine: Of the driver.
        line: To the device.
        report: Takes what was told; returns whether there was room.
        monotonic: Nanoseconds.
    """

    def __init__(
        self,
        machine: Machine,
        line: Line,
        *,
        report: Callable[[Report], bool],
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._machine = machine
        self._line = line
        self._report = report
        self._monotonic = monotonic
        self._lost = 0
        self._reported_ns = 0
        self.stopping = False

    def run(self) -> None:
        """Talk until `stopping` is set, then say good-bye.

        Raises:
            Unavailable: The line is gone.
        """
        now_ns = self._monotonic()
        self._take(self._machine.start(now_ns), now_ns)
        tick_ns = now_ns + TICK_NS
        while not self.stopping:
            for data in self._line.wait(max(0, tick_ns - self._monotonic()) / 1e9):
                now_ns = self._monotonic()
                self._take(self._machine.receive(data, now_ns), now_ns)
            now_ns = self._monotonic()
            if now_ns >= tick_ns:
                tick_ns = now_ns + TICK_NS
                self._take(self._machine.tick(now_ns), now_ns)
        self._take(self._machine.stop(now_ns), now_ns)

    def _take(self, outputs: Sequence[Output], now_ns: int) -> None:
        told: list[channel.Told] = []
        for output in outputs[:OUTPUTS_MAX]:
            if not isinstance(output, Send):
                told.append(output)
            elif len(output.data) <= SEND_BYTES_MAX:
                self._line.send(output.data)
        if told or now_ns - self._reported_ns >= HEARTBEAT_NS:
            self._reported_ns = now_ns
            found = Report(
                at_ns=now_ns, told=tuple(told), strangers=self._line.strangers, lost=self._lost
            )
            self._lost += not self._report(found)


def order() -> Confinement:
    """Return what a line process takes away from itself."""
    return Confinement(
        layers=confinement.holding(),
        kind=SyscallClass.CORE,
        limits=Limits(memory_mib=MEMORY_MIB, files=FILES, file_mib=1),
    )


def serve(plan: Plan, end: socket.socket) -> int:
    """Run a line process; return its exit code."""
    try:
        line = open_line(plan)
    except Unavailable:
        return EXIT_GONE  # The starter says so, and tries again.
    talk = Talk(plan.driver.make(), line, report=lambda report: channel.send(end, report))

    def stop(_number: int, _frame: object) -> None:
        talk.stopping = True

    signal.signal(signal.SIGTERM, stop)
    for name in CODECS:
        codecs.lookup(name)
    confinement.preload()
    confine(order())
    with contextlib.suppress(Unavailable):
        talk.run()
        return 0
    return EXIT_GONE
