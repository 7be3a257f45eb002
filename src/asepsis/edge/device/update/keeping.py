"""What the verifier keeps: trusted metadata and checked artefacts."""

import contextlib
import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from asepsis.core.errors import ContentMismatch, Unavailable
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.library import TargetFile
from asepsis.core.trust.sealing import sync_folder, write_durably

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
            _check(self.place(target), target)
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
        place = self.place(target)
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

    def make(self, content: bytes, target: TargetFile) -> None:
        """Keep an artefact that was made here, read it back and check it.

        Raises:
            ContentMismatch: Not what was signed; nothing was kept.
            Unavailable: The disk takes no more.
        """
        place = self.place(target)
        partial = place.with_name(place.name + ".partial")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _check(partial, target)
            partial.replace(place)
            sync_folder(self.folder)
        except OSError as error:
            raise Unavailable(f"the artefact cannot be kept: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)

    def by_hash(self) -> dict[str, Path]:
        """Return every artefact by the SHA-256 of its bytes, which are read for that."""
        found: dict[str, Path] = {}
        for path in self._whole():
            with contextlib.suppress(OSError), path.open("rb") as file:
                found[hashlib.file_digest(file, "sha256").hexdigest()] = path
        return found

    def tidy(self, wanted: Collection[Path], *, others_max: int) -> None:
        """Remove what nobody wants any more but the newest few.

        Args:
            wanted: Stay.
            others_max: How many others stay.
        """
        with contextlib.suppress(OSError):  # What cannot be removed is in nobody's way.
            others = [path for path in self._whole() if path not in wanted]
            others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
            for path in others[others_max:]:
                path.unlink()

    def _whole(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.suffix != ".partial"]

    def place(self, target: TargetFile) -> Path:
        """Return where an artefact is kept."""
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
