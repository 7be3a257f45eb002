"""A monitor as one process, DELIBERATELY VULNERABLE: it measures and serves the network.

`python -m asepsis.tools.attack.mdhex.monolith FOLDER` tells its ports in one line of JSON, measures
until its standard input ends, then tells what became of it. It listens on loopback only.
"""

import json
import math
import select
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asepsis.tools.attack.mdhex.services import SERVICES, serve

HOST: Final = "127.0.0.1"
TICK_S: Final = 0.02
WARM_S: Final = 0.3
"""Measured before and after the attacks, so that a gap has two ends."""
NORMAL_HIGH: Final = 120
KEYS: Final = frozenset({"silence", "limit-up"})


@dataclass(slots=True)
class Monitor:
    """What measures and judges.

    Attributes:
        limits: Alarm limits.
        patient: Who is measured.
        silenced: Whether the alarm signal is off.
        samples: Samples so far.
        gap_s_max: Longest time between two samples, seconds.
        stopped: Whether to end.
    """

    limits: dict[str, int] = field(default_factory=lambda: {"high": NORMAL_HIGH})
    patient: dict[str, str] = field(default_factory=lambda: {"name": "Simulated Patient"})
    silenced: bool = False
    samples: int = 0
    gap_s_max: float = 0.0
    stopped: bool = False
    value: float = 0.0
    _frozen_until_s: float = 0.0

    def measure(self) -> None:
        """Take a sample every `TICK_S`, until stopped."""
        last_s = time.monotonic()
        while not self.stopped:
            time.sleep(TICK_S)
            now_s = time.monotonic()
            if now_s < self._frozen_until_s:
                continue
            self.value = math.sin(now_s)
            self.samples += 1
            self.gap_s_max = max(self.gap_s_max, now_s - last_s)
            last_s = now_s

    def freeze(self, seconds: float) -> None:
        """Stop measuring for a while: what anybody in the same process can do."""
        self._frozen_until_s = time.monotonic() + seconds


@dataclass(frozen=True, slots=True)
class Everything:
    """Monitor, interface and services in one process.

    Attributes:
        monitor: What measures.
        folder: Its folder.
    """

    monitor: Monitor
    folder: Path

    def press(self, key: str) -> str:
        """Press a key, as the person at the bedside would."""
        if key == "silence":
            self.monitor.silenced = True
        elif key == "limit-up":
            self.monitor.limits["high"] += 100
        return json.dumps({key: "SUCCEEDED" if key in KEYS else "denied: no such key"})

    def document(self) -> dict[str, Any]:
        """Return what became of it."""
        return {
            "gap_ms_max": round(self.monitor.gap_s_max * 1_000, 1),
            "samples": self.monitor.samples,
            "high": self.monitor.limits["high"],
            "silenced": self.monitor.silenced,
        }


def main(folder: Path) -> None:
    """Run it."""
    listeners = {name: socket.create_server((HOST, 0)) for name in SERVICES}
    whole = Everything(Monitor(), folder)
    measuring = threading.Thread(target=whole.monitor.measure, daemon=True)
    measuring.start()
    time.sleep(WARM_S)
    _tell({name: listener.getsockname()[1] for name, listener in listeners.items()})
    serve(listeners, whole, beat=lambda: not select.select([sys.stdin], [], [], 0)[0])
    time.sleep(WARM_S)
    whole.monitor.stopped = True
    measuring.join()
    _tell(whole.document())


def _tell(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
