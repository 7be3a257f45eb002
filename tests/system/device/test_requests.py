"""The request gate of a running device, asked by a network compartment that is the attacker's."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.errors import SafetyRefusal, Unavailable
from asepsis.core.model.manifest import Criticality
from asepsis.core.trust import libcrypto
from asepsis.core.wire import gate_request
from asepsis.core.wire.gate_request import LimitRequest, code_of, device_tag, encode
from asepsis.edge.device import models
from asepsis.edge.device.operator_key import public_pem
from asepsis.edge.device.panel import NAME, ask_panel
from asepsis.edge.device.permit import UpdateRung
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox.layers import detect

ASKING = """
import asepsis.edge.device.network as _network
_made = _network.build
def _keep(order, line):
    import os, pathlib, socket
    global _LINES, _ASKS
    _ASKS = pathlib.Path(order.body["state"]) / "asks.json"
    _LINES = {
        name.removeprefix("request-"): socket.socket(fileno=os.dup(descriptor))
        for name, descriptor in order.descriptors.items() if name.startswith("request-")
    }
    return _made(order, line)
def _ask(worker):
    import json, select
    worker._line.report("doors", names=sorted(_LINES))
    done = 0
    while not select.select([worker._line.socket], [], [], 0.05)[0]:
        worker._line.heartbeat(dict)
        asks = json.loads(_ASKS.read_text()) if _ASKS.exists() else []
        for name, frame in asks[done:]:
            line = _LINES[name]
            line.settimeout(5)
            line.send(bytes.fromhex(frame))
            answer = {}
            while "verdict" not in answer:  # Challenges come on the same line.
                answer = json.loads(line.recv(4096))
            worker._line.report("answer", number=done, **answer)
            done += 1
_network.build = _keep
_network.Network.run = _ask
"""
HEART = models.HEART_RATE.handle
COMMANDS = """
import contextlib, io, json, sys
from asepsis.cli.device_request import app, permit
from asepsis.cli.output import exit_code
from asepsis.core.errors import AsepsisError
app.command(permit)
told = []
for line in json.loads(sys.argv[1]):
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            app(line)
        except SystemExit as ended:
            code = ended.code
        except AsepsisError as error:
            code = exit_code(error)
    told.append([code or 0, out.getvalue()])
