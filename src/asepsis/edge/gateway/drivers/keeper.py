"""The keeper: takes what line processes understood, and brings it to the hub.

It holds the gateway's key and its spool, and reads no byte of a device: what comes over a channel
is checked by type and range, and which device it is about is decided by the channel.
"""

import encodings.idna
import secrets
import select
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from asepsis.core.errors import FramingError, Unavailable
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.drivers import channel
from asepsis.edge.gateway.drivers.catalogue import AnyPlan, Plan
from asepsis.edge.gateway.drivers.reporting import Counter, Reporter
from asepsis.edge.gateway.drivers.sdk import Fault, Linked, Unlinked
from asepsis.edge.gateway.drivers.way import CONNECTIONS, Way
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox.confine import confine
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.folder import Hospital, IdentityFolder

TICK_S: Final = 0.1
HELD_TICK_S: Final = 0.02
"""While something waits for its turn."""
STALE_NS: Final = 2_000_000_000
"""A report that waited longer in its channel is of the past, and left out."""
SDC_FLUSH_NS: Final = 140_000_000
SDC_WAVES_NS: Final = 80_000_000
"""An SDC device tells what changed when it changes; the hub takes 8 bundles and 16 packets a second
of each device, and for some seconds more."""
SDC_AHEAD: Final = 8
"""A device that reports each 100 ms does so give or take some: none waits for the next one."""
EXIT_FAILED: Final = 1
_PRELOADED: Final = (encodings.idna,)
"""Nothing that brings machine code can be loaded once this process is confined."""


class Keeper:
    """Takes reports of all lines.

    Args:
        plans: The devices; a channel each, in the same order.
        ends: Channels.
        way: To the hub.
        findings: Told what people should know.
    """

    def __init__(
        self,
        plans: Sequence[AnyPlan],
        ends: Sequence[socket.socket],
        *,
        way: Way,
        findings: Findings,
    ) -> None:
        numbers = Counter()
        self._way = way
        self._findings = findings
        self._devices = {
            end.fileno(): (plan, end, _reporter(plan, way.epoch, numbers))
            for plan, end in zip(plans, ends, strict=True)
        }
        self._seen: dict[int, int] = {}
        self.stopping = False

    def run(self) -> None:
        """Serve until `stopping` is set."""
        poll = select.poll()
        for number in self._devices:
            poll.register(number, select.POLLIN)
        cared_s = time.monotonic()
        while not self.stopping:
            for number, _ in poll.poll(self._wait_s() * 1_000):
                self._read(number)
            self._tick()
            if time.monotonic() - cared_s >= 1:
                cared_s = time.monotonic()
                self._way.look_after()

    def _wait_s(self) -> float:
        is_held = any(one.ahead > 1 and one.holds_back for _, _, one in self._devices.values())
        return HELD_TICK_S if is_held else TICK_S

    def _read(self, number: int) -> None:
        plan, end, reporter = self._devices[number]
        while True:
            try:
                report = channel.receive(end)
            except FramingError:
                self._findings.note(Finding.MALFORMED, plan.entry.name)
                continue
            if report is None:
                return
            self._count(number, plan, report)
            self._take(plan, reporter, report)

    def _take(self, plan: AnyPlan, reporter: Reporter, report: channel.Report) -> None:
        now_ns, wall_ns = time.monotonic_ns(), self._way.wall_ns()
        age_ns = max(0, now_ns - report.at_ns)
        for told in report.told:
            self._note(plan, told)
            if isinstance(told, Linked):
                self._evidence(plan, report.key)
            if wall_ns is None:
                self._findings.note(Finding.NO_TIME, plan.entry.name)
            elif age_ns <= STALE_NS or isinstance(told, Unlinked):
                for made in reporter.take(told, at_ns=wall_ns - age_ns, now_ns=now_ns):
                    self._way.offer(made, plan.device.uri)

    def _tick(self) -> None:
        wall_ns = self._way.wall_ns()
        if wall_ns is None:
            return
        for plan, _, reporter in self._devices.values():
            for made in reporter.tick(at_ns=wall_ns, now_ns=time.monotonic_ns()):
                self._way.offer(made, plan.device.uri)

    def _note(self, plan: AnyPlan, told: channel.Told) -> None:
        name = plan.entry.name
        if isinstance(told, Linked):
            self._findings.note(Finding.DEVICE_LINKED, name, about=told.about)
        elif isinstance(told, Unlinked):
            self._findings.note(Finding.DEVICE_LOST, name, why=told.why)
        elif isinstance(told, Fault):
            self._findings.note(Finding.MALFORMED, name, why=told.why)

    def _evidence(self, plan: AnyPlan, key: str) -> None:
        """Have the hub told where the device answered from; a serial line shows nothing."""
        entry = plan.entry
        if not entry.address:
            return
        port = entry.port or (plan.driver.port if isinstance(plan, Plan) else 0)
        network = {
            "address": entry.address,
            "port": port,
            "vlan": entry.vlan,
            "tls_key_sha256": key,
        }
        self._way.evidence.note((plan.device.uri,), network)

    def _count(self, number: int, plan: AnyPlan, report: channel.Report) -> None:
        """Say that strangers spoke; each new number once."""
        if report.strangers > self._seen.get(number, 0):
            self._findings.note(Finding.UNKNOWN_SENDER, plan.entry.name, count=report.strangers)
        self._seen[number] = report.strangers


def _reporter(plan: AnyPlan, epoch: int, numbers: Counter) -> Reporter:
    reporter = Reporter(plan.device, epoch, numbers, lambda: secrets.token_bytes(16))
    if not isinstance(plan, Plan):
        reporter.flush_ns, reporter.waves_ns = SDC_FLUSH_NS, SDC_WAVES_NS
        reporter.ahead = SDC_AHEAD
    return reporter


def serve(settings: Settings, plans: Sequence[AnyPlan], ends: Sequence[socket.socket]) -> int:
    """Run the keeper; return its exit code.

    Raises:
        AsepsisError: It cannot start.
    """
    data = Path(settings.data)
    hospital: Hospital = IdentityFolder(data / "identity").load()[1]
    dial = confinement.fork_broker(hospital, connections=CONNECTIONS + 1)
    findings = Findings(time.monotonic_ns)
    order = replace(confinement.confinement(settings), kind=SyscallClass.NETWORK)
    devices = [plan.device for plan in plans]
    way = Way(settings, devices=devices, dial=dial, findings=findings)
    side = Keeper(plans, ends, way=way, findings=findings)
    code = 0

    def stop(number: int, _frame: object) -> None:
        nonlocal code
        if number == signal.SIGCHLD:
            code = EXIT_FAILED
        side.stopping = True

    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, stop)
    confinement.preload()
    confine(order)
    way.start()
    try:
        side.run()
    finally:
        way.close()
    if code:
        raise Unavailable("the process that connects to the hub has ended")
    return code
