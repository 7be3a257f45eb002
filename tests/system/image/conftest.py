"""Builds the monitor's image once for all tests of this folder, whichever worker comes first."""

import datetime as dt
import fcntl
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asepsis.tools.imagebuild import rootfs, uki
from asepsis.tools.imagebuild.build import CMDLINE, KEYS, REPORT, ROOT, SIGNED, UKI, build_image
from asepsis.tools.imagebuild.secureboot import SecureBootKeys

RECIPE = Path(__file__).parents[3] / "images/monitor"
EPOCH = 1_760_000_000


def build(out: Path, keys: Path | None = None) -> dict[str, Any]:
    """Build the image of the monitor from nothing."""
    now = dt.datetime.fromtimestamp(time.time(), dt.UTC)
    return build_image(RECIPE, out, epoch=EPOCH, keys=keys, now=now, progress=lambda _: None)


@pytest.fixture(scope="session")
def rebuild(image: Path) -> Callable[[Path], dict[str, Any]]:
    """Return what builds the image of the monitor once more, for the same keys."""
    return lambda out: build(out, image / KEYS)


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


@pytest.fixture(scope="session")
def spoilt_next(
    image: Path, report: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a newer image, properly signed, whose root was spoilt on the disk."""
    folder = tmp_path_factory.mktemp("next")
    said = report["root"]
    own = rootfs.Root(
        path=image / ROOT, hash=said["verity"], salt=said["salt"], blocks=said["blocks"]
    )
    root = folder / ROOT
    shutil.copyfile(image / ROOT, root)
    with root.open("r+b") as file:
        file.truncate(said["blocks"] * rootfs.BLOCK)
    other = rootfs.add_tree(root, salt="0b" * 32)
    with root.open("r+b") as file:
        file.seek(8)
        file.write(b"\0\0\0\0")
    arguments = (image / CMDLINE).read_text("ascii").replace(own.argument, other.argument)
    parts = uki.sections((image / UKI).read_bytes())
    files = {name: folder / name[1:] for name in (".osrel", ".cmdline", ".linux", ".initrd")}
    for name, path in files.items():
        path.write_bytes(arguments.encode("ascii") if name == ".cmdline" else parts[name][1])
    uki.make_uki(folder / UKI, files, epoch=EPOCH)
    keys = SecureBootKeys(image / KEYS)
    uki.sign(
        folder / UKI, key=keys.key("db"), certificate=keys.certificate("db"), target=folder / SIGNED
    )
    return folder
