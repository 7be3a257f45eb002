"""The two journeys of `asepsis demo`: nothing is lost, and a loss would be noticed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(240)]
ASEPSIS = Path(sys.executable).with_name("asepsis")


def demo(*options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [ASEPSIS, "demo", "--seconds", "8", "--headless", "--json", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    return done.returncode, json.loads(done.stdout)


def test_nothing_acknowledged_is_lost_over_a_killed_hub() -> None:
    code, summary = demo()
    assert summary["failures"] == []
    assert (summary["lost"], summary["duplicated"], summary["foreign"]) == (0, 0, 0)
    assert summary["late"] > 0, "the outage was long enough to be felt"
    assert summary["acknowledged"] == summary["received"] > 10 * 8
    assert summary["alarm_ms"] is not None
    assert summary["revoked_ms"] is not None
    assert code == 0


def test_a_record_dropped_on_purpose_is_seen_as_lost() -> None:
    code, summary = demo("--drop-one")
    assert summary["lost"] == 1
    assert code == 1
