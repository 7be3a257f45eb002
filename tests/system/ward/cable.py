"""`cable.py FOLDER`, in a network namespace of its own: plays an outage by a real cable.

Ward and hub are two namespaces with a pair of virtual cards between them. The addresses exist
nowhere else.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from small_ward import NEW, PLAYERS, SmallWard, running

from asepsis.tools.simulator.network import Ports
from asepsis.tools.simulator.stage import Setting

HUB, WARD = "192.0.2.1", "192.0.2.2"
"""TEST-NET-1 (RFC 5737): never routed."""
ALARM_S = 3.0
AWAY_S = 12.0
"""Longer than the lease of a legacy device, 10 s."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Cable:
    """Two cards; one of them in the ward's namespace."""

    def __init__(self) -> None:
        ip("link", "set", "lo", "up")
        # A process that does nothing holds the ward's namespace open.
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
        time.sleep(0.5)
        pid = str(self._holder.pid)
        self.wrap: Sequence[str] = ("nsenter", "--target", pid, "--net", "--")
        ip("link", "add", "hub0", "type", "veth", "peer", "name", "ward0", "netns", pid)
        ip("addr", "add", f"{HUB}/30", "dev", "hub0")
        ip("link", "set", "hub0", "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{WARD}/30", "dev", "ward0"),
            ("link", "set", "ward0", "up"),
        ):
            subprocess.run([*self.wrap, "ip", *words], check=True)

    def open(self, inside: Ports, _folder: Path) -> Ports:
        return inside

    def cut(self) -> None:
        ip("link", "set", "hub0", "down")

    def join(self) -> None:
        ip("link", "set", "hub0", "up")

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


def play(ward: SmallWard) -> dict[str, object]:
    """Pull the cable under an alarm that comes and goes meanwhile."""
    cut_s = time.monotonic()
    ward.network.cut()
    ward.devices[NEW.key].command("desaturation")
    time.sleep(ALARM_S)
    ward.devices[NEW.key].command("normal")
    ward.until_blank()
    blank_s = time.monotonic() - cut_s
    time.sleep(max(0.0, cut_s + AWAY_S - time.monotonic()))
    silent = {
        name
        for name in ward.watched
        for _, event in ward.view.history(name, since_s=cut_s)
        if event["found_by"] == "hub" and event["phase"] == "onset"
    }
    back_s = time.monotonic()
    ward.network.join()
    live_again_s = ward.until_live(timeout_s=30)
    time.sleep(2)
    shown = [
        (at_s, event["phase"])
        for at_s, event in ward.view.history(NEW.name, since_s=back_s)
        if event["found_by"] == "device"
    ]
    began = [at_s for at_s, phase in shown if phase != "end"]
    ended = [at_s for at_s, phase in shown if phase == "end"] or [time.monotonic()]
    return {
        "blank_s": blank_s,
        "silent": sorted(silent),
        "live_again_s": live_again_s,
        "ended_shown_s": max(ended) - min(began) if began else 0.0,
    }


def main() -> None:
    folder = Path(sys.argv[1])
    with contextlib.closing(Cable()) as cable:
        setting = Setting(players=PLAYERS, host=HUB, network=cable)
        with running(folder, setting) as ward:
            found = play(ward)
            ward.conclude()
        print(json.dumps({**asdict(ward.summary), **found}))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
