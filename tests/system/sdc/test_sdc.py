"""The reference provider of sdc11073 as a ventilator behind a real gateway and a real hub."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from driver_ward import GATEWAY, wait_for
from sdc_ward import VENTILATOR, SdcWard

PEEP, RATE = 151_976, 151_586
SILENCE = "silence"

pytestmark = pytest.mark.slow


def running(ward: SdcWard) -> None:
    """Have everything run and be live; the tests of this file share it."""
    if ward.hub is None:
        ward.start_provider()
        ward.start_hub()
        ward.declare(VENTILATOR, address="127.0.0.1/32", tls_key_sha256="0" * 64)
        ward.watch()
        ward.start_gateway()
    ward.until(lambda: bool(ward.numerics(PEEP)), seconds=30)


def silences(ward: SdcWard) -> int:
    return sum(told["phase"] == "onset" for told in ward.alarms(cause=SILENCE))


def sockets(pid: int) -> set[str]:
    """Return the TCP sockets of a process, by inode."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    tcp = {f"socket:[{row.split()[9]}]" for row in rows}
    return tcp & {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}


def children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def test_who_reads_the_device_is_confined_and_has_no_key_and_no_network(ward: SdcWard) -> None:
    running(ward)
    victim = ward.ready()["lines"]["ventilator-1"]["pid"]
    (cable,) = children(victim)
    for pid in (victim, cable):
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
    opened = {str(path.readlink()) for path in Path(f"/proc/{victim}/fd").iterdir()}
    assert not [path for path in opened if f"{ward.folder}/" in path and "gateway.log" not in path]
    assert not sockets(victim)
    assert sockets(cable)
    os.kill(cable, signal.SIGKILL)
    wait_for(lambda: ward.ready()["lines"]["ventilator-1"]["starts"] == 2)
    seen = len(ward.numerics(RATE))
    ward.until(lambda: len(ward.numerics(RATE)) > seen, seconds=30)


def test_values_waveforms_and_alarms_arrive_and_a_stopped_ventilator_is_an_alarm(
    ward: SdcWard,
) -> None:
    """Goal: live within the bound, alarm from onset to end, and silence shows and ends."""
    running(ward)
    wait_for(lambda: ward.delegation(VENTILATOR)["changed_at_ns"])
    line = ward.delegation(VENTILATOR)
    assert not line["observed"], "another key than a person declared"
    assert (line["seen"]["address"], len(line["seen"]["tls_key_sha256"])) == ("127.0.0.1", 64)
    ward.until(lambda: ward.kinds()["waveform"] >= 4)
    codes = {n["mdc_code"] for _, t in ward.seen for n in t.get("numerics", ())}
    assert len(codes) == 20
    ward.tell("hold")
    ward.tell("change 77")
    ward.until(lambda: ward.numerics(PEEP)[-1]["value"] == "77", seconds=2)
    ward.tell("alarm on")
    ward.until(lambda: bool(ward.alarms()), seconds=5)
    onset = ward.alarms()[0]
    told = (onset["phase"], onset["priority"], onset["kind"], onset["text"])
    assert told == ("onset", "high", "physiological", "Apnoea")
    ward.tell("ack")
    ward.until(lambda: ward.alarms()[-1]["inactivation"] == "acknowledged", seconds=5)
    ward.tell("alarm off")
    ward.until(lambda: ward.alarms()[-1]["phase"] == "end", seconds=5)
    # Nothing changes any more, and what stands is told on while the ventilator answers.
    seen = len(ward.numerics(PEEP))
    ward.until(lambda: len(ward.numerics(PEEP)) >= seen + 3, seconds=6)
    # Stopped, not ended: its connections stand, and it answers nothing.
    assert ward.provider is not None
    before = silences(ward)
    os.kill(ward.provider.pid, signal.SIGSTOP)
    ward.until(lambda: silences(ward) > before, seconds=30)
    assert ward.findings()["device-lost", "ventilator-1"] >= 1
    ward.end_provider()
    ward.start_provider()
    ward.until(lambda: ward.numerics(PEEP)[-1]["value"] in {"5.0", "5.1"}, seconds=30)
    ward.until(lambda: ward.alarms(cause=SILENCE)[-1]["phase"] == "end")
    assert ward.stop_gateway() == 0
    kinds = {r["kind"] for lane in ("vitals", "alert", "waveform") for r in ward.records(lane)}
    assert {"fhir-bundle", "alarm-document", "waveform"} <= kinds
    assert {r["producer"] for r in ward.records("vitals")} == {GATEWAY}
