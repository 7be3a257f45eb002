"""Below which release a component never goes again; the device's own memory of it."""

import json
from pathlib import Path
from typing import Final, cast

from asepsis.core.errors import TrustError, Unavailable
from asepsis.edge.sandbox.supervision_disk import Disk, FolderDisk

FLOORS: Final = "floors.json"
ASIDE: Final = "floors.json.new"
COMPONENTS_MAX: Final = 256
BYTES_MAX: Final = 65_536


class Floors:
    """Below which release a component never goes again.

    Args:
        place: Where the file is, a folder or a disk; the device made it at its first start.
    """

    def __init__(self, place: Path | Disk) -> None:
        self._disk = FolderDisk(place) if isinstance(place, Path) else place

    def create(self) -> None:
        """Begin without floors, once.

        Raises:
            Unavailable: The disk takes no more.
        """
        try:
            found = self._disk.read(FLOORS, BYTES_MAX)
        except OSError as error:
            raise Unavailable(f"floors cannot be read: {error.strerror}") from error
        if found is None:
            self._write({})

    def of(self, component: str) -> int:
        """Return a component's floor, 0 if it has none yet.

        Raises:
            TrustError: The file is gone or not readable: nothing is installed then.
        """
        return self._read().get(component, 0)

    def verified(self, component: str, floor: int) -> None:
        """Raise a component's floor after a release was verified; it never sinks.

        Raises:
            TrustError: The file is gone or not readable.
            Unavailable: The disk takes no more; the old floor stands.
        """
        floors = self._read()
        if floor > floors.get(component, 0):
            self._write({**floors, component: floor})

    def _read(self) -> dict[str, int]:
        try:
            found: object = json.loads(self._disk.read(FLOORS, BYTES_MAX) or b"")
        except (OSError, ValueError, RecursionError) as error:
            raise TrustError("the floors of this device are not readable") from error
        if not isinstance(found, dict) or len(cast("dict[str, object]", found)) > COMPONENTS_MAX:
            raise TrustError("the floors of this device are not readable")
        floors = cast("dict[str, object]", found)
        if any(type(floor) is not int or floor < 0 for floor in floors.values()):
            raise TrustError("the floors of this device are not readable")
        return cast("dict[str, int]", floors)

    def _write(self, floors: dict[str, int]) -> None:
        try:
            self._disk.write(ASIDE, json.dumps(floors, sort_keys=True).encode())
            self._disk.flush(ASIDE)
            self._disk.rename(ASIDE, FLOORS)
            self._disk.flush_names()
        except OSError as error:
            raise Unavailable(f"floors cannot be kept: {error.strerror}") from error
