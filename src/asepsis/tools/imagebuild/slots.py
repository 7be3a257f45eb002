"""Two images on one device: the partition that the firmware starts from, with boot counting.

The boot loader is systemd-boot, signed with the device's own key. The name of a kernel image
carries how often it may still be tried: `monitor_2+3.efi` is on trial, three times; the loader
renames it to `monitor_2+2-1.efi` before it starts it, and takes an older one once nothing is left.
Process 1 takes the counter off the name once every compartment lives (`edge.device.boot_slot`).

Source: UAPI.1 boot loader specification, "Boot counting"; systemd-boot(7).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.edge.device.boot_entry import Slot, read_slot
from asepsis.tools.imagebuild.programs import run

LOADER: Final = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
TRIES_MAX: Final = 9
_SIZE_MIB: Final = 96
"""Room for two kernel images, and for a third while it is being written."""
_SETTINGS: Final = "timeout 0\neditor no\nauto-firmware no\n"


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
