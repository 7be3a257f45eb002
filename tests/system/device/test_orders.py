"""A running device takes orders: versions replaced with the port open, and the service port."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.cli import device_versions
from asepsis.core.errors import Conflict, InputError, NotFound, SafetyRefusal, Unavailable
from asepsis.edge.device.manifest import SHIPPED
from asepsis.edge.device.supervisor_orders import NAME, ask_supervisor
from asepsis.edge.sandbox import bubblewrap
from asepsis.tools.attack.rows_service import free_port

ASEPSIS = Path(sys.executable).with_name("asepsis")
WAIT_S = 90.0
DENIED = "no permit"
COMPARTMENT = """
[compartment.service]
text = "Tells what this device is."
criticality = "expendable"
code = "asepsis.edge.device.service"
user = 62231
syscalls = "listening"
zone = "service"
ports = [{port}]
self_tests = ["confined", "alive"]
update = {{ rung = "swap", when = ["in-use", "standby", "idle", "cleaning", "maintenance"] }}

[compartment.service.resources]
memory_mib = 384
files = 64
file_mib = 4
tasks = 8
cpu_percent = 25
nice = 10
oom_score = 900
silence_s = 30.0
restart_s_max = 5.0
"""
CHANGE = """
_shipped = build
def build(order, line):
    order.body["facts"]["version"] = "1.1"
    return _shipped(order, line)
"""
pytestmark = [pytest.mark.slow]


def ask(port: int) -> dict[str, Any]:
    """Ask a compartment for the facts.

    Raises:
        OSError: Refused, or cut.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as line:
        line.sendall(b"facts\n")
        got = b""
        while part := line.recv(4_096):
            got += part
    if not got:
        raise ConnectionResetError("nothing came")
    answer: dict[str, Any] = json.loads(got)
    return answer


@dataclass
class Asker:
    """Asks a port again and again."""

    port: int
    answers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    failures: list[str] = field(default_factory=list[str])
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.wait(0.01):
            try:
                self.answers.append(ask(self.port))
            except OSError as error:
                self.failures.append(repr(error))


