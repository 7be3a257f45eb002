"""What two people decide at a gateway while the hub cannot be asked; kept until the hub knows."""

import json
import os
from pathlib import Path
from typing import Any, Final, cast

from asepsis.core.errors import ConfigError

NAME: Final = "promoted.json"
CHARS_MAX: Final = 256
BYTES_MAX: Final = 4_096


def write(folder: Path, *, first: str, second: str, reason: str, at_ns: int) -> None:
    """Write a decision durably; the pair's process acts on it within a second.

    Raises:
        ConfigError: One person, an empty or long word, or the folder cannot be written.
    """
    words = {"first": first.strip(), "second": second.strip(), "reason": reason.strip()}
    if not all(0 < len(word) <= CHARS_MAX for word in words.values()):
        raise ConfigError(f"two names and a reason, each of 1 to {CHARS_MAX} characters")
    if words["first"].casefold() == words["second"].casefold():
        raise ConfigError("a second person must agree")
    aside = folder / f"{NAME}.new"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(json.dumps(words | {"at_ns": at_ns}).encode())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(folder / NAME)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from error


def read(folder: Path) -> dict[str, Any] | None:
    """Return the decision that the hub does not know yet; None without one."""
    try:
        with (folder / NAME).open("rb") as file:
            found: object = json.loads(file.read(BYTES_MAX))
    except (OSError, ValueError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def settle(folder: Path) -> None:
    """Forget it: the hub knows, or the other gateway lives."""
    (folder / NAME).unlink(missing_ok=True)
