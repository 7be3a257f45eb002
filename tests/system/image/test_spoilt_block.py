"""One block of the root goes bad under a running device: one compartment is lost, the patient not.

dm-verity answers the read with EIO. The block holds the library of the database, which only the
network compartment loads.
"""

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from asepsis.tools.attack.enrolled import HOST, enrolled
from asepsis.tools.imagebuild.boot import Seen, Trial, boot
from asepsis.tools.imagebuild.build import ROOT
from asepsis.tools.imagebuild.rootfs import BLOCK

pytestmark = [pytest.mark.slow, pytest.mark.waits, pytest.mark.root, pytest.mark.timeout(420)]
LIBRARY = "usr/lib/x86_64-linux-gnu/libsqlite3.so.0"
LIMIT_S = 240.0
_TABLES_AT = 64
"""Where the superblock of a squashfs says that the data ends and the tables begin."""


def content(root: Path, name: str) -> bytes:
    command = ["unsquashfs", "-cat", str(root), name]
    return subprocess.run(command, check=False, capture_output=True).stdout


def first_block(root: Path, name: str) -> int:
    """Return the first block of a file: by overwriting ever less of the data in front of it."""
    whole, good = root.read_bytes(), content(root, name)
    assert good.startswith(b"\x7fELF")
    low, high = 1, struct.unpack_from("<Q", whole, _TABLES_AT)[0] // BLOCK
    while high - low > 1:
        middle = (low + high) // 2
        root.write_bytes(whole[:BLOCK] + bytes((middle - 1) * BLOCK) + whole[middle * BLOCK :])
        low, high = (middle, high) if content(root, name) == good else (low, middle)
    root.write_bytes(whole)
    return low


def of(seen: Seen, compartment: str, what: str) -> list[int]:
    events = enumerate(seen.events)
    wanted = (compartment, what)
    return [n for n, e in events if (e.get("compartment"), e.get("what")) == wanted]


def test_a_block_that_cannot_be_read_costs_one_compartment_and_not_vitals(
    image: Path, report: dict[str, Any], tmp_path: Path, record_property: Any
) -> None:
    """Goal: it is told as lost, no layer is dropped, and vitals measures as if nothing were."""
    loading = [n for n, of_it in report["imports"].items() if "_sqlite3" in of_it["modules"]]
    assert loading == ["network"]
    spoilt = tmp_path / ROOT
    shutil.copyfile(image / ROOT, spoilt)
    # The next block too begins in this file, and belongs to no other.
    block = first_block(spoilt, LIBRARY) + 1
    with spoilt.open("r+b") as file:
        file.seek(block * BLOCK)
        file.write(bytes(64))
    device = enrolled(tmp_path / "device").path
    identity = device / "identity.json"
    identity.write_text(identity.read_text("utf-8").replace(HOST, "localhost"), "utf-8")

    def done(seen: Seen) -> bool:
        lost = of(seen, "network", "compartment-lost")
        return bool(lost) and of(seen, "vitals", "alive")[-1:] > lost

    trial = Trial(image=image, device=device, root=spoilt, limit_s=LIMIT_S)
    seen = boot(trial, until=done, tell=lambda _: None)
    assert done(seen), seen.console[-20:]
    layers = seen.first("layers")
    assert layers
    assert layers["missing"] == []
    for what in ("ended", "hung", "failed", "compartment-lost"):
        assert not of(seen, "vitals", what)
        assert not of(seen, "origin", what)
    assert not of(seen, "network", "alive")
    alive = [seen.events[n]["details"]["ticks"] for n in of(seen, "vitals", "alive")]
    assert alive[-1] > alive[0]
    # The kernel says that it was this block.
    record_property("wall_to_lost_s", round(seen.events[-1]["uptime_s"], 1))
