"""Where the code of a compartment's versions lies, and which version is the confirmed one.

A version is a folder `releases/COMPARTMENT/VERSION/asepsis` in the device's folder with the parts
that a compartment sees. Whoever puts it there has verified it; nothing here can.
"""

import contextlib
from pathlib import Path
from typing import Final

from asepsis.core.errors import FramingError, InputError, NotFound, TransientError
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.supervision_disk import FolderDisk
from asepsis.edge.sandbox.supervision_parts import Tell
from asepsis.edge.sandbox.supervision_state import (
    SHIPPED,
    Confirmed,
    StateStore,
    require_version,
)

RELEASES: Final = "releases"
SUPERVISOR: Final = "supervisor"
LISTED_MAX: Final = 64
"""Versions of a compartment that are looked at for a list."""
_PARTS: Final = ("__init__.py", "core", "edge")


class Versions:
    """The versions of one device's compartments.

    Args:
        folder: The device's folder.
        tell: Told where the state is damaged or a version is gone; the shipped one runs then.
    """

    def __init__(self, folder: Path, *, tell: Tell) -> None:
        self._folder = folder
        self._tell = tell
        self._store = StateStore(FolderDisk(folder))
        try:
            self._confirmed = self._store.load()
        except (FramingError, TransientError) as error:
            tell(SUPERVISOR, "state-damaged", {"code": error.code, "text": str(error)})
            self._confirmed = Confirmed()

    def confirmed(self, compartment: str) -> str:
        """Return the version that a compartment starts with: confirmed, and still there."""
        version = self._confirmed.version(compartment)
        try:
            self.package(compartment, version)
        except NotFound as error:
            self._tell(compartment, "version-missing", {"version": version, "text": str(error)})
            return SHIPPED
        return version

    def previous(self, compartment: str) -> str:
        """Return the version that was confirmed before the confirmed one.

        Raises:
            NotFound: There was none.
        """
        found = self._confirmed.previous.get(compartment)
        if found is None:
            raise NotFound(f"{compartment} has run no other version before")
        return found

    def here(self, compartment: str) -> list[str]:
        """Return the versions of a compartment that could be started, the shipped one first."""
        try:
            names = sorted(path.name for path in (self._folder / RELEASES / compartment).iterdir())
        except OSError:
            names = []
        found = [SHIPPED]
        for name in names[:LISTED_MAX]:
            with contextlib.suppress(InputError):  # NotFound too: something else lies there.
                if self.package(compartment, name):
                    found.append(name)
        return found

    def package(self, compartment: str, version: str) -> Path | None:
        """Return the package that a version runs; None for the shipped one.

        Raises:
            InputError: No version has such a name.
            NotFound: There is no such version of this compartment.
        """
        require_version(version)
        if version == SHIPPED:
            return None
        package = self._folder / RELEASES / compartment / version / bubblewrap.code().package.name
        try:
            if all((package / part).exists() for part in _PARTS):
                return package
        except OSError as error:
            raise NotFound(f"{compartment} {version} cannot be read: {error.strerror}") from error
        raise NotFound(
            f"there is no version {version} of {compartment}", hint=f"it belongs in {package}"
        )

    def confirm(self, compartment: str, version: str) -> None:
        """Make a version the confirmed one, durably.

        Raises:
            TransientError: The disk refuses; the old one stays confirmed.
        """
        state = self._confirmed.confirm(compartment, version)
        self._store.save(state)
        self._confirmed = state
