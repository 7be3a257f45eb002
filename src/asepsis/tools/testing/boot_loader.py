"""What systemd-boot does with counted images, on a folder: for tests without a firmware.

Source: UAPI.1 boot loader specification, "Boot counting"; systemd Boot Loader Interface.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from asepsis.edge.device.boot_entry import Slot, read_slot

_VENDOR: Final = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_ATTRIBUTES: Final = b"\x06\0\0\0"


@dataclass(frozen=True, slots=True)
class BootLoader:
    """A loader and the firmware's variables that it writes.

    Attributes:
        partition: Mounted loader's partition.
        variables: Folder of the firmware's variables.
    """

    partition: Path
    variables: Path

    def start(self) -> Path:
        """Choose an image, count the try, say what was chosen; returns the file that is started."""
        folder = self.partition / "EFI/Linux"
        found = [slot for path in folder.iterdir() if (slot := read_slot(path.name))]
        chosen = min(found, key=lambda slot: (slot.given_up, -slot.number))
        self._say("LoaderEntrySelected", chosen.file)
        if not chosen.left:
            self._say("LoaderBootCountPath", "")
            return folder / chosen.file
        counted = replace(chosen, left=chosen.left - 1, done=chosen.done + 1)
        (folder / chosen.file).rename(folder / counted.file)
        self._say("LoaderBootCountPath", f"\\EFI\\Linux\\{counted.file}")
        return folder / counted.file

    def entries(self) -> list[Slot]:
        """Return what is on the partition, by number."""
        names = (path.name for path in (self.partition / "EFI/Linux").iterdir())
        return sorted((s for n in names if (s := read_slot(n))), key=lambda slot: slot.number)

    def _say(self, name: str, text: str) -> None:
        path = self.variables / f"{name}-{_VENDOR}"
        if text:
            path.write_bytes(_ATTRIBUTES + (text + "\0").encode("utf-16-le"))
        else:
            path.unlink(missing_ok=True)
