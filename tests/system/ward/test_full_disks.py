"""The disk is full: at the hub it is back-pressure, at the gateway a withheld acknowledgement."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_ward import LEGACY, NEW, PLAYERS, running

from asepsis.tools.simulator.stage import Setting

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.waits, pytest.mark.timeout(150)]
FULL_S = 8.0


def fill(disk: Path) -> Path:
    """Write until nothing fits any more; return the file to remove."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        block = bytes(65_536)
        try:
            while file.write(block):
                pass
        except OSError:
            return ballast
    raise AssertionError("the disk never filled")


def test_a_full_disk_at_the_hub_is_back_pressure(
    folder: Path, small_disk: Callable[[str, int], Path]
) -> None:
    """Goal: what is not stored is kept by the device and shown by nobody; an alarm gets through."""
    disk = small_disk("disk", 64)
    with running(folder, Setting(players=PLAYERS, hub_folder=disk / "hub")) as ward:
        ballast = fill(disk)
        ward.until_blank(NEW.name, timeout_s=30)
        began_s = time.monotonic()
        ward.devices[NEW.key].command("tachycardia")
        ward.view.until(
            lambda: any(
                event["found_by"] == "device"
                for _, event in ward.view.history(NEW.name, since_s=began_s)
            ),
            "an alarm over a full disk",
            timeout_s=20,
        )
        time.sleep(FULL_S)
        ballast.unlink()
        ward.until_live(timeout_s=40)
        ward.conclude()
        assert ward.summary.late > 0


def test_a_full_disk_at_the_gateway_is_no_acknowledgement(
    folder: Path, small_disk: Callable[[str, int], Path]
) -> None:
    """Goal: what the gateway cannot keep it does not acknowledge; the sender has it still."""
    disk = small_disk("disk", 48)
    with running(folder, Setting(players=PLAYERS, gateway_folder=disk / "gateway")) as ward:
        ward.until_acknowledged(LEGACY, 3)
        ballast = fill(disk)
        ward.until_blank(LEGACY.name, timeout_s=30)
        before = ward.acknowledged(LEGACY)
        time.sleep(FULL_S)
        assert ward.acknowledged(LEGACY) == before
        assert ward.view.live(NEW.name), "a device beside it goes on"
        ballast.unlink()
        ward.until_acknowledged(LEGACY, int(FULL_S), timeout_s=40)
        ward.until_live(timeout_s=20)
        ward.conclude()
