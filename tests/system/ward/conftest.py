"""Fixtures: a folder that every user may pass through, and small disks."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def folder() -> Iterator[Path]:
    """As root, hub, signer and compartments are users of their own and must get through."""
    with tempfile.TemporaryDirectory(prefix="asepsis-ward-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Callable[[str, int], Path]]:
    """Return a function that makes a folder on a disk of so many megabytes."""
    with ExitStack() as stack:

        def make(name: str, mib: int) -> Path:
            place = folder / name
            place.mkdir()
            options = ["-o", f"size={mib}m,mode=0755"]
            subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", place], check=True)
            stack.callback(subprocess.run, ["umount", "-l", place], check=True)
            return place

        yield make
