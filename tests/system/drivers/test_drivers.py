"""An IntelliVue monitor and a MEDIBUS ventilator behind a real gateway with mutual TLS."""

import os
import signal
import socket
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from driver_ward import GATEWAY, MONITOR, VENTILATOR, DriverWard, wait_for

from asepsis.tools.testing.intellivue_monitor import AlertEntry

HEART_RATE, PEEP = 147_842, 151_976
SILENCE = "silence"

pytestmark = pytest.mark.slow


def numerics(ward: DriverWard, device: str, code: int) -> list[dict[str, Any]]:
    return [
        numeric
        for name, told in list(ward.seen)
        if name == "numerics" and told["device"] == device
        for numeric in told["numerics"]
        if numeric["mdc_code"] == code
    ]


def alarms(ward: DriverWard, device: str, *, cause: str | None = None) -> list[dict[str, Any]]:
    return [
        told
        for name, told in list(ward.seen)
        if name == "alarm" and told["device"] == device and told["cause"] == cause
    ]


def running(ward: DriverWard) -> DriverWard:
    ward.start_hub()
    ward.declare(MONITOR, address="127.0.0.1/32", port=ward.udp.port)
    ward.watch()
    ward.start_gateway()
    ward.until(lambda: bool(numerics(ward, MONITOR, HEART_RATE)))
    ward.until(lambda: bool(numerics(ward, VENTILATOR, PEEP)))
    return ward


def test_values_waveforms_and_alarms_arrive_live_and_in_the_record(ward: DriverWard) -> None:
    running(ward)
    wait_for(lambda: ward.delegation(MONITOR)["observed"])
    seen = ward.delegation(MONITOR)["seen"]
    assert (seen["address"], seen["port"]) == ("127.0.0.1", ward.udp.port)
    assert ward.delegation(VENTILATOR)["seen"] is None, "a serial line shows nothing"
    ward.until(lambda: ward.kinds()["waveform"] >= 2)
    assert numerics(ward, MONITOR, HEART_RATE)[0]["value"] == "72"
    ward.monitor.alerts = [AlertEntry(3_076, 16_770, 0x0400, "ASYSTOLE", handle=1)]
    ward.ventilator.alarms = [(27, 0x98, "APNEA")]
    ward.until(lambda: bool(alarms(ward, MONITOR) and alarms(ward, VENTILATOR)))
    onset = alarms(ward, MONITOR)[0]
    assert (onset["phase"], onset["priority"], onset["text"]) == ("onset", "high", "ASYSTOLE")
    ward.monitor.alerts = []
    ward.until(lambda: [a["phase"] for a in alarms(ward, MONITOR)][-1] == "end")
    assert ward.stop_gateway() == 0
    kinds = {r["kind"] for lane in ("vitals", "alert", "waveform") for r in ward.records(lane)}
    assert {"fhir-bundle", "alarm-document", "waveform"} <= kinds
    assert {r["producer"] for r in ward.records("vitals")} == {GATEWAY}


def test_a_pulled_cable_is_a_technical_alarm_and_strangers_are_counted(ward: DriverWard) -> None:
    """Goal: silence shows, and somebody else's datagrams are neither taken nor overlooked."""
    running(ward)
    settings = tomllib.loads((ward.data / "gateway.toml").read_text())
    port = settings["drivers"][0]["local_port"]
    forged = [d.replace(b"\x00\x00\x00\x48", b"\x00\x00\x00\xff") for d in _telling(ward)]
    assert forged
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.2", 0))
        for datagram in [*forged, b"", os.urandom(9_000)]:
            stranger.sendto(datagram, ("127.0.0.1", port))
    wait_for(lambda: ward.findings()["unknown-sender", "monitor-1"])
    ward.monitor.silent = True
    ward.until(lambda: bool(alarms(ward, MONITOR, cause=SILENCE)), seconds=25)
    assert ward.findings()["device-lost", "monitor-1"] == 1
    assert not alarms(ward, VENTILATOR, cause=SILENCE)
    seen = len(numerics(ward, MONITOR, HEART_RATE))
    assert {n["value"] for n in numerics(ward, MONITOR, HEART_RATE)} == {"72"}
    ward.monitor.silent = False
    ward.udp.announce(ward.monitor.announcement(), port=ward.announcements)
    ward.until(lambda: len(numerics(ward, MONITOR, HEART_RATE)) > seen)
    ward.until(lambda: alarms(ward, MONITOR, cause=SILENCE)[-1]["phase"] == "end")


