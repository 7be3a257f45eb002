"""The clocks of the hub and of the gateway jump by an hour, forwards and back."""

import os
import time
from pathlib import Path

import pytest
from small_ward import LEGACY, NEW, PLAYERS, running

from asepsis.tools.simulator.stage import Setting

PRELOAD = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.waits,
    pytest.mark.timeout(300),
    pytest.mark.skipif(PRELOAD is None, reason="package libfaketime is not installed"),
]
JUMPS = (("hub", "+3600"), ("gateway", "+3600"), ("hub", "+0"), ("gateway", "+0"))
"""An hour forwards, and an hour back."""
HOLD_S = 7.5
"""Longer than any value stands without renewal."""


def steerable(offset: Path) -> dict[str, str]:
    """Return an environment whose wall clock follows a file; the monotonic clock stays true."""
    offset.write_text("+0\n")
    offset.chmod(0o644)
    return {
        **os.environ,
        "LD_PRELOAD": str(PRELOAD),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def test_a_jump_of_a_clock_loses_nothing_and_freezes_nothing(folder: Path) -> None:
    """Goal: what is of the present is told by other means than a wall clock that may lie."""
    offsets = {name: folder / f"{name}.offset" for name in ("hub", "gateway")}
    environments = {name: steerable(offset) for name, offset in offsets.items()}
    with running(folder, Setting(players=PLAYERS, environments=environments)) as ward:
        for whose, jump in JUMPS:
            offsets[whose].write_text(f"{jump}\n")
            time.sleep(HOLD_S)
            assert ward.view.live(NEW.name), f"not live after {whose} {jump}"
            ward.until_acknowledged(LEGACY, 2)
        ward.until_live(timeout_s=20)
        ward.conclude()
