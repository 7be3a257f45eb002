"""Below which release a component never goes again; the device's own memory of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from asepsis.core.errors import TrustError, Unavailable
from asepsis.core.trust.sealing import write_durably

FLOORS: Final = "floors.json"
COMPONENTS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Floors:
    """Below which release a component never goes again.

    Attributes:
        folder: Where the file is; the device made it at its first start.
    """

    folder: Path

    def create(self) -> None:
        """Begin without floors, once.

        Raises:
            Unavailable: The disk takes no more.
        """
        if not (self.folder / FLOORS).exists():
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
            found: object = json.loads((self.folder / FLOORS).read_bytes())
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
            write_durably(self.folder / FLOORS, json.dumps(floors, sort_keys=True).encode())
        except OSError as error:
            raise Unavailable(f"floors cannot be kept: {error.strerror}") from error
