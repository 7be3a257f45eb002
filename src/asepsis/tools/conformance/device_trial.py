"""One trial of a device: it is enrolled, runs, loses its hub, comes back, is restarted, misled.

The device under test is a program of any maker in any language. It is started by two commands:

    PROGRAM enrol --name URI --hub HOST --clinical-port N --enrolment-port N
                  --token-file FILE --folder FOLDER
    PROGRAM run --folder FOLDER

`enrol` ends with status 0 once the device has its certificates, and with another if it has not.
`run` measures and sends until SIGTERM. Everything that the device keeps goes into the folder.
"""

import base64
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import AsepsisError, InputError, Unavailable
from asepsis.core.wire.frames import WaveformPacket, decode_packet
from asepsis.core.wire.origin import OriginBatch, decode_batch
from asepsis.tools.conformance.bench import HubBench
from asepsis.tools.conformance.own_hub import own_hub
from asepsis.tools.conformance.wires import Cable, impostor

ENROL_S: Final = 60.0
STOP_S: Final = 15.0
START_S: Final = 30.0
STEADY_S_MAX: Final = 12.0
CUT_S: Final = 5.0
RETURN_S_MAX: Final = 12.0
RESTARTED_S_MAX: Final = START_S
MISLED_S_MAX: Final = 8.0
LISTEN_S: Final = 1.0
"""How long an impostor hears a device out that came to it."""
LOOK_S: Final = 0.25
LISTS_MIN: Final = 2
"""Lists of active conditions in an epoch from which their distance can be judged."""
LANES: Final = ("vitals", "alert", "waveform", "late")
OUTPUT_CHARS: Final = 400


@dataclass(slots=True)
class Evidence:
    """What was seen of a device.

    Attributes:
        name: Its name.
        records: Records of the hub's lanes, as they arrived.
        hellos: ClientHello of every connection.
        refused_impostor: Whether `enrol` at an impostor ended with an error.
        told_at_enrolment: What it told an impostor while it should enrol.
        told_later: What it told one that stood in for its hub later.
        visits_later: How often it came to that one.
        cut_ns: Wall time when the cable was cut, and when it was mended.
        restarted_ns: Wall time of its second start.
    """

    name: str
    records: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {lane: [] for lane in LANES}
    )
    hellos: list[bytes] = field(default_factory=list[bytes])
    refused_impostor: bool = False
    told_at_enrolment: bytes = b""
    told_later: bytes = b""
    visits_later: int = 0
    cut_ns: tuple[int, int] = (0, 0)
    restarted_ns: int = 0

    def batches(self) -> list[tuple[str, int, OriginBatch]]:
        """Return lane, time of arrival and batch of every origin batch, by epoch and number."""
        found = [
            (lane, int(record["received_at_ns"]), decode_batch(base64.b64decode(record["body"])))
            for lane in ("vitals", "alert", "late")
            for record in self.records[lane]
            if record["kind"] == "origin-batch" and record["producer"] == self.name
        ]
        return sorted(found, key=lambda f: (f[2].header.epoch, f[2].header.sequence))

    def packets(self) -> list[tuple[int, WaveformPacket]]:
        """Return time of arrival and packet of every waveform packet, by epoch and number."""
        found = [
            (int(record["received_at_ns"]), decode_packet(base64.b64decode(record["body"])))
            for lane in ("waveform", "late")
            for record in self.records[lane]
            if record["kind"] == "waveform" and record["producer"] == self.name
        ]
        return sorted(found, key=lambda f: (f[1].epoch, f[1].sequence))


