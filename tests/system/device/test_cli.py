"""`asepsis device` as a person and as a script run it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.wire.origin import decode_batch
from asepsis.edge.device import models

RUN = "import sys; from asepsis.cli.device import app; app(sys.argv[1:])"


def device(*arguments: str, keys: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        input=keys,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_layers_are_told_to_people_and_scripts() -> None:
    told = device("layers")
    assert told.returncode == 0, told.stderr
    assert "no compartment can make a socket" in " ".join(told.stdout.split())
    found = json.loads(device("layers", "--json").stdout)
    assert {entry["layer"] for entry in found} >= {"Landlock", "seccomp", "bubblewrap"}
    assert all(entry["meaning"] for entry in found)


def test_a_folder_without_enrolment_is_refused(tmp_path: Path) -> None:
    done = device("run", "--folder", str(tmp_path), "--seconds", "1")
    assert done.returncode != 0
    assert "no finished enrolment" in done.stderr


@pytest.mark.slow
def test_an_enrolled_device_runs_against_its_hub(hub: Any, tmp_path: Path) -> None:
    folder = hub.enrolled("urn:dev:mac:0012210000000031")
    recording = tmp_path / "night.jsonl"
    second = {
        "waves": {str(wave.handle): [7] * wave.rate_hz for wave in models.MONITOR.waves},
        "values": {"1": 170, "3": 97},
    }
    head = {"asepsis-recording": 1, "waves": {"101": 500}}
    recording.write_text("\n".join(map(json.dumps, (head, second))), encoding="utf-8")
    arguments = ("run", "--folder", str(folder.path), "--seconds", "7", "--json", "--bedside")
    done = device(*arguments, "--recording", str(recording), keys="acknowledge\nnonsense\n")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    summary = events[-1]
    assert summary["event"] == "summary"
    assert summary["reachable"] is True
    assert summary["synchronised"] is True
    assert set(summary["starts"].values()) == {1}
    assert summary["alerts_acknowledged"] >= 1
    assert {"state": "ALARMING"}.items() <= next(
        event for event in events if event.get("state") == "ALARMING"
    ).items()
    assert summary["ticks"] > 40
    assert summary["skipped"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ventilator", "pump"])
def test_every_kind_of_device_runs_and_shows_each_clinical_state(hub: Any, kind: str) -> None:
    """Goal: standby, cleaning and maintenance are reached by keys and stand in signed batches."""
    number = {"ventilator": 32, "pump": 33}[kind]
    name = f"urn:dev:mac:00122100000000{number}"
    folder = hub.enrolled(name)
    keys = ("standby", "resume", "cleaning", "disconnected", "cleaning", "done", "maintenance",
            "normal")  # fmt: skip
    states: list[str] = []
    command = [sys.executable, "-c", RUN, "run", "--folder", str(folder.path), "--kind", kind,
               "--seconds", "30", "--json", "--bedside"]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        waiting = list(keys)
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "state":
                states.append(event["state"])
            if (event["compartment"], event["event"]) == ("vitals", "alive"):
                if not waiting:
                    process.terminate()
                    continue
                process.stdin.write(waiting.pop(0) + "\n")
                process.stdin.flush()
        process.stdin.close()
    assert process.returncode == 0
    expected = ["IN_USE", "STANDBY", "IN_USE", "IDLE", "CLEANING", "IDLE", "MAINTENANCE", "IN_USE"]
    assert states == expected, "cleaning while a patient is attached does nothing"
    hub.pull()
    signed = {decode_batch(body).clinical_state.name for *_, body in hub.of(name, "vitals", "late")}
    assert signed == set(expected)