def _telling(ward: DriverWard) -> list[bytes]:
    return [d for polled in (6, 0x36) for d in ward.monitor.results(polled, 10**12)]


def test_what_the_hub_missed_comes_late_and_never_live(ward: DriverWard) -> None:
    running(ward)
    assert ward.hub is not None
    ward.hub.stop()
    ward.monitor.numbers[0].mantissa = 99
    spool = ward.data / "drivers" / "journal"
    before = _size(spool)
    wait_for(lambda: _size(spool) > before, seconds=15)
    ward.monitor.numbers[0].mantissa = 55
    ward.start_hub()
    ward.seen.clear()
    ward.watch()
    ward.until(lambda: bool(numerics(ward, MONITOR, HEART_RATE)), seconds=30)
    # Nothing is missing: the bundles and documents of the gateway have one dense account.
    wait_for(lambda: len(_numbers(ward, "late")) > 3 and _is_dense(ward), seconds=30)
    assert {n["value"] for n in numerics(ward, MONITOR, HEART_RATE)} == {"55"}
    assert ward.stop_gateway() == 0


def _numbers(ward: DriverWard, *lanes: str) -> list[int]:
    return sorted(
        record["sequence"]
        for lane in lanes
        for record in ward.records(lane)
        if record["kind"] in {"fhir-bundle", "alarm-document"}
    )


def _is_dense(ward: DriverWard) -> bool:
    numbers = _numbers(ward, "vitals", "alert", "late")
    # The newest may still be on their way beside each other.
    return numbers[:-5] == list(range(1, len(numbers) - 4))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_device_that_is_not_declared_stops_nobody_else(half_ward: DriverWard) -> None:
    """Goal: the hub refuses one device of a gateway, and the other's values and numbers go on."""
    ward = half_ward
    ward.start_hub()
    ward.watch()
    ward.start_gateway()
    ward.until(lambda: len(numerics(ward, MONITOR, HEART_RATE)) > 3)
    wait_for(lambda: ward.findings()["refused-by-hub", VENTILATOR])
    assert ward.hub is not None
    ward.hub.stop()
    spool = ward.data / "drivers" / "journal"
    before = _size(spool)
    wait_for(lambda: _size(spool) > before, seconds=15)
    time.sleep(4)  # Long enough for several values: some came just before, and are no late ones.
    ward.start_hub()
    # Empty bundles stand where the hub takes nothing; what the other device told came late.
    wait_for(lambda: _numbers(ward, "late") and _is_dense(ward), seconds=30)
    assert not numerics(ward, VENTILATOR, PEEP)


def test_a_line_process_is_confined_and_alone(ward: DriverWard) -> None:
    """Goal: who takes over the parser of one device has no key, no file and no other device."""
    running(ward)
    lines = ward.ready()["lines"]
    victim = lines["monitor-1"]["pid"]
    status = Path(f"/proc/{victim}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    opened = {str(path.readlink()) for path in Path(f"/proc/{victim}/fd").iterdir()}
    assert not [path for path in opened if f"{ward.data}/" in path]
    # The device, everybody else on its port, announcements, its own channel: no other device's.
    assert len([path for path in opened if path.startswith("socket:")]) == 4
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: ward.ready()["lines"]["monitor-1"]["starts"] == 2)
    assert ward.ready()["lines"]["ventilator-1"] == lines["ventilator-1"]
    seen = len(numerics(ward, MONITOR, HEART_RATE))
    ward.until(lambda: len(numerics(ward, MONITOR, HEART_RATE)) > seen)
    assert ward.findings()["line-ended", "monitor-1"] == 1
