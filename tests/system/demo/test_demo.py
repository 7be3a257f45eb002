"""The two journeys of `asepsis demo`: nothing is lost, and a loss would be noticed."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from asepsis.tools.attack.payload import SUCCEEDED
from asepsis.tools.simulator import break_in, cast
from asepsis.tools.simulator.intruder import FORGERIES
from asepsis.tools.simulator.story import Story
from asepsis.tools.simulator.summary import UNRENEWED_S_MAX

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(240)]
BLOCK_MS = 100
ASEPSIS = Path(sys.executable).with_name("asepsis")
CARRIED = {"fork", "writable_code", "user_namespace", "any_socket"}
"""What only the filter of system calls stops."""


def test_a_ward_is_cut_off_attacked_and_loses_nothing() -> None:
    done = subprocess.run(
        [ASEPSIS, "demo", "--seconds", "7", "--headless", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
        stdin=subprocess.DEVNULL,
    )
    summary = json.loads(done.stdout)
    assert summary["failures"] == []
    assert (summary["lost"], summary["duplicated"], summary["foreign"]) == (0, 0, 0)
    assert 0 < summary["acknowledged"] <= summary["received"] <= summary["made"]
    assert summary["late"] > 0, "the outage was long enough to be felt"
    assert summary["messages"] > len(cast.PATIENTS), "legacy devices were heard"
    assert summary["live_s"] < 30
    assert summary["move_s"] is not None
    assert summary["alarm_ms"] is not None
    assert summary["silent"] == len(cast.PLAYERS)
    assert summary["blank_s"] < 10
    assert summary["ended_shown_s"] == 0
    assert summary["unrenewed_s_max"] <= UNRENEWED_S_MAX
    assert summary["crash_s"] is not None
    assert summary["attacks"] == len(break_in.CHOSEN) + len(FORGERIES)
    assert summary["attacks_succeeded"] == []
    assert set(summary["attacks_without_seccomp"]) <= CARRIED
    assert "any_socket" in summary["attacks_without_seccomp"], "it is the real thing"
    attempts = summary["attempts"]
    assert [one["name"] for one in attempts] == list(break_in.CHOSEN)
    assert not [one["name"] for one in attempts if one["every"] == SUCCEEDED]
    assert all(one["gap_ms"] >= BLOCK_MS / 2 for one in attempts), "the waveform was watched"
    assert summary["waveform_gap_ms"] >= max(one["gap_ms"] for one in attempts)
    assert summary["forgery_ms"] is not None
    assert summary["revoked_ms"] is not None
    assert done.returncode == 0, done.stderr


def test_a_record_dropped_on_purpose_is_seen_as_lost() -> None:
    # Not pytest's own folder: users of the hub and of compartments must be able to pass.
    with tempfile.TemporaryDirectory(prefix="asepsis-demo-") as folder:
        Path(folder).chmod(0o755)
        summary = Story(
            Path(folder), seconds=3, tell=lambda _headline, _sentence: None, drop=1, acts=()
        ).play()
    assert summary.failures == []
    assert summary.lost == 1
    assert summary.bad