@dataclass
class Device:
    """A device that runs as a process of its own."""

    folder: Path
    process: "subprocess.Popen[str]"
    port: int

    def key(self, key: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(key + "\n")
        self.process.stdin.flush()

    def state(self) -> str:
        return str(ask_supervisor(self.folder, "versions")["state"])

    def in_state(self, wanted: str, *, keys: tuple[str, ...]) -> None:
        """Press keys until the device is there: what a key does depends on what came before."""

        def there() -> bool:
            if self.state() == wanted:
                return True
            for key in keys:
                self.key(key)
            return False

        until(there)


def until(wanted: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        with contextlib.suppress(Unavailable, OSError):
            if wanted():
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def device(ward: ModuleType) -> Iterator[Device]:
    """Run a device whose manifest has a service port; it has no hub."""
    with tempfile.TemporaryDirectory(prefix="asepsis-orders-") as made:
        place = Path(made)
        place.chmod(0o755)
        folder = ward.enrolled(place / "device").path
        port = free_port()
        text = SHIPPED.read_text("utf-8") + COMPARTMENT.format(port=port)
        (place / "own.toml").write_text(text, "utf-8")
        release(folder, "1.1", CHANGE)
        release(folder, "9-broken", "raise OSError(5, 'Input/output error')\n")
        command = [ASEPSIS, "device", "run", "--folder", folder, "--manifest", place / "own.toml"]
        with (
            (place / "log").open("w") as log,
            subprocess.Popen(
                [*command, "--bedside", "--json"], stdin=subprocess.PIPE, stdout=log, text=True
            ) as process,
        ):
            try:
                found = Device(folder, process, port)
                until(lambda: process.poll() is not None or found.state() == "in_use")
                assert process.poll() is None
                yield found
            finally:
                process.terminate()
                process.wait(WAIT_S)


def release(folder: Path, version: str, change: str, *, name: str = "service") -> None:
    """Put a version of a compartment where the supervisor looks for it."""
    shipped = bubblewrap.code().package
    package = folder / "releases" / name / version / "asepsis"
    package.mkdir(parents=True)
    shutil.copy(shipped / "__init__.py", package)
    for part in ("core", "edge"):
        ignored = shutil.ignore_patterns("__pycache__", "gateway")
        shutil.copytree(shipped / part, package / part, ignore=ignored)
    module = package / "edge" / "device" / f"{name}.py"
    text = module.read_text("utf-8").replace("\ndef main(", change + "\n\ndef main(")
    module.write_text(text, "utf-8")


def swapped(act: Callable[[], None]) -> None:
    """Swap until a permit is given: a clinical state that has just changed gets none."""
    for _ in range(9):
        try:
            return act()
        except SafetyRefusal as error:
            if DENIED not in str(error):
                raise
    raise AssertionError("no permit came")


def test_an_order_is_refused_with_its_reason(device: Device) -> None:
    with pytest.raises(NotFound):
        ask_supervisor(device.folder, "swap", compartment="nobody", version="1.1")
    with pytest.raises(NotFound):
        ask_supervisor(device.folder, "swap", compartment="service", version="7.7")
    with pytest.raises(NotFound):
        ask_supervisor(device.folder, "rollback", compartment="network")
    with pytest.raises(Unavailable):  # It does not run: its port is closed.
        ask_supervisor(device.folder, "swap", compartment="service", version="1.1")
    with pytest.raises(SafetyRefusal, match="in_use"):
        ask_supervisor(device.folder, "swap", compartment="vitals", version="shipped")
    with pytest.raises(InputError):
        ask_supervisor(device.folder, "swap", compartment=7, version="1.1")
    with pytest.raises(InputError, match="names no version"):
        ask_supervisor(device.folder, "swap", compartment="service", version="../1.1")
    tried = ask_supervisor(
        device.folder, "swap", compartment="service", version="1.1", dry_run=True
    )
    assert tried == {"compartment": "service", "from": "shipped", "to": "1.1", "begun": False}
    with pytest.raises(Unavailable):
        ask_supervisor(device.folder / "releases", "versions")


def test_nonsense_on_the_orders_socket_moves_nothing(device: Device) -> None:
    """Fuzz: whatever comes, each line has one short answer or none, and the device goes on."""
    before = ask_supervisor(device.folder, "versions")["compartments"]["vitals"]["starts"]
    valid = b'{"do": "swap", "compartment": "service", "version": "1.1", "dry_run": true}\n'
    pieces = [secrets.token_bytes(size) for size in (1, 40, 2_000, 60_000)]
    pieces += [valid[:end] + b"\xff\n" for end in range(0, len(valid), 7)]
    pieces += [b"[" * 2_000 + b"\n", b"{}\n", b"null\n", b'{"do": {"do": "swap"}}\n', b"\n"]
    handle = os.open(device.folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        where = f"/proc/self/fd/{handle}/{NAME}"
        for piece in pieces:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(WAIT_S)
                line.connect(where)
                with contextlib.suppress(OSError):  # It may be cut while it is still sent.
                    line.sendall(piece)
                    line.shutdown(socket.SHUT_WR)
                    answer = line.recv(4_096)
                    assert b'"error"' in answer or not answer or b'"begun": false' in answer
        with contextlib.ExitStack() as silent:
            for _ in range(6):  # More than it takes at once; they are cut, and others come through.
                line = silent.enter_context(socket.socket(socket.AF_UNIX))
                line.connect(where)
            until(lambda: ask_supervisor(device.folder, "versions")["state"])
    finally:
        os.close(handle)
    after = ask_supervisor(device.folder, "versions")["compartments"]
    assert after["vitals"]["starts"] == before
    assert device.process.poll() is None


def test_the_service_port_is_open_in_maintenance_for_a_time_only(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> bool:
        with contextlib.suppress(ConnectionResetError, json.JSONDecodeError):
            try:
                ask(device.port)
            except ConnectionRefusedError:
                return True
        return False

    assert refused()
    with pytest.raises(SafetyRefusal, match="maintenance"):
        device_versions.open_port(folder=device.folder)
    assert refused()
    device.in_state("maintenance", keys=("disconnected", "acknowledge", "maintenance"))
    with pytest.raises(InputError, match="3600"):
        device_versions.open_port(folder=device.folder, minutes=61)
    device_versions.open_port(folder=device.folder, minutes=5)
    until(lambda: ask(device.port)["device"])
    device_versions.versions(folder=device.folder)
    assert "Service port: open" in capsys.readouterr().out
    with socket.create_connection(("127.0.0.1", device.port), WAIT_S) as held:
        device.in_state("in_use", keys=("done", "normal"))
        until(refused)
        with contextlib.suppress(ConnectionResetError):
            assert held.recv(1) == b"", "whoever was connected is cut too"
    device.in_state("maintenance", keys=("disconnected", "acknowledge", "maintenance"))
    assert refused(), "it does not open again by itself"
    ask_supervisor(device.folder, "service-open", seconds=1)
    until(refused)
    device_versions.open_port(folder=device.folder, minutes=5)
    device_versions.close(folder=device.folder)
    assert "Service port closed" in capsys.readouterr().out
    assert refused()


def test_a_port_answers_all_the_time_while_its_compartment_is_replaced(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    device.in_state("maintenance", keys=("disconnected", "acknowledge", "maintenance"))
    device_versions.open_port(folder=device.folder, minutes=30)
    until(lambda: ask(device.port)["model"] == "monitor")
    asker = Asker(device.port)
    thread = threading.Thread(target=asker.run)
    thread.start()
    try:
        swapped(lambda: device_versions.swap("service", "1.1", folder=device.folder))
        until(lambda: asker.answers[-1].get("version") == "1.1")
        assert "on trial" in capsys.readouterr().out
        device_versions.versions(folder=device.folder)
        assert "1.1" in capsys.readouterr().out
        with pytest.raises(Conflict):
            device_versions.swap("service", "9-broken", folder=device.folder)
        swapped(lambda: device_versions.rollback("service", folder=device.folder))
        until(lambda: "version" not in asker.answers[-1])
        with pytest.raises(SafetyRefusal):
            device_versions.swap("service", "9-broken", folder=device.folder)
    finally:
        asker.over.set()
        thread.join()
    assert asker.failures == []
    facts = ask_supervisor(device.folder, "versions")["compartments"]["service"]
    assert (facts["serves"], facts["confirmed"]) == ("shipped", "shipped")
    assert facts["last"]["event"] == "version-refused"
    assert facts["here"] == ["shipped", "1.1", "9-broken"]


def test_vitals_is_replaced_in_maintenance_with_a_permit_and_not_back_with_a_patient(
    device: Device,
) -> None:
    release(device.folder, "2.0", "", name="vitals")
    device.in_state("maintenance", keys=("disconnected", "acknowledge", "maintenance"))
    swapped(lambda: device_versions.swap("vitals", "2.0", folder=device.folder))
    device.in_state("in_use", keys=("normal",))  # The new one starts with a patient attached.
    with pytest.raises(SafetyRefusal, match="in_use"):
        device_versions.rollback("vitals", folder=device.folder)
    found = ask_supervisor(device.folder, "versions")
    vitals = found["compartments"]["vitals"]
    assert (vitals["serves"], vitals["before"], vitals["starts"]) == ("2.0", "shipped", 2)
    assert found["compartments"]["origin"]["starts"] == 1
    assert found["service_open_s"] == 0, "the new vitals has not been told of maintenance"
