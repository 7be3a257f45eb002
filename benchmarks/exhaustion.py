"""How late the critical compartment ticks while its neighbour takes all it can get.

A device runs as it is, with a tick of 2 ms put into vitals, and with an attacker in the network
compartment who forks processes that count, and fills memory. System call filter and resource limits
are off, because they would stop him before the layers that are measured here: real-time scheduling
with locked memory, and control groups. What this machine does not grant is said in the output.

Run: .venv/bin/python benchmarks/exhaustion.py [--seconds N] [--processes N] [--mib N]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from _report import report
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox import supervision_groups
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.sandbox.supervision_groups import Hierarchies
from asepsis.tools.attack.enrolled import enrolled

SETTLE_S = 1.0
BEGIN_S_MAX = 60.0
TARGET_P99_US = 1_000.0
"""A hundredth of the tick of the device; a machine with other work to do misses it."""
NOWHERE = Hierarchies(version=0, parents={})
TICKING = """
import asepsis.edge.device.vitals as _vitals
def _run(self):
    import gc, time
    gc.disable()
    late, number, due = [], 0, time.monotonic_ns()
    while not self._stopped:
        due += 2_000_000
        self._wait(due)
        now = time.monotonic_ns()
        late.append((now - due) // 1_000)
        due = now if now - due > 1_000_000_000 else due
        number += 1
        if number % 50 == 0:
            self._tick(now)
            self._line.heartbeat(self._facts)
        if len(late) == 200:
            self._line.report("late", us=late)
            late = []
_vitals.Vitals.run = _run
"""
HOG = """
import asepsis.edge.device.network as _network
def _hog(self):
    import os, time
    self._line.report("alive")
    forked = 0
    for _ in range({processes}):
        try:
            child = os.fork()
        except OSError:
            break
        while not child:
            sum(range(10_000))
        forked += 1
    self._line.report("hogging", processes=forked)
    kept = []
    for _ in range({mib}):
        kept.append(bytearray(b"x") * (1 << 20))
    while True:
        self._line.report("alive")
        sum(range(1_000_000))
_network.Network.run = _hog
"""


@dataclass
class Case:
    """One run: what is on, and what was seen."""

    name: str
    attack: bool
    realtime: bool
    groups: bool
    late_us: list[float] = field(default_factory=list[float])
    hogging: list[int] = field(default_factory=list[int])
    missing: set[str] = field(default_factory=set[str])
    since_s: float = float("inf")

    def told(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        """Take note."""
        if event == "not-granted":
            self.missing.add(f"{compartment}: {details['what']}")
        elif event == "hogging":
            self.hogging.append(int(details["processes"]))
        elif event == "late" and time.monotonic() > self.since_s:
            self.late_us += details["us"]

    @property
    def cut(self) -> tuple[float, float, float]:
        """Median, 99th percentile and worst, microseconds."""
        cuts = quantiles(self.late_us, n=100)
        return cuts[49], cuts[98], max(self.late_us)


CASES = (
    Case("quiet, real-time and groups", attack=False, realtime=True, groups=True),
    Case("attacked, real-time and groups", attack=True, realtime=True, groups=True),
    Case("attacked, groups only", attack=True, realtime=False, groups=True),
    Case("attacked, real-time only", attack=True, realtime=True, groups=False),
    Case("attacked, neither", attack=True, realtime=False, groups=False),
)


def run(case: Case, *, seconds: float, hog: str) -> None:
    """Run a device for one case."""
    holding = detect().holding - {Layer.SECCOMP, Layer.LIMITS}
    if not case.realtime:
        holding -= {Layer.REALTIME}
    preludes = {"vitals": TICKING, **({"network": hog} if case.attack else {})}
    before = supervision_groups.here
    if not case.groups:
        supervision_groups.here = lambda: NOWHERE  # A machine that has none.
    try:
        with tempfile.TemporaryDirectory(prefix="asepsis-exhaustion-") as made:
            Path(made).chmod(0o755)
            supervisor = Supervisor(
                enrolled(Path(made) / "device"),
                holding=holding,
                setting=Setting(seed=5, preludes=preludes),
                tell=case.told,
            )
            try:
                deadline_s = time.monotonic() + BEGIN_S_MAX
                while time.monotonic() < min(deadline_s, case.since_s + seconds):
                    supervisor.step()
                    if case.hogging if case.attack else supervisor.pid("network"):
                        case.since_s = min(case.since_s, time.monotonic() + SETTLE_S)
            finally:
                supervisor.close()
    finally:
        supervision_groups.here = before


def main() -> int:
    """Measure and report; 1 if the target is missed."""
    parser = argparse.ArgumentParser(description="Lateness of vitals under attack.")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case (default 10)")
    parser.add_argument("--processes", type=int, default=200, help="forked (default 200)")
    parser.add_argument("--mib", type=int, default=2_500, help="of memory taken (default 2500)")
    options = parser.parse_args()
    hog = HOG.format(processes=options.processes, mib=options.mib)
    for case in CASES:
        run(case, seconds=options.seconds, hog=hog)
        middle, p99, worst = case.cut
        forked = f"; {max(case.hogging)} processes forked" if case.hogging else ""
        print(f"{case.name}: p50 {middle:.0f}, p99 {p99:.0f}, worst {worst:.0f} us{forked}")
    for line in sorted(CASES[0].missing | CASES[1].missing):
        print(f"this machine does not grant {line}")
    all_on, neither = CASES[1], CASES[-1]
    met = report(
        "exhaustion",
        all_on.cut[1],
        "us",
        peer="neither real-time scheduling nor control groups",
        peer_value=neither.cut[1],
        target=TARGET_P99_US,
        higher_is_better=False,
        quiet_p99_us=round(CASES[0].cut[1]),
        worst_us=round(all_on.cut[2]),
        peer_worst_us=round(neither.cut[2]),
        groups_only_p99_us=round(CASES[2].cut[1]),
        realtime_only_p99_us=round(CASES[3].cut[1]),
        processes=max(all_on.hogging, default=0),
        peer_processes=max(neither.hogging, default=0),
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
