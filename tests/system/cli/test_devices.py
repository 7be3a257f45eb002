"""`asepsis devices` against a real hub."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from asepsis.core.trust.identity import Profile
from hospital import Hospital, device_name

DEVICES = 130  # More than one page.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    hospital = Hospital(tmp_path_factory.mktemp("cli"))
    hospital.enlist([(device_name(n), Profile.DEVICE) for n in range(DEVICES)], signing=False)
    hub = hospital.start_hub()
    yield hospital.data
    hub.stop()


def run(data: Path, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asepsis.cli.main", "devices", *arguments, "--data", str(data)]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        input=answer,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
    )


def test_every_device_is_listed_with_its_state(data: Path) -> None:
    done = run(data, "list", "--json")
    assert done.returncode == 0, done.stderr
    assert [d["name"] for d in json.loads(done.stdout)] == [device_name(n) for n in range(DEVICES)]
    table = run(data, "list").stdout
    assert table.count("enrolled") == DEVICES
    assert table.count(" UTC") == DEVICES


def test_one_device_is_shown_and_an_unknown_one_is_not(data: Path) -> None:
    shown = run(data, "show", device_name(1), "--json")
    assert json.loads(shown.stdout)["name"] == device_name(1)
    assert device_name(1) in run(data, "show", device_name(1)).stdout
    unknown = run(data, "show", device_name(DEVICES + 1))
    assert unknown.returncode == 1
    assert "ASP-1" in unknown.stderr


def test_revoking_asks_and_then_does_it(data: Path) -> None:
    name = device_name(2)
    refused = run(data, "revoke", name, "--reason", "test", answer="yes\n")
    assert refused.returncode == 1
    assert "nothing was changed" in refused.stdout
    assert json.loads(run(data, "show", name, "--json").stdout)["revoked_at_ns"] is None
    done = run(data, "revoke", name, "--reason", "test", answer="revoke\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(run(data, "show", name, "--json").stdout)["revoked_at_ns"] > 0
    assert run(data, "list").stdout.count("revoked") == 1
    at_once = run(data, "revoke", device_name(3), "--reason", "test", "--yes", "--json")
    assert json.loads(at_once.stdout)["done"] is True
