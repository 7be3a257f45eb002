"""Has the update agent's own code put an image beside the running one, on real block devices."""

import contextlib
from collections.abc import Generator
from pathlib import Path

from asepsis.edge.device.boot_entry import Slot
from asepsis.edge.device.update.image_slots import KERNEL, ROOT, ImageSlots
from asepsis.tools.imagebuild.build import ROOT as BUILT_ROOT
from asepsis.tools.imagebuild.build import SIGNED
from asepsis.tools.imagebuild.programs import run
from asepsis.tools.testing.boot_loader import BootLoader

NAME = "monitor"
ROOM = 8 << 20
"""A place for a root is larger than the root."""


@contextlib.contextmanager
def looped(path: Path, *, held: bool) -> Generator[Path]:
    """Yield a block device over a file; where it is held, its file system is mounted.

    Args:
        path: The file.
        held: Whether the kernel shall refuse it to others, as dm-verity makes it.
    """
    device, place = run(("losetup", "-f", "--show", path)).strip(), path.with_suffix(".mounted")
    try:
        if held:
            place.mkdir()
            run(("mount", "-o", "ro", "-t", "squashfs", device, place))
        yield Path(device)
    finally:
        if held:
            run(("umount", place))
        run(("losetup", "-d", device))


def installed(
    image: Path, newer: Path, place: Path, *, tries: int
) -> tuple[tuple[Slot, Path], ...]:
    """Install a newer image beside a running one; returns every slot with the folder of its files.

    Args:
        image: The running one, as built.
        newer: The newer one, as built.
        place: New folder.
        tries: How often the loader may try it.
    """
    linux, variables, release = (place / name for name in ("EFI/Linux", "variables", "release"))
    for folder in (linux, variables, release):
        folder.mkdir(parents=True)
    running = Slot(name=NAME, number=1)
    (linux / running.file).write_bytes((image / SIGNED).read_bytes())
    (release / ROOT).write_bytes((newer / BUILT_ROOT).read_bytes())
    (release / KERNEL).write_bytes((newer / SIGNED).read_bytes())
    roots = place / "a.img", place / "b.img"
    roots[0].write_bytes((image / BUILT_ROOT).read_bytes())
    with roots[1].open("wb") as file:
        file.truncate((newer / BUILT_ROOT).stat().st_size + ROOM)
    BootLoader(place, variables).start()
    with looped(roots[0], held=True) as one, looped(roots[1], held=False) as other:
        slots = ImageSlots(name=NAME, partition=place, roots=(one, other), variables=variables)
        for _ in slots.install(release):
            """Each portion is a step of the agent."""
        slots.offer(2, tries=tries)
        found = slots.entries()
    if roots[0].read_bytes() != (image / BUILT_ROOT).read_bytes():
        raise AssertionError("the running root was written")
    made: list[tuple[Slot, Path]] = []
    for slot in found:
        folder = place / f"slot-{slot.number}"
        folder.mkdir()
        (linux / slot.file).rename(folder / SIGNED)
        roots[slot.number - 1].rename(folder / BUILT_ROOT)
        made.append((slot, folder))
    return tuple(made)
