"""Which kernel image of the device was started, whether it is on trial, and how it passes.

The boot loader names what it started in two variables of the firmware, and counts tries in the
file's name. An image passes its trial when every compartment that tests itself has said that it
lives; then its file loses the counter. One that does not pass in `TRIAL_S` is given up: the machine
restarts, and once nothing is left of its tries the loader takes the older one.

Source: UAPI.1 boot loader specification, "Boot counting"; systemd Boot Loader Interface.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Final

from asepsis.core.errors import ContentMismatch, Unavailable
from asepsis.core.model.manifest import Compartment

TRIAL_S: Final = 180.0
"""Longest time from the start to a passed trial, seconds."""
ALIVE: Final = "alive"
_VENDOR: Final = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_BYTES_MAX: Final = 1_024
_COUNTED: Final = re.compile(r"([a-z0-9-]{1,40}_[1-9][0-9]{0,8})\+[0-9]+(?:-[0-9]+)?\.efi")
_FOLDER: Final = PureWindowsPath("/EFI/Linux")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootSlot:
    """What was started.

    Attributes:
        entry: Name of the loader's entry; empty without a loader.
        counted: File on trial, as the loader named it when it started it; None for no trial.
    """

    entry: str = ""
    counted: str | None = None

    @property
    def passed(self) -> str:
        """The file's name without the counter.

        Raises:
            ContentMismatch: It is not on trial.
        """
        found = _COUNTED.fullmatch(self.counted or "")
        if found is None:
            raise ContentMismatch("this image is not on trial")
        return f"{found[1]}.efi"


def read_slot(variables: Path) -> BootSlot:
    """Read from the firmware's variables what was started.

    Args:
        variables: Where they are mounted; there may be none.

    Raises:
        ContentMismatch: The loader named a file in another folder, or of another form.
    """
    path = _variable(variables, "LoaderBootCountPath")
    entry = _variable(variables, "LoaderEntrySelected")
    if not path:
        return BootSlot(entry=entry)
    counted = PureWindowsPath(path)
    if counted.parent != _FOLDER or not _COUNTED.fullmatch(counted.name):
        raise ContentMismatch("the loader counts tries of a file in another place")
    return BootSlot(entry=entry, counted=counted.name)


def holds(partition: Path, slot: BootSlot) -> bool:
    """Return whether a mounted partition is the one that the image on trial came from."""
    return slot.counted is not None and (partition / "EFI/Linux" / slot.counted).is_file()


def confirm(partition: Path, slot: BootSlot) -> None:
    """Take the counter off the image's name, for good.

    Args:
        partition: Where the loader's partition is mounted.
        slot: What passed.

    Raises:
        ContentMismatch: It is not on trial.
        Unavailable: The partition cannot be written.
    """
    folder = partition / "EFI/Linux"
    try:
        (folder / str(slot.counted)).rename(folder / slot.passed)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"cannot confirm {slot.counted}: {error.strerror}") from error


class Examination:
    """Waits for every compartment that tests itself to live.

    Args:
        compartments: Of the device's manifest.
    """

    def __init__(self, compartments: Iterable[Compartment]) -> None:
        self._missing = {c.name for c in compartments if ALIVE in c.self_tests}

    def note(self, compartment: str, event: str) -> bool:
        """Take what the supervisor tells; returns whether this was the last that was missing."""
        if event != ALIVE or compartment not in self._missing:
            return False
        self._missing.remove(compartment)
        return not self._missing


def _variable(variables: Path, name: str) -> str:
    """Return a text of the loader: four bytes of attributes, then UTF-16 with a closing zero."""
    try:
        raw = (variables / f"{name}-{_VENDOR}").read_bytes()[4 : 4 + _BYTES_MAX]
    except OSError:
        return ""
    return raw.decode("utf-16-le", "replace").partition("\0")[0]
