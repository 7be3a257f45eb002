"""sdc: 20 metrics and 4 waveforms, SDC provider -> gateway -> mutual TLS -> hub -> subscriber.

The provider is the reference provider of sdc11073 as a ventilator, over mutual TLS, every check of
the gateway on. Measured from the moment a value is set in the provider's MDIB to the moment when a
live view at the hub has it: of the metrics when the last of all 20 is there, of the waveforms when
the stretch is there that a number was put into. A number that never came is a failure of the run.

Beside it in the same run: the library's own consumer with its MDIB, in a process of its own,
directly at the same provider; it has no hub, no journal and no subscriber behind it.
"""

import argparse
import base64
import json
import queue
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from _report import report

TESTS: Final = Path(__file__).parents[1] / "tests" / "system"
sys.path[:0] = [str(TESTS / "sdc"), str(TESTS / "drivers")]

from sdc_ward import SdcWard  # noqa: E402 - the path comes first

from asepsis.tools.testing import sdc_mdib  # noqa: E402

TARGET_MS: Final = 100.0
FIRST: Final = 200
"""Numbers that no usual value of the ventilator has."""
PAUSES_S: Final = (0.2, 0.45)
SETTLE_S: Final = 2.0
METRICS, WAVES = "metrics", "waveforms"
WAVE: Final = sdc_mdib.WAVES[-1]
Seen = dict[tuple[str, int], int]


def percentile(values: list[float], part: float) -> float:
    """Return a percentile of what was measured, milliseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def stimulate(ward: SdcWard, numbers: range) -> Seen:
    """Set one number after the other; return when each was set, monotonic nanoseconds."""
    rng = random.Random(7)
    for number in numbers:
        ward.tell(f"change {number}")
        ward.tell(f"mark {number}")
        time.sleep(rng.uniform(*PAUSES_S))
    time.sleep(SETTLE_S)
    found: Seen = {}
    while True:
        try:
            said = ward.said.get_nowait()
        except queue.Empty:
            return found
        kind = {"changed": METRICS, "marked": WAVES}[said["event"]]
        found[kind, said["number"]] = said["at_ns"]


def shown(ward: SdcWard) -> Seen:
    """Return when each number was in the live view, whole."""
    found: Seen = {}
    codes: dict[int, set[int]] = defaultdict(set)
    for name, told in list(ward.seen):
        if name == "numerics":
            for one in told["numerics"]:
                number = int(float(one["value"] or 0))
                codes[number].add(one["mdc_code"])
                if len(codes[number]) == len(sdc_mdib.METRICS):
                    found.setdefault((METRICS, number), told["seen_ns"])
        elif name == "waveform" and told["mdc_code"] == WAVE.code:
            for number in marks(told):
                found.setdefault((WAVES, number), told["seen_ns"])
    return found


def marks(told: dict[str, Any]) -> Iterator[int]:
    """Return the numbers that were put into a stretch of the fourth waveform."""
    raw = base64.b64decode(told["samples"])
    steps = set(struct.unpack(f">{len(raw) // 2}h", raw))
    for step in steps:
        if step >= FIRST * 10:
            yield round(step * float(WAVE.resolution))


def figures(given: Seen, got: Seen) -> dict[str, float]:
    """Return the delays, and how much never came."""
    row: dict[str, float] = {"missing": len(given.keys() - got.keys())}
    for kind in (METRICS, WAVES):
        delays = [(got[k] - at_ns) / 1e6 for k, at_ns in given.items() if k[0] == kind and k in got]
        row[f"{kind}_p50_ms"] = round(percentile(delays, 0.5), 2)
        row[f"{kind}_p99_ms"] = round(percentile(delays, 0.99), 2)
    return row


def run_gateway(ward: SdcWard, numbers: range) -> dict[str, float]:
    """Measure through gateway and hub."""
    ward.start_hub()
    ward.watch()
    ward.start_gateway()
    ward.until(lambda: ward.kinds()["numerics"] > 0 and ward.kinds()["waveform"] > 0, seconds=60)
    ward.tell("hold")
    time.sleep(SETTLE_S)
    row = figures(stimulate(ward, numbers), shown(ward))
    ward.stop_gateway()
    return row


def run_peer(ward: SdcWard, numbers: range) -> dict[str, float]:
    """Measure the library's consumer, straight at the provider."""
    files = [ward.authority.file, ward.own.chain, ward.own.key]
    command = [sys.executable, __file__, "--peer", str(ward.port), *map(str, files)]
    found: Seen = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        peer.stdout.readline()
        given = stimulate(ward, numbers)
        peer.stdin.close()
        for line in peer.stdout:
            kind, number, at_ns = json.loads(line)
            found.setdefault((kind, number), at_ns)
    return figures(given, found)


def consume(port: int, ca: Path, chain: Path, key: Path) -> None:
    """Be the peer: read until standard input ends, then say what was seen when."""
    from sdc11073 import observableproperties  # noqa: PLC0415 - the peer's process only
    from sdc11073.certloader import mk_ssl_contexts  # noqa: PLC0415
    from sdc11073.consumer.consumerimpl import SdcConsumer  # noqa: PLC0415
    from sdc11073.definitions_sdc import SdcV1Definitions  # noqa: PLC0415
    from sdc11073.mdib.consumermdib import ConsumerMdib  # noqa: PLC0415

    library: Any = SdcConsumer
    consumer = library(
        f"https://127.0.0.1:{port}/{sdc_mdib.PATH}",
        SdcV1Definitions,
        mk_ssl_contexts(key, chain, ca),
    )
    consumer.start_all()
    mdib: Any = ConsumerMdib(consumer)
    mdib.init_mdib()
    seen: list[tuple[str, int, int]] = []

    def metrics(states: dict[str, Any]) -> None:
        if len(states) == len(sdc_mdib.METRICS):
            number = int(states[sdc_mdib.METRICS[0].handle].MetricValue.Value)
            seen.append((METRICS, number, time.monotonic_ns()))

    def waves(states: dict[str, Any]) -> None:
        at_ns = time.monotonic_ns()
        samples = set(states[WAVE.handle].MetricValue.Samples) if WAVE.handle in states else set()
        seen.extend((WAVES, int(one), at_ns) for one in samples if one >= FIRST)

    bind: Callable[..., None] = observableproperties.strongbind
    bind(mdib, metrics_by_handle=metrics, waveform_by_handle=waves)
    print("ready", flush=True)
    sys.stdin.read()
    for one in seen:
        print(json.dumps(one))
    consumer.stop_all()


def main() -> int:
    """Measure both in turn and print the one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100, help="numbers set, of each run")
    parser.add_argument("--peer", nargs=4, metavar=("PORT", "CA", "CHAIN", "KEY"))
    given = parser.parse_args()
    if given.peer:
        consume(int(given.peer[0]), *map(Path, given.peer[1:]))
        return 0
    numbers = range(FIRST, FIRST + given.samples)
    with tempfile.TemporaryDirectory() as folder:
        ward = SdcWard(Path(folder))
        try:
            ward.start_provider()
            ours = run_gateway(ward, numbers)
            theirs = run_peer(ward, numbers)
        finally:
            ward.close()
    worst = max(ours[f"{kind}_p99_ms"] for kind in (METRICS, WAVES))
    met = report(
        "sdc",
        worst if not ours["missing"] else float("inf"),
        "ms p99",
        peer="sdc11073 consumer, no hub",
        peer_value=max(theirs[f"{kind}_p99_ms"] for kind in (METRICS, WAVES)),
        target=TARGET_MS,
        higher_is_better=False,
        ours=ours,
        theirs=theirs,
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
