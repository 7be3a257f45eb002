"""An SDC ventilator: the reference provider of the library sdc11073, with an MDIB of ours.

It is what it is named: the library's own SdcProvider, not a device of a manufacturer. It runs in a
process of its own (`python -m asepsis.tools.testing.sdc_ventilator`), speaks TLS with mutual
certificates unless it is told to be plain, publishes nothing over WS-Discovery, and obeys one
command a line: `alarm on`, `alarm off`, `ack`, `hold`, `go`, `change N`, `mark N`, `validity V`,
`lose reports`, `lose all`, `lose nothing`, `stop`.
"""

import argparse
import json
import logging
import math
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from sdc11073 import observableproperties
from sdc11073.certloader import SSLContextContainer, mk_ssl_contexts
from sdc11073.definitions_sdc import SdcV1Definitions
from sdc11073.httpserver import httpserverimpl
from sdc11073.httpserver.httprequesthandler import DispatchingRequestHandler
from sdc11073.mdib import ProviderMdib
from sdc11073.provider import SdcProvider
from sdc11073.xml_types import pm_types
from sdc11073.xml_types.dpws_types import ThisDeviceType, ThisModelType

from asepsis.tools.testing import sdc_mdib
from asepsis.tools.testing.sdc_credentials import Files

WAVE_S: Final = 0.1
SAMPLES: Final = round(WAVE_S * 1_000 / sdc_mdib.SAMPLE_PERIOD_MS)
METRICS_S: Final = 1.0
BREATH_S: Final = 4.0
START_S: Final = 30.0
_LIBRARY: Final[Any] = httpserverimpl


class _Undiscovered:
    """No WS-Discovery: the ventilator announces itself to nobody.

    Args:
        address: Where it is.
    """

    def __init__(self, address: str) -> None:
        self.active_address = address

    def publish_service(self, *_: Any) -> None:
        """Publish nothing."""

    def clear_service(self, *_: Any) -> None:
        """Take nothing back."""


class _Handler(DispatchingRequestHandler):
    disable_nagle_algorithm = True


class _Server(httpserverimpl.HttpServerThreadBase):
    """The library's server on a port that can be chosen."""

    def __init__(self, host: str, port: int, context: Any) -> None:
        super().__init__(host, context, [], logging.getLogger("sdc.device.httpsrv"))
        self._place = (host, port)

    def run(self) -> None:
        """Serve until `stop`."""
        server: Any = _LIBRARY._ThreadingHTTPServer  # noqa: SLF001 - it has no option for a port
        server.allow_reuse_address = True
        self.httpd: Any = server(self.logger, self._place, 0, [])
        self.httpd.RequestHandlerClass = _Handler
        context: Any = self._ssl_context
        if context is not None:
            self.httpd.socket = context.wrap_socket(self.httpd.socket, server_side=True)
        self.base_url = f"https://{self._place[0]}:{self.httpd.server_port}/"
        self.started_evt.set()
        self.httpd.serve_forever(0.1)


class Ventilator:
    """A provider with its MDIB.

    Args:
        host: Address to listen on.
        port: 0 lets the kernel choose.
        context: TLS; None for a plain one.

    Resource handling: `start` starts threads; `stop` ends them.
    """

    def __init__(self, host: str, port: int, context: SSLContextContainer | None) -> None:
        self._mdib: Any = ProviderMdib.from_string(sdc_mdib.document(), SdcV1Definitions)
        self._server = _Server(host, port, context.server_context if context else None)
        library: Any = SdcProvider
        self._provider = library(
            _Undiscovered(host),
            ThisModelType("Asepsis tests", "", "sdc11073 reference provider", "1", "", ""),
            ThisDeviceType("Ventilator of sdc11073", "1", "1"),
            self._mdib,
            epr=uuid.UUID(sdc_mdib.PATH),
            ssl_context_container=context,
        )
        provider: Any = self._provider
        self._report = provider._send_episodic_reports  # noqa: SLF001 - no option loses a report
        properties: Any = observableproperties
        properties.unbind(self._mdib, transaction=self._report)
        properties.strongbind(self._mdib, transaction=self._send)
        self._lost = "nothing"
        self._lock = threading.Lock()
        self._mark: Decimal | None = None
        self._stopping = threading.Event()
        self._validity = pm_types.MeasurementValidity.VALID
        self.held = False

    def start(self) -> int:
        """Start; return the port."""
        self._server.start()
        self._server.started_evt.wait(START_S)
        self._provider.start_all(start_rtsample_loop=False, shared_http_server=self._server)
        self.change(None)
        threading.Thread(target=self._breathe, daemon=True).start()
        return int(self._server.httpd.server_port)

    def stop(self) -> None:
        """End the subscriptions and every thread."""
        self._stopping.set()
        self._provider.stop_all()
        self._server.stop()

    def change(self, number: int | None) -> int:
        """Set all metrics at once; return the monotonic time just before.

        Args:
            number: Of all; None sets the usual values with the last digit in motion.
        """
        now_ns = time.monotonic_ns()
        with self._mdib.metric_state_transaction() as transaction:
            for row in sdc_mdib.METRICS:
                state: Any = transaction.get_state(row.handle)
                value: Any = state.MetricValue or state.mk_metric_value()
                wobble = row.resolution * (int(now_ns / 1e9) % 2)
                value.Value = row.usual + wobble if number is None else Decimal(number)
                value.MetricQuality.Validity = self._validity
        return now_ns

    def validity(self, word: str) -> None:
        """Set what all metrics say of themselves from now on: `Vld`, `Inv`, `Calib` and so on."""
        self._validity = pm_types.MeasurementValidity(word)

    def lose(self, what: str) -> None:
        """Send no reports of metrics and alerts, or none at all, although the MDIB goes on.

        Args:
            what: `reports`, `all`, or `nothing`.
        """
        self._lost = what

    def _send(self, done: Any) -> None:
        if self._lost == "nothing" or (self._lost == "reports" and done.rt_updates):
            self._report(done)

    def mark(self, number: int) -> None:
        """Put a number into the next stretch of the fourth waveform, as each of its samples."""
        with self._lock:
            self._mark = Decimal(number)

    def alarm(self, *, on: bool) -> None:
        """Begin or end apnoea, with its signals."""
        presence = pm_types.AlertSignalPresence
        with self._mdib.alert_state_transaction() as transaction:
            transaction.get_state(sdc_mdib.APNOEA).Presence = on
            for manifestation in ("Aud", "Vis"):
                signal = transaction.get_state(f"{sdc_mdib.APNOEA}.{manifestation}")
                signal.Presence = presence.ON if on else presence.OFF

    def acknowledge(self) -> None:
        """Acknowledge apnoea at the ventilator."""
        with self._mdib.alert_state_transaction() as transaction:
            signal = transaction.get_state(f"{sdc_mdib.APNOEA}.Aud")
            signal.Presence = pm_types.AlertSignalPresence.ACK

    def _breathe(self) -> None:
        started_s = time.monotonic()
        turn = 0
        while not self._stopping.wait(max(0.0, started_s + turn * WAVE_S - time.monotonic())):
            self._waves(turn)
            turn += 1

    def _waves(self, turn: int) -> None:
        with self._lock:
            mark, self._mark = self._mark, None
        if mark is not None:
            say("marked", number=int(mark), at_ns=time.monotonic_ns())
        with self._mdib.rt_sample_state_transaction() as transaction:
            for row in sdc_mdib.WAVES:
                state: Any = transaction.get_state(row.handle)
                value: Any = state.MetricValue or state.mk_metric_value()
                marked = mark if row is sdc_mdib.WAVES[-1] else None
                value.Samples = _breath(turn) if marked is None else [marked] * SAMPLES
                value.DeterminationTime = time.time()
                value.MetricQuality.Validity = pm_types.MeasurementValidity.VALID


