"""Unpacks an artefact of a compartment: an uncompressed tar of plain files, and nothing else.

The bytes are what the vendor signed and both parties approved, and are read as a stranger's all
the same: no link, no device, no name that leaves the folder, nothing over a limit. What is there
at the end is whole and durable, or has another name.

Source: POSIX.1-2017, pax, "ustar Interchange Format".
"""

import hashlib
import io
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import IO, Final

from asepsis.core.errors import ContentMismatch, LimitExceeded, Unavailable
from asepsis.core.trust.sealing import sync_folder

FILES_MAX: Final = 8_192
FILE_BYTES_MAX: Final = 256 << 20
TREE_BYTES_MAX: Final = 1 << 30
DEPTH_MAX: Final = 16
PART_BYTES: Final = 1 << 20
_NOTHING: Final[Mapping[str, bytes]] = {}
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")


def unpack(archive: Path, into: Path, *, beside: Mapping[str, bytes] = _NOTHING) -> str:
    """Unpack an artefact into a folder of its own, in the place of what is there.

    Args:
        archive: The artefact.
        into: The folder; appears whole, by a rename.
        beside: More files, by name; an artefact that brings one of that name is refused.

    Returns:
        What `tree_digest` says of it.

    Raises:
        ContentMismatch: Not a tar of plain files with plain names.
        LimitExceeded: Too many, too large or too deep.
        Unavailable: The disk takes no more.
    """
    partial, aside = (into.with_name(into.name + end) for end in (".partial", ".old"))
    _remove(partial, aside)
    try:
        digest = _fill(partial, archive, beside)
        if into.exists():
            into.rename(aside)  # Removed in place, half of it would stand under its name.
        partial.rename(into)
        sync_folder(into.parent)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ContentMismatch("two files of the release have one name") from error
    except (tarfile.TarError, EOFError, UnicodeError, ValueError) as error:
        raise ContentMismatch("the artefact is not a tar of plain files") from error
    except OSError as error:
        raise Unavailable(f"the artefact cannot be unpacked: {error.strerror}") from error
    finally:
        _remove(partial, aside)
    return digest


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(partial: Path, archive: Path, beside: Mapping[str, bytes]) -> str:
    """Unpack into a new folder, durably; returns its digest."""
    partial.mkdir(parents=True)
    _extract(archive, partial)
    for name, content in beside.items():
        if (partial / name).exists():
            raise ContentMismatch(f"the artefact brings its own {name}")
        _write(io.BytesIO(content), partial / name)
    digest = tree_digest(partial)
    for folder in (*(path for path in partial.rglob("*") if path.is_dir()), partial):
        sync_folder(folder)
    return digest


def tree_digest(folder: Path) -> str:
    """Return the SHA-256 over names and contents of every file below a folder, hexadecimal.

    Raises:
        ContentMismatch: Something there is neither a plain file nor a folder.
        LimitExceeded: More than any release has.
        OSError: It cannot be read.
    """
    found = hashlib.sha256()
    for path in _files(folder):
        with _opened(path) as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        found.update(f"{content}  {path.relative_to(folder)}\n".encode())
    return found.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    paths = sorted(folder.rglob("*"))
    if len(paths) > 2 * FILES_MAX:
        raise LimitExceeded(f"a release has at most {FILES_MAX} files")
    for path in paths:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ContentMismatch("a release is made of plain files")
        if path.is_file():
            yield path


def _opened(path: Path) -> BufferedReader:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def _extract(archive: Path, into: Path) -> None:
    left = TREE_BYTES_MAX
    with tarfile.open(archive, "r:") as tar:
        for number, member in enumerate(tar):
            if number >= FILES_MAX:
                raise LimitExceeded(f"a release has at most {FILES_MAX} files")
            place = into.joinpath(*_parts(member))
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            left -= member.size
            if member.size > FILE_BYTES_MAX or left < 0:
                raise LimitExceeded("a file of the release, or all of it, is too large")
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise ContentMismatch("a release is made of plain files")
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(content, place)


def _parts(member: tarfile.TarInfo) -> tuple[str, ...]:
    parts = tuple(member.name.removeprefix("./").rstrip("/").split("/"))
    if len(parts) > DEPTH_MAX or not all(_NAME.fullmatch(part) for part in parts):
        if member.isdir() and parts == (".",):
            return ()
        raise ContentMismatch("a file of the release has a name that none has")
    return parts


def _write(content: IO[bytes], place: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(place, flags, 0o600), "wb") as file:
        while part := content.read(PART_BYTES):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
