"""A Philips IntelliVue monitor of a story: `python -m asepsis.tools.simulator.intellivue_process`.

    [--host 127.0.0.1] [--port 24105] [--seed 1]

It tells `listening` with its port and speaks data export over UDP to whoever associates, as
`asepsis.tools.testing.intellivue_monitor` does; the values are those of `signals`, new each second.
Commands, one a line on standard input: `high` and `normal` (heart rate, with its alert), `pull` and
`plug` (its cable), `stop`.

For a story: start it with `processes` as every other part, read `port`, and give the gateway
`drivers_toml(...)`; no key and no enrolment is needed, as none exists in the protocol.
"""

import argparse
import json
import queue
import sys
from typing import Final

from asepsis.edge.device import shapes
from asepsis.tools.simulator import signals
from asepsis.tools.simulator.telling import STOP, listen, say
from asepsis.tools.testing.intellivue_monitor import AlertEntry, Monitor, Number, Wave
from asepsis.tools.testing.peer_servers import UdpPeer

PERIOD_S: Final = 1.0
HIGH: Final = 152
METRICS: Final = 2
TERM, MANTISSA, EXPONENT_BITS = 0xFFFF, 0xFFFFFF, 24
ECG_TERM, MILLIVOLT_TERM = 0x0102, 4_274
ALERT: Final = AlertEntry(61_768, 16_770, 0x0200, "HR HIGH", handle=1)
""""Tachycardia", a code of the maker's own, of medium priority."""
INTERMITTENT: Final = range(150_020, 150_024)
"""A cuff measures now and then; the story's monitor has none."""


def drivers_toml(*, name: str, device: str, host: str, port: int) -> str:
    """Return the section of gateway.toml for this monitor; JSON strings are TOML strings."""
    return f"""\
[[drivers]]
name = {json.dumps(name)}
driver = "intellivue"
device = {json.dumps(device)}
address = {json.dumps(host)}
port = {port}
cleartext = true
"""


def numbers(patient: signals.Patient, second: int, *, high: bool) -> list[Number]:
    """Return what the monitor measures at a moment, as its own numbers.

    Args:
        patient: The simulated patient; the devices of a bed share its seed.
        second: Seconds since the start.
        high: Whether the heart rate is staged to be high.
    """
    return [
        Number(
            numeric.mdc_code & TERM,
            numeric.unit_code & TERM,
            numeric.value & MANTISSA,
            numeric.value >> EXPONENT_BITS,
            handle=numeric.handle,
        )
        for numeric in patient.numerics(second, heart_rate=HIGH if high else None)
        if numeric.mdc_code >> 16 == METRICS and numeric.mdc_code not in INTERMITTENT
    ]


def waves() -> list[Wave]:
    """Return one ECG lead, 250 samples a second, a second of it over and over."""
    return [Wave(ECG_TERM, MILLIVOLT_TERM, 32, tuple(map(_sample, range(250))), handle=200)]


def _sample(number: int) -> int:
    # 0.005 mV a step about the middle of the range, as the scripted monitor's scale has it.
    return round(8_192 + 200 * shapes.ECG[number * shapes.STEPS // 250])


def play(monitor: Monitor, patient: signals.Patient, commands: "queue.Queue[str]") -> None:
    """Measure once a second and obey, until `stop`."""
    second, high = 0, False
    while True:
        monitor.numbers = numbers(patient, second, high=high)
        monitor.alerts = [ALERT] if high else []
        second += 1
        try:
            command = commands.get(timeout=PERIOD_S)
        except queue.Empty:
            continue
        if command == STOP:
            return
        if command in {"pull", "plug"}:
            monitor.silent = command == "pull"
        elif command in {"high", "normal"}:
            high = command == "high"
        say("obeyed", command=command)


def main(arguments: list[str]) -> int:
    """Run the monitor; return the exit code."""
    parser = argparse.ArgumentParser(prog="intellivue_process")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=24_105)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    monitor = Monitor(waves=waves())
    peer = UdpPeer(monitor, host=given.host, port=given.port)
    peer.start()
    say("listening", host=given.host, port=peer.port)
    try:
        play(monitor, signals.Patient(given.seed), listen())
    finally:
        peer.close()
    say("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
