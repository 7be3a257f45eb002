"""The durability benchmark in short: kill -9, power cuts in a guest, and the control that loses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def run(*arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "durability.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_by_kill_or_power_cut() -> None:
    """Goal: 4 x kill -9 and 3 power cuts lose nothing; the same cut without sync loses records."""
    if shutil.which("linux.uml") is None:
        assert not os.environ.get("CI"), "CI must have user-mode-linux"
        pytest.skip("needs the package user-mode-linux")
    line = run("--kills", "4", "--cuts", "3")
    assert line["met"] is True
    assert line["value"] == 0
    assert isinstance(line["peer_value"], int)
    assert line["peer_value"] > 0
    assert isinstance(line["acknowledged"], int)
    assert line["acknowledged"] > 1000
