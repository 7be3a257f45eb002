"""The ward is a network namespace, and its cable is pulled: a real cut, that no process can see."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.waits, pytest.mark.timeout(150)]
PROGRAM = Path(__file__).with_name("cable.py")


def test_a_pulled_cable_loses_nothing_and_shows_nothing_stale(folder: Path) -> None:
    """Goal: blank within 10 s, "no data" at both, live soon after the return, nothing lost."""
    # A namespace around everything: nothing of this touches the machine's own network.
    command = ["unshare", "--net", sys.executable, str(PROGRAM), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=140)
    assert done.returncode == 0, done.stderr[-4_000:]
    found = json.loads(done.stdout)
    assert found["failures"] == []
    assert (found["lost"], found["duplicated"], found["foreign"]) == (0, 0, 0)
    assert found["blank_s"] < 10
    assert len(found["silent"]) == 2, "the hub says of both devices that there is no data"
    assert found["live_again_s"] < 5
    assert found["ended_shown_s"] == 0
    assert found["late"] > 0
    assert found["unrenewed_s_max"] < 6.5
    with contextlib.suppress(KeyError):
        assert found["acknowledged"] <= found["received"]