class Program:
    """The device under test.

    Args:
        command: How it is started; the contract's words come after it.
        folder: Where it keeps everything; made by the trial.
        log: File for its output.
    """

    def __init__(self, command: Sequence[str], folder: Path, *, log: Path) -> None:
        self._command = list(command)
        self._folder = folder
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def enrol(self, name: str, *, hub: str, ports: tuple[int, int], token_file: Path) -> bool:
        """Let it enrol, and return whether it says that it has.

        Raises:
            InputError: It cannot be started, or does not end.
        """
        words = [
            *("enrol", "--name", name, "--hub", hub, "--clinical-port", str(ports[0])),
            *("--enrolment-port", str(ports[1]), "--token-file", str(token_file)),
            *("--folder", str(self._folder)),
        ]
        try:
            with self._log.open("ab") as log:
                done = subprocess.run(  # noqa: S603 - the program that the person named
                    [*self._command, *words], stdout=log, stderr=log, timeout=ENROL_S, check=False
                )
        except subprocess.TimeoutExpired as error:
            raise InputError(f"`enrol` does not end within {ENROL_S:g} s") from error
        except OSError as error:
            raise InputError(f"cannot start {self._command[0]}: {error.strerror}") from error
        return done.returncode == 0

    def start(self) -> None:
        """Let it run."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the program that the person named
                [*self._command, "run", "--folder", str(self._folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def try_device(command: Sequence[str], folder: Path) -> Evidence:
    """Play the whole trial against a hub of our own and return what was seen.

    Args:
        command: How the device is started.
        folder: Empty folder for hub, device and logs.

    Raises:
        AsepsisError: The hub does not start, or the device cannot be started or does not enrol.
    """
    device = Program(command, folder / "device", log=folder / "device.log")
    with own_hub(folder / "hub") as plan:
        bench = HubBench(plan, folder / "identities")
        cables = Cable(plan.host, plan.clinical), Cable(plan.host, plan.enrolment)
        try:
            bench.open(only=("consumer",))
            seen = Evidence(bench.name("signing"))
            _enrol(device, bench, seen, cables, folder / "token")
            _run(device, bench, seen, cables)
        finally:
            device.stop()
            for cable in cables:
                cable.close()
            bench.close()
    return seen


def _enrol(
    device: Program, bench: HubBench, seen: Evidence, cables: tuple[Cable, Cable], token: Path
) -> None:
    host = bench.plan.host
    token.touch(mode=0o600)
    token.write_text(bench.plan.identities["signing"].token, "ascii")
    with impostor(host) as wrong:
        ports = wrong.port, wrong.port
        seen.refused_impostor = not device.enrol(seen.name, hub=host, ports=ports, token_file=token)
        seen.told_at_enrolment = wrong.told
    ports = cables[0].port, cables[1].port
    if not device.enrol(seen.name, hub=host, ports=ports, token_file=token):
        raise InputError("the device does not enrol; its output is in device.log")


def _run(device: Program, bench: HubBench, seen: Evidence, cables: tuple[Cable, Cable]) -> None:
    device.start()
    _wait_for_data(bench, seen)
    _watch(bench, seen, lambda: _lists(seen) >= LISTS_MIN, most_s=STEADY_S_MAX)
    cut_ns = time.time_ns()
    for cable in cables:
        cable.cut()
    time.sleep(CUT_S)
    for cable in cables:
        cable.mend()
    seen.cut_ns = cut_ns, time.time_ns()
    _watch(bench, seen, lambda: _caught_up(seen), most_s=RETURN_S_MAX)
    device.stop()
    seen.restarted_ns = time.time_ns()
    device.start()
    _watch(bench, seen, lambda: _settled(seen), most_s=RESTARTED_S_MAX)
    _mislead(bench, seen, cables)
    seen.hellos = [hello for cable in cables for hello in cable.hellos]


def _mislead(bench: HubBench, seen: Evidence, cables: tuple[Cable, Cable]) -> None:
    """Lead the cables to an impostor."""
    with impostor(bench.plan.host) as wrong:
        for cable in cables:
            cable.lead_to(wrong.port)
        deadline_s = time.monotonic() + MISLED_S_MAX
        while time.monotonic() < deadline_s and not wrong.visits:
            time.sleep(LOOK_S)
        time.sleep(LISTEN_S)
        seen.told_later, seen.visits_later = wrong.told, wrong.visits


def _watch(bench: HubBench, seen: Evidence, enough: Callable[[], bool], *, most_s: float) -> None:
    """Take in what the device sends until it is enough to judge, or for that long at most."""
    deadline_s = time.monotonic() + most_s
    while True:
        _pull(bench, seen)
        if time.monotonic() > deadline_s or _holds(enough):
            return
        time.sleep(LOOK_S)


def _holds(enough: Callable[[], bool]) -> bool:
    try:
        return enough()
    except InputError:
        return False  # What cannot be read is for the checks to say.


def _newest(seen: Evidence) -> list[OriginBatch]:
    """Return the batches of the newest epoch, by number."""
    batches = [batch for _, _, batch in seen.batches()]
    newest = max((batch.header.epoch for batch in batches), default=0)
    return [batch for batch in batches if batch.header.epoch == newest]


def _lists(seen: Evidence) -> int:
    return sum(batch.header.lists_active for batch in _newest(seen))


def _caught_up(seen: Evidence) -> bool:
    """Whether what it could not send came late, and live batches come again."""
    mended_ns = seen.cut_ns[1]
    live = [at for lane, at, _ in seen.batches() if lane == "vitals" and at > mended_ns]
    numbers = [batch.header.sequence for batch in _newest(seen)]
    late = any(lane == "late" for lane, _, _ in seen.batches())
    return late and len(live) > 1 and numbers == list(range(1, len(numbers) + 1))


def _settled(seen: Evidence) -> bool:
    """Whether the second epoch has begun, holds a list, and the first one has no hole."""
    epochs = {batch.header.epoch for _, _, batch in seen.batches()}
    numbers = [batch.header.sequence for batch in _newest(seen)]
    return len(epochs) > 1 and _lists(seen) > 0 and numbers == list(range(1, len(numbers) + 1))


def _wait_for_data(bench: HubBench, seen: Evidence) -> None:
    deadline_s = time.monotonic() + START_S
    while not seen.records["vitals"]:
        if time.monotonic() > deadline_s:
            raise Unavailable(f"the device sends nothing within {START_S:g} s")
        time.sleep(LOOK_S)
        _pull(bench, seen)


def _pull(bench: HubBench, seen: Evidence) -> None:
    for lane in LANES:
        try:
            seen.records[lane].extend(bench.records(lane, wait_s=0))
        except AsepsisError as error:
            raise Unavailable(f"the {lane} lane of our own hub cannot be read: {error}") from error
