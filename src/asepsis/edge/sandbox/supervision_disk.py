"""The few file operations by which a supervisor keeps what must survive a power cut.

They stand behind a port so that a disk that fails and forgets can take their place: every
operation is a place at which the power may go.

Source: POSIX.1-2017, rename(), fsync(); ext4(5), "delayed allocation".
"""

import contextlib
import os
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """Files of one folder, by name. All operations raise OSError as the system does."""

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """Return at most `bytes_max` bytes of a file; None where there is none."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Make a file with this content, or replace its content; not durable yet."""
        ...

    def flush(self, name: str) -> None:
        """Make the content of a file durable."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in the place of whatever had it; not durable yet."""
        ...

    def flush_names(self) -> None:
        """Make the names durable."""
        ...


class FolderDisk:
    """A folder of the real file system.

    Args:
        folder: Which; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """Return at most `bytes_max` bytes of a file; None where there is none."""
        with contextlib.suppress(FileNotFoundError), (self._folder / name).open("rb") as file:
            return file.read(bytes_max)
        return None

    def write(self, name: str, data: bytes) -> None:
        """Make a file with this content, or replace its content."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._folder / name, flags, 0o600), "wb") as file:
            file.write(data)

    def flush(self, name: str) -> None:
        """Make the content of a file durable."""
        self._flush(self._folder / name, os.O_RDONLY)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name."""
        (self._folder / old).rename(self._folder / new)

    def flush_names(self) -> None:
        """Make the names durable."""
        self._flush(self._folder, os.O_RDONLY | os.O_DIRECTORY)

    @staticmethod
    def _flush(path: Path, flags: int) -> None:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