def _breath(turn: int) -> list[Decimal]:
    tick_s = sdc_mdib.SAMPLE_PERIOD_MS / 1_000
    return [
        Decimal(round(100 + 100 * math.sin(2 * math.pi * (turn * WAVE_S + n * tick_s) / BREATH_S)))
        / 10
        for n in range(SAMPLES)
    ]


def say(event: str, **details: object) -> None:
    """Tell whoever started this process what happened."""
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


def play(ventilator: Ventilator, commands: "queue.Queue[str]") -> None:
    """Measure once a second and obey, until `stop`."""
    while True:
        try:
            word, _, rest = commands.get(timeout=METRICS_S).partition(" ")
        except queue.Empty:
            if not ventilator.held:
                ventilator.change(None)
            continue
        if word == "stop":
            return
        obey(ventilator, word, rest)


def obey(ventilator: Ventilator, word: str, rest: str) -> None:
    """Do what one command says."""
    match word:
        case "alarm":
            ventilator.alarm(on=rest == "on")
        case "ack":
            ventilator.acknowledge()
        case "hold" | "go":
            ventilator.held = word == "hold"
        case "validity":
            ventilator.validity(rest)
        case "lose":
            ventilator.lose(rest)
        case "change":
            say("changed", number=int(rest), at_ns=ventilator.change(int(rest)))
        case _:
            ventilator.mark(int(rest))


def start_process(
    ca: Path | None, files: Files | None, *, host: str = "127.0.0.1", port: int = 0
) -> tuple["subprocess.Popen[str]", int]:
    """Start a ventilator in a process of its own; return it and its port.

    The process reads commands on standard input and ends with it.

    Args:
        ca: CA of the gateways that may read it; None makes it speak without TLS.
        files: Its certificate and key.
        host: Address to listen on.
        port: 0 lets the kernel choose.

    Raises:
        RuntimeError: It did not start.
    """
    command = [sys.executable, "-m", "asepsis.tools.testing.sdc_ventilator"]
    command += ["--host", host, "--port", str(port)]
    if ca is not None and files is not None:
        command += ["--ca", str(ca), "--chain", str(files.chain), "--key", str(files.key)]
    process = subprocess.Popen(  # noqa: S603 - this very program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        process.kill()
        raise RuntimeError("the SDC ventilator did not start")
    return process, int(json.loads(line)["port"])


def _commands() -> "queue.Queue[str]":
    commands: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            commands.put(line.strip())
        commands.put("stop")

    threading.Thread(target=read, daemon=True).start()
    return commands


def main(arguments: Sequence[str]) -> int:
    """Run a ventilator until its input ends; return the exit code."""
    parser = argparse.ArgumentParser(prog="sdc_ventilator")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ca", type=Path)
    parser.add_argument("--chain", type=Path)
    parser.add_argument("--key", type=Path)
    given = parser.parse_args(arguments)
    context = mk_ssl_contexts(given.key, given.chain, given.ca) if given.ca else None
    ventilator = Ventilator(given.host, given.port, context)
    say("listening", port=ventilator.start(), path=sdc_mdib.PATH)
    play(ventilator, _commands())
    ventilator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
