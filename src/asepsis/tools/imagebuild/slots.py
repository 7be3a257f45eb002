"""Two images on one device: the partition that the firmware starts from, with boot counting.

The boot loader is systemd-boot, signed with the device's own key. The name of a kernel image
carries how often it may still be tried: `monitor_2+3.efi` is on trial, three times; the loader
renames it to `monitor_2+2-1.efi` before it starts it, and takes an older one once nothing is left.
Process 1 takes the counter off the name once every compartment lives (`edge.device.boot_slot`).

Source: UAPI.1 boot loader specification, "Boot counting"; systemd-boot(7).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.tools.imagebuild.programs import run

LOADER: Final = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
TRIES_MAX: Final = 9
_SIZE_MIB: Final = 96
"""Room for two kernel images, and for a third while it is being written."""
_SETTINGS: Final = "timeout 0\neditor no\nauto-firmware no\n"
_ENTRY: Final = re.compile(r"([a-z0-9-]{1,40})_([1-9][0-9]{0,8})(?:\+([0-9]+)(?:-([0-9]+))?)?\.efi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One kernel image on the partition.

    Attributes:
        name: Of the image.
        number: The higher, the newer.
        left: How often it may still be tried; None for one that is known to work.
        done: How often it was tried in vain.
    """

    name: str
    number: int
    left: int | None = None
    done: int = 0

    @property
    def file(self) -> str:
        """Its file name."""
        counter = "" if self.left is None else f"+{self.left}"
        counter += f"-{self.done}" if self.left is not None and self.done else ""
        return f"{self.name}_{self.number}{counter}.efi"

    @property
    def works(self) -> bool:
        """Whether it is known to work."""
        return self.left is None

    @property
    def given_up(self) -> bool:
        """Whether every try was in vain."""
        return self.left == 0


def read_slot(file: str) -> Slot | None:
    """Return what the name of a kernel image says; None for another file."""
    found = _ENTRY.fullmatch(file)
    if found is None:
        return None
    left = int(found[3]) if found[3] is not None else None
    return Slot(name=found[1], number=int(found[2]), left=left, done=int(found[4] or 0))


def make_partition(target: Path, *, loader: Path, images: Sequence[tuple[Slot, Path]]) -> None:
    """Write a FAT file system with the boot loader and kernel images.

    Args:
        target: File to write.
        loader: systemd-boot, signed.
        images: Slots with their signed kernel images.

    Raises:
        ConfigError: mtools is not installed, or a number of tries is out of range.
        Unavailable: A program failed, for example for want of room.
    """
    for slot, _ in images:
        if slot.left is not None and not 1 <= slot.left <= TRIES_MAX:
            raise ConfigError(f"tries must be from 1 to {TRIES_MAX}")
    with target.open("wb") as file:
        file.truncate(_SIZE_MIB << 20)
    run(("mformat", "-i", target, "-F", "-v", "ASEPSIS", "-N", "0", "::"))
    run(("mmd", "-i", target, "::/EFI", "::/EFI/BOOT", "::/EFI/Linux", "::/loader"))
    run(("mcopy", "-i", target, loader, "::/EFI/BOOT/BOOTX64.EFI"))
    run(("mcopy", "-i", target, "-", "::/loader/loader.conf"), stdin=_SETTINGS.encode("ascii"))
    for slot, path in images:
        run(("mcopy", "-i", target, path, f"::/EFI/Linux/{slot.file}"))


def read_partition(partition: Path) -> list[Slot]:
    """Return the slots on a partition, the newest first.

    Raises:
        ConfigError: mtools is not installed.
        Unavailable: It is no such file system.
    """
    said = run(("mdir", "-b", "-i", partition, "::/EFI/Linux"))
    found = (read_slot(line.strip().rpartition("/")[2].lower()) for line in said.splitlines())
    return sorted((slot for slot in found if slot), key=lambda slot: -slot.number)
