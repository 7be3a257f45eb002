"""`asepsis ward` before a real hub: once, as lines, and over an outage."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from queue import Empty, Queue
from typing import Any

import pytest
from live_ward import LiveWard

from asepsis.core.model.alarm import AlarmPhase
from hospital import device_name

pytestmark = pytest.mark.slow
START_S = 20.0


def command(ward: LiveWard, person: str, *options: str) -> list[str]:
    """Return the command line of a person."""
    token = ward.folder / f"{person}.token"
    if not token.exists():
        ward.token_file(person)
    data = ["--data", str(ward.ward.hospital.data), "--token", str(token)]
    return [sys.executable, "-m", "asepsis.cli.main", "ward", *data, *options]


def once(ward: LiveWard, person: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(ward, person, "--once", *options),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"COLUMNS": "160", "PATH": "/usr/bin:/bin"},
    )


class Lines:
    """A running `asepsis ward --json` and what it has said."""

    def __init__(self, ward: LiveWard) -> None:
        self.process = subprocess.Popen(
            command(ward, "clara", "--json"), stdout=subprocess.PIPE, text=True
        )
        self._told: Queue[dict[str, Any]] = Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_for(self, event: str, *, seconds: float, **content: object) -> dict[str, Any]:
        """Return the next line of that event and content."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = self._told.get(timeout=max(0.01, deadline - time.monotonic()))
            except Empty:
                raise AssertionError(f"no {event} within {seconds} s") from None
            if found["event"] == event and content.items() <= found.items():
                return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._told.put(json.loads(line))


@pytest.fixture
def lines(ward: LiveWard) -> Iterator[Lines]:
    made = Lines(ward)
    yield made
    made.close()


def test_the_present_is_shown_once(ward: LiveWard) -> None:
    """Goal: values as the beds sent them, in words for people and as one object for scripts."""
    time.sleep(2.5)
    done = once(ward, "clara", "--json")
    assert done.returncode == 0, done.stderr
    devices = [d for bed in json.loads(done.stdout)["beds"] for d in bed["devices"]]
    assert {device["name"] for device in devices} == {device_name(n) for n in ward.beds}
    one = next(device for device in devices if device["name"] == device_name(1))
    assert one["connection"] == "live"
    assert one["assurance"] == "device-origin"
    values = {value["label"]: value["value"] for value in one["values"]}
    assert abs(float(values["HR"]) - float(ward.beds[1].values[1])) <= 2
    shown = once(ward, "clara").stdout
    assert "Information only. Bedside alarms apply." in shown
    assert re.search(r"HR \d", shown), "seconds later it may be another number"


def test_who_may_not_watch_is_told_so(ward: LiveWard) -> None:
    done = once(ward, "boss")
    assert done.returncode == 2
    assert "may not watch" in done.stderr
    missing = subprocess.run(
        [*command(ward, "clara", "--once")[:-2], "/nowhere", "--once"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert missing.returncode == 5


def test_scripts_are_told_values_alarms_and_blanks(ward: LiveWard, lines: Lines) -> None:
    lines.wait_for("live", seconds=START_S)
    told = lines.wait_for("values", seconds=4, device=device_name(1))
    assert {"HR", "SpO2", "ABP"} <= {value["label"] for value in told["values"]}
    condition = ward.beds[1].alarm(AlarmPhase.ONSET, "Heart rate above high limit")
    onset = lines.wait_for("alarm", seconds=3, phase="onset")
    assert (onset["priority"], onset["source"]) == ("high", "HR")
    ward.beds[1].alarm(AlarmPhase.END, "", condition=condition)
    assert lines.wait_for("alarm", seconds=3, phase="end")["id"] == onset["id"]
    ward.beds[1].withheld = {4}
    lines.wait_for("blank", seconds=9, device=device_name(1), handles=[4])
    ward.beds[1].withheld = set()


def test_conditions_of_a_silent_device_are_unknown(ward: LiveWard, lines: Lines) -> None:
    """Goal: neither as active nor gone, for scripts and on the screen; REQ-ALM-017."""
    lines.wait_for("live", seconds=START_S)
    bed = ward.beds[3]
    condition = bed.alarm(AlarmPhase.ONSET, "Heart rate above high limit")
    onset = lines.wait_for("alarm", seconds=3, device=bed.name)
    assert onset["unknown_since_ms"] is None
    bed.paused = True
    told = lines.wait_for("alarms", seconds=5, device=bed.name)
    found = {alarm["found_by"]: alarm["unknown_since_ms"] for alarm in told["active"]}
    assert found["hub"] is None
    assert abs(found["device"] / 1_000 - time.time()) < 5
    shown = " ".join(once(ward, "clara").stdout.split())
    assert "unknown since" in shown
    bed.paused = False
    bed.alarm(AlarmPhase.END, "Heart rate above high limit", condition=condition)
    told = lines.wait_for("alarms", seconds=5, device=bed.name)
    assert all(alarm["found_by"] == "hub" for alarm in told["active"])


@pytest.mark.alone
def test_an_outage_is_dark_and_what_ended_in_it_is_past(ward: LiveWard, lines: Lines) -> None:
    """Goal: dark with the moment, live after the return, and nothing ended told as active."""
    lines.wait_for("live", seconds=START_S)
    ward.kill()
    dark = lines.wait_for("dark", seconds=6)
    assert dark["since"].count(":") == 2
    ward.ward.start()
    lines.wait_for("live", seconds=3)
    told = lines.wait_for("values", seconds=4, device=device_name(2))
    assert all(value["value"] for value in told["values"])


def test_a_screen_is_drawn(ward: LiveWard) -> None:
    """Goal: the live screen starts, shows the notice, and ends at an interrupt."""
    ours, theirs = os.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40"}
    process = subprocess.Popen(command(ward, "clara"), stdout=theirs, env=environment)
    os.close(theirs)
    seen = b""
    try:
        deadline = time.monotonic() + START_S
        while b"SpO2" not in seen and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.5)[0]:
                seen += os.read(ours, 65_536)
        asked = 0.0
        while process.poll() is None:
            if time.monotonic() - asked > 2:  # A person, too, presses again.
                process.send_signal(signal.SIGINT)
                asked = time.monotonic()
            if select.select([ours], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    os.read(ours, 65_536)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert process.returncode == 130
    assert b"Bedside alarms apply" in seen
    assert b"SpO2" in seen
