"""What the verifier keeps: trusted metadata, checked artefacts, and the floors of components."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from asepsis.core.errors import ContentMismatch, TrustError, Unavailable
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.library import TargetFile
from asepsis.core.trust.sealing import sync_folder, write_durably

FLOORS: Final = "floors.json"
COMPONENTS_MAX: Final = 256
COPY_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FolderStore:
    """Trusted metadata of one repository, each file whole and durable.

    Attributes:
        folder: Where; nobody else writes there.
    """

    folder: Path

    def read(self, name: str) -> bytes | None:
        """Return a file, or None."""
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return None  # What cannot be read is fetched anew; without a root nothing is trusted.

    def write(self, name: str, content: bytes) -> None:
        """Make a file durable.

        Raises:
            Unavailable: The disk takes no more.
        """
        try:
            write_durably(self.folder / name, content)
        except OSError as error:
            raise Unavailable(f"metadata cannot be kept: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Artefacts:
    """Checked artefacts.

    Attributes:
        folder: Where; the fetcher cannot write there.
    """

    folder: Path

    def has(self, target: TargetFile) -> bool:
        """Return whether this very artefact is here; its bytes are read for that."""
        try:
            _check(self._place(target), target)
        except (OSError, ContentMismatch):
            return False
        return True

    def take(self, incoming: Path, target: TargetFile) -> Path:
        """Copy an artefact in, read the copy back and check it, and only then name it.

        The copy is checked, not what was fetched: the fetcher could still change that.

        Raises:
            ContentMismatch: Not what was signed; nothing was kept.
            Unavailable: The disk takes no more.
        """
        place = self._place(target)
        partial = place.with_name(place.name + ".partial")
        try:
            _copy(incoming, partial, bytes_max=target.length)
            _check(partial, target)
            partial.replace(place)
            sync_folder(self.folder)
        except OSError as error:
            raise Unavailable(f"the artefact cannot be kept: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)
        return place

    def _place(self, target: TargetFile) -> Path:
        return self.folder / quote(target.path, "")


def _copy(source: Path, copy: Path, *, bytes_max: int) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(reading, "rb") as fetched, copy.open("wb") as kept:
        came = 0
        while part := fetched.read(COPY_BYTES):
            came += len(part)
            if came > bytes_max:
                raise ContentMismatch("the artefact is longer than the signed length")
            kept.write(part)
        kept.flush()
        os.fsync(kept.fileno())


def _check(path: Path, target: TargetFile) -> None:
    with path.open("rb") as file, translated(f"artefact {target.path}"):
        target.verify_length_and_hashes(file)


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
