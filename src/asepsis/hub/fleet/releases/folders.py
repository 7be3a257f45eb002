"""Where a vendor's repository lies on the hub: what came in, what is trusted, what is served.

    VENDOR/incoming/    what a person brought; nobody has checked it
    VENDOR/trusted/     metadata that this hub verified last, its root pinned by a person
    VENDOR/served/      what devices fetch: metadata/, metadata/documents/, targets/MODEL/
    VENDOR/files/       bills of materials, VEX and decisions, by their SHA-256

Hubs that share one state share this folder as well.
"""

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from asepsis.core.errors import (
    BackPressure,
    ContentMismatch,
    InputError,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from asepsis.core.trust.sealing import sync_folder, write_durably

AREAS: Final = {
    "metadata": 5_000_000,
    "documents": 262_144,
    "files": 32 << 20,
    "targets": 4 << 30,
}
"""What is brought, and the longest file of each, bytes."""
RESERVE_BYTES: Final = 1 << 30
"""Disk space that releases leave to everything else."""
PART_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"(?:[a-z0-9][a-z0-9.-]{0,63}/)?[0-9A-Za-z%][0-9A-Za-z.+_~%-]{0,250}")
_VENDOR: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


@dataclass(frozen=True, slots=True)
class VendorFolder:
    """The folder of one vendor.

    Attributes:
        path: Where.
    """

    path: Path

    @classmethod
    def of(cls, base: Path, vendor: str) -> "VendorFolder":
        """Return the folder of a vendor.

        Raises:
            InputError: Not a vendor's name.
        """
        if not _VENDOR.fullmatch(vendor) or ".." in vendor:
            raise InputError("not a vendor's name", hint="lower case, digits, . and -")
        return cls(base / vendor)

    @property
    def incoming(self) -> Path:
        """Where a person brings files."""
        return self.path / "incoming"

    @property
    def trusted(self) -> Path:
        """Where the metadata of the last verification is."""
        return self.path / "trusted"

    @property
    def served(self) -> Path:
        """Where devices are served from."""
        return self.path / "served"

    def make(self) -> None:
        """Make the folders.

        Raises:
            Unavailable: The disk takes no more.
        """
        try:
            for area in AREAS:
                (self.incoming / area).mkdir(mode=0o700, parents=True, exist_ok=True)
            for place in (
                self.trusted,
                self.served / "metadata" / "documents",
                self.path / "files",
            ):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"a vendor's folder is not made: {error.strerror}") from error

    async def bring(self, area: str, name: str, pieces: AsyncIterator[bytes]) -> int:
        """Store what a person brings; returns its length.

        Raises:
            InputError: No such area, or a name that is none.
            LimitExceeded: Longer than the area takes.
            BackPressure: The disk is full.
            Unavailable: The disk fails.
        """
        place = checked(self.incoming / _area(area), name)
        size = 0
        try:
            place.parent.mkdir(mode=0o700, exist_ok=True)
            partial = place.with_name(f"{secrets.token_hex(8)}.partial")
            try:
                with partial.open("xb") as out:
                    async for piece in pieces:
                        size += len(piece)
                        if size > AREAS[area]:
                            raise LimitExceeded(f"a file of {area} is over {AREAS[area]} bytes")
                        await asyncio.to_thread(self._put, out, piece)
                partial.replace(place)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"nothing can be stored: {error.strerror}") from error
        return size

    def lacks(self, area: str, name: str) -> bool:
        """Say whether a file was not brought yet."""
        return not checked(self.incoming / _area(area), name).exists()

    def serve(self, place: str, content: bytes) -> None:
        """Show a small file to devices, whole.

        Raises:
            Unavailable: The disk takes no more.
        """
        try:
            write_durably(self.served / place, content)
        except OSError as error:
            raise Unavailable(f"nothing can be stored: {error.strerror}") from error

    def take(self, source: Path, place: Path, *, sha256: str, length: int) -> None:
        """Move a file that was brought to its place, once its copy has the right hash.

        Raises:
            NotFound: It was not brought.
            ContentMismatch: Another length or hash.
            Unavailable: The disk fails.
        """
        if place.exists():
            return
        partial = place.with_name(f"{place.name}.partial")
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with source.open("rb") as came, partial.open("wb") as out:
                _copy(came, out, sha256=sha256, length=length)
            partial.replace(place)
            sync_folder(place.parent)
            source.unlink()
        except FileNotFoundError as error:
            raise NotFound(f"{source.name} was not brought") from error
        except OSError as error:
            raise Unavailable(f"nothing can be stored: {error.strerror}") from error

    def _put(self, out: IO[bytes], piece: bytes) -> None:
        state = os.statvfs(self.path)
        if state.f_bavail * state.f_frsize < RESERVE_BYTES + len(piece):
            raise BackPressure("no room for releases")
        out.write(piece)


@dataclass(frozen=True, slots=True)
class Trusted:
    """A store of a TUF session, and everything that it wrote this time.

    Attributes:
        folder: Where trusted metadata is kept.
        written: Name -> content, in the order of writing.
    """

    folder: Path
    written: dict[str, bytes]

    def read(self, name: str) -> bytes | None:
        """Return a file, or None."""
        return _read(self.folder / name, AREAS["metadata"])

    def write(self, name: str, content: bytes) -> None:
        """Make a file durable.

        Raises:
            Unavailable: The disk takes no more.
        """
        try:
            write_durably(self.folder / name, content)
        except OSError as error:
            raise Unavailable(f"metadata cannot be kept: {error.strerror}") from error
        self.written[name] = content


@dataclass(frozen=True, slots=True)
class Brought:
    """A source of a TUF session: what a person brought.

    Attributes:
        folder: Of the metadata.
        given: Name -> content of everything that was asked for.
    """

    folder: Path
    given: dict[str, bytes]

    def metadata(self, name: str, *, bytes_max: int) -> bytes:
        """Return a file.

        Raises:
            NotFound: It was not brought.
            LimitExceeded: It is longer than `bytes_max`.
        """
        content = _read(checked(self.folder, name), bytes_max + 1)
        if content is None:
            raise NotFound(f"{name} was not brought")
        if len(content) > bytes_max:
            raise LimitExceeded(f"{name} is over {bytes_max} bytes")
        self.given[name] = content
        return content


def checked(folder: Path, name: str) -> Path:
    """Return the path of a file that somebody names.

    Raises:
        InputError: Not the name of a file of a repository.
    """
    if not _NAME.fullmatch(name) or name.endswith(".partial"):
        raise InputError("not a name of a file in a repository")
    return folder / name


def _area(area: str) -> str:
    if area not in AREAS:
        raise InputError("no such part of a repository", hint=", ".join(AREAS))
    return area


def _read(path: Path, bytes_max: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(bytes_max)
    except OSError:
        return None


def _copy(came: IO[bytes], out: IO[bytes], *, sha256: str, length: int) -> None:
    hashed, size = hashlib.sha256(), 0
    while piece := came.read(min(PART_BYTES, length - size + 1)):
        size += len(piece)
        if size > length:
            break
        hashed.update(piece)
        out.write(piece)
    if size != length or hashed.hexdigest() != sha256:
        raise ContentMismatch("a file is another one than the signed one")
    out.flush()
    os.fsync(out.fileno())
