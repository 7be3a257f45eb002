"""The name of a kernel image on the loader's partition, and what it says of its tries. Pure.

`monitor_2+3.efi` is on trial and may be tried three times; the loader renames it to
`monitor_2+2-1.efi` before it starts it, and takes an older one once nothing is left.

Source: UAPI.1 boot loader specification, "Boot counting"; systemd-boot(7).
"""

import re
from dataclasses import dataclass
from typing import Final

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