print(json.dumps(told))
"""
"""Runs several commands in one process: each start of an interpreter costs a second."""
pytestmark = pytest.mark.slow


class Device:
    """A running device whose network compartment asks what the test writes."""

    def __init__(self, ward: Any, under_test: Any, key: libcrypto.PrivateKey) -> None:
        self.name = ward.NAME
        self.under_test = under_test
        self.key = key
        self.asks: list[tuple[str, str]] = []
        self.path: Path = under_test.folder.path

    def frame(self, *, low: float = 50, high: float = 120, challenge: str = "") -> bytes:
        return encode(
            LimitRequest(
                handle=HEART,
                low=low,
                high=high,
                device=device_tag(self.name),
                challenge=bytes.fromhex(challenge) if challenge else gate_request.NO_CHALLENGE,
                request_id=os.urandom(8),
            )
        )

    def signed(self, key: libcrypto.PrivateKey, **limits: float) -> bytes:
        challenge = self.under_test.told("vitals", "alive")[-1]["challenge"]
        plain = self.frame(challenge=challenge, **limits)
        return plain + key.sign(plain)

    def ask(self, name: str, frame: bytes) -> dict[str, Any]:
        """Ask through the attacker; return what the gate answers him."""
        number = len(self.asks)
        self.asks.append((name, frame.hex()))
        aside = self.path / "asks"
        aside.write_text(json.dumps(self.asks))
        aside.chmod(0o644)
        aside.rename(self.path / "compartments" / "network" / "asks.json")
        self.under_test.until(
            lambda: any(a["number"] == number for a in self.under_test.told("network", "answer"))
        )
        return next(a for a in self.under_test.told("network", "answer") if a["number"] == number)


@pytest.fixture
def device(ward: ModuleType, intrusion: ModuleType, tmp_path: Path) -> Iterator[Device]:
    folder = ward.enrolled(tmp_path / "device")
    key = libcrypto.generate_key()
    (folder.path / "operator-key.pem").write_bytes(public_pem(key.spki_der))
    under_test = intrusion.Ward(folder, detect().holding)
    supervisor = Supervisor(
        folder,
        holding=under_test.holding,
        setting=Setting(seed=5, requests=True, preludes={"network": ASKING}),
        tell=lambda who, what, details: under_test.events.append((who, what, dict(details))),
    )
    under_test.supervisor = supervisor
    try:
        under_test.until(lambda: under_test.told("network", "doors"))
        under_test.until(
            lambda: any(d.get("challenge") for d in under_test.told("vitals", "alive"))
        )
        yield Device(ward, under_test, key)
    finally:
        supervisor.close()


def test_who_brings_a_request_counts_for_nothing(device: Device) -> None:
    """Goal: the attacker's own fails, the operator's holds through him, once; a person decides."""
    assert device.under_test.told("network", "doors")[0]["names"] == [
        "alarm-limit", "signed-alarm-limit"
    ]  # fmt: skip
    stranger = libcrypto.generate_key()
    forged = device.ask("signed-alarm-limit", device.signed(stranger))
    assert forged["reason"] == "the operator's signature does not hold"
    assert "not a request" in device.ask("signed-alarm-limit", b"\0" * 100)["reason"]
    assert "too long" in device.ask("signed-alarm-limit", b"\0" * 121)["reason"]
    honest = device.signed(device.key, high=119)
    assert device.ask("signed-alarm-limit", honest)["verdict"] == "accepted"
    again = device.ask("signed-alarm-limit", honest)
    assert "answered already" in again["reason"]

    waiting = device.frame(high=55, low=45)
    assert device.ask("alarm-limit", waiting)["verdict"] == "waits"
    assert device.ask("alarm-limit", device.frame(high=54))["reason"].startswith("another")
    assert "too often" in device.ask("alarm-limit", device.frame())["reason"]
    assert not device.under_test.told("vitals", "alarm")
    supervisor = device.under_test.supervisor
    stop = threading.Event()

    def person() -> None:
        try:
            ask_panel(device.path, "confirm", code="000000")
            ask_panel(device.path, "confirm", code=code_of(waiting))
        finally:
            stop.set()

    threading.Thread(target=person, daemon=True).start()
    device.under_test.until(stop.is_set)
    # The heart rate of this patient is above 55: the new limit is what alarms are judged by.
    device.under_test.until(lambda: device.under_test.told("vitals", "alarm"))
    assert "above high limit" in device.under_test.told("vitals", "alarm")[0]["text"]
    assert supervisor.starts["vitals"] == 1
    record = [json.loads(line) for line in (device.path / "requests.log").read_text().splitlines()]
    assert [entry["verdict"] for entry in record].count("accepted") == 2
    assert {entry["asker"] for entry in record} == {"network"}
    told = [d["text"] for d in device.under_test.told("network", "denied")]
    assert any(text.startswith("signed-alarm-limit accepted") for text in told)


def test_a_permit_is_vitals_answer_and_ends_with_the_state_it_was_given_in(
    device: Device,
) -> None:
    under_test, gate = device.under_test, device.under_test.supervisor.gate
    release = bytes(32)

    def answer(rung: UpdateRung, touches: Criticality = Criticality.EXPENDABLE) -> str:
        before = len(under_test.told("vitals", "permit"))
        gate.ask_permit(release, rung, gap_ms=40, touches=touches)
        under_test.until(lambda: len(under_test.told("vitals", "permit")) > before)
        return str(under_test.told("vitals", "permit")[-1]["reason"])

    under_test.until(lambda: answer(UpdateRung.SWAP) != "the clinical state has just changed")
    assert answer(UpdateRung.SWAP) == ""
    assert "patient" in answer(UpdateRung.SWAP, Criticality.CRITICAL)
    assert "never" in answer(UpdateRung.IMAGE)
    with pytest.raises(SafetyRefusal):
        gate.permits.redeem(release, UpdateRung.IMAGE, now_s=0)
    assert answer(UpdateRung.SWAP) == ""
    under_test.supervisor.bedside("standby")
    under_test.until(lambda: under_test.told("vitals", "state")[-1]["state"] == "STANDBY")
    with pytest.raises(SafetyRefusal, match=r"state has changed|taken back"):
        gate.permits.redeem(release, UpdateRung.SWAP, now_s=0)


def test_a_person_asks_and_confirms_at_the_device(device: Device, tmp_path: Path) -> None:
    """Goal: the commands, against a running device; `--dry-run` asks nothing."""
    stop = threading.Event()
    done: list[subprocess.CompletedProcess[str]] = []
    folder = ["--folder", str(device.path)]
    key = tmp_path / "operator.pem"
    libcrypto.write_key(device.key, key)
    limits = ["--numeric", "1", "--low", "45", "--high", "130"]
    lines = (
        ["show", *folder, "--json"],
        ["limit", *folder, *limits, "--dry-run", "--json"],
        ["limit", *folder, *limits, "--operator-key", str(key), "--json"],
        ["limit", *folder, *limits, "--json"],
        ["confirm", "wrong", *folder],
        ["permit", *folder, "--rung", "image", "--json"],
    )

    def run() -> None:
        whole = [sys.executable, "-c", COMMANDS, json.dumps(lines)]
        try:
            done.append(
                subprocess.run(whole, capture_output=True, text=True, check=False, timeout=60)
            )
        finally:
            stop.set()

    threading.Thread(target=run, daemon=True).start()
    device.under_test.until(stop.is_set, timeout_s=90)
    assert done[0].returncode == 0, done[0].stderr
    told = json.loads(done[0].stdout)
    assert [code for code, _ in told] == [0, 0, 0, 0, 1, 3]
    shown, dry, signed, waits, _, permit = (json.loads(t or "{}") for _, t in told)
    assert shown["requests"]["alarm-limit"] == "bedside"
    assert len(dry["frame"]) == 2 * gate_request.REQUEST_BYTES
    assert signed["verdict"] == "accepted"
    assert waits["verdict"] == "waits"
    assert "never" in permit["permit"]
    asked = device.under_test.told("vitals", "request")
    assert [a["verdict"] for a in asked] == ["accepted", "waits"]


def test_off_by_default_there_is_no_door_and_no_panel(
    ward: ModuleType, intrusion: ModuleType, tmp_path: Path
) -> None:
    folder = ward.enrolled(tmp_path / "device")
    under_test = intrusion.Ward(folder, detect().holding, preludes={"network": ASKING})
    with under_test.running():
        under_test.until(lambda: under_test.told("network", "doors"))
        assert under_test.told("network", "doors") == [{"names": []}]
        assert not (folder.path / NAME).exists()
        with pytest.raises(Unavailable):
            ask_panel(folder.path, "status")
