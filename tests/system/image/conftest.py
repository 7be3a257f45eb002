"""Builds the monitor's image once for all tests of this folder, whichever worker comes first."""

import datetime as dt
import fcntl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asepsis.tools.imagebuild.build import REPORT, build_image

RECIPE = Path(__file__).parents[3] / "images/monitor"
EPOCH = 1_760_000_000


def build(out: Path) -> dict[str, Any]:
    """Build the image of the monitor from nothing."""
    now = dt.datetime.fromtimestamp(time.time(), dt.UTC)
    return build_image(RECIPE, out, epoch=EPOCH, keys=None, now=now, progress=lambda _: None)


@pytest.fixture(scope="session")
def rebuild() -> Callable[[Path], dict[str, Any]]:
    """Return what builds the image of the monitor once more."""
    return build


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder of a built image."""
    base = tmp_path_factory.getbasetemp()
    # Each worker has a folder of its own below the one that they share.
    shared = base if worker_id == "master" else base.parent
    out = shared / "monitor-image"
    with (shared / "monitor-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / REPORT).exists():
            build(out)
    return out


@pytest.fixture(scope="session")
def report(image: Path) -> dict[str, Any]:
    """Return what the build said of the image."""
    return msgspec.json.decode((image / REPORT).read_bytes(), type=dict[str, Any])
