"""The hub is killed under new and legacy devices, a live view and a subscriber."""

import time
from pathlib import Path

import pytest
from small_ward import LEGACY, NEW, running

pytestmark = [pytest.mark.slow, pytest.mark.waits, pytest.mark.timeout(150)]
AWAY_S = 4.0


def test_a_hub_killed_twice_loses_nothing_and_shows_nothing_stale(folder: Path) -> None:
    """Goal: blank with the hub, legacy senders served meanwhile, a lasting alarm shown again."""
    with running(folder) as ward:
        ward.until_acknowledged(LEGACY, 3)
        ward.hub.kill()
        ward.until_blank(timeout_s=4.0)
        ward.until_acknowledged(LEGACY, 2)  # By the gateway's spool.
        ward.hub.start(timeout_s=60)
        ward.until_live(timeout_s=20)

        ward.devices[NEW.key].command("tachycardia")
        ward.view.until(lambda: ward.view.alarms(NEW.name), "the alarm", timeout_s=20)
        ward.hub.kill()
        time.sleep(AWAY_S)
        ward.hub.start(timeout_s=60)
        ward.until_live(timeout_s=20)
        ward.view.until(
            lambda: [e for e in ward.view.alarms(NEW.name) if e["found_by"] == "device"],
            "the alarm that lasts",
            timeout_s=20,
        )
        ward.conclude()
        assert ward.view.witness.breaks >= 2
        assert ward.summary.late > 0
