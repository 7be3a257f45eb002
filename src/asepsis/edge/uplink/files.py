"""Small files that survive a power cut: written aside, flushed, then renamed over the old one."""

import json
import os
from pathlib import Path
from typing import Any, Final, cast

from asepsis.core.errors import TransientError

STATE_BYTES_MAX: Final = 65_536


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` by `data`; after a power cut either the old or the new content is there.

    Raises:
        TransientError: The file system refuses, for example a full disk; the old file stays.

    Source: POSIX.1-2017 rename(); the folder is flushed too, so that the name itself is durable.
    """
    aside = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise TransientError(f"cannot write {path.name}: {error.strerror}") from error


def read_state(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; an absent or damaged file is an empty state."""
    try:
        with path.open("rb") as file:
            state: object = json.loads(file.read(STATE_BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", state) if isinstance(state, dict) else {}
