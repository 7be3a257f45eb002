"""Files of `asepsis threats`: models and their rules are read, reports are written."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from asepsis.analysis.threats.file import model_of
from asepsis.analysis.threats.library import read_rules, together
from asepsis.analysis.threats.reading import MODEL_BYTES_MAX, Text, read_text
from asepsis.analysis.threats.seeding import merged
from asepsis.analysis.threats.study import Study
from asepsis.core.errors import ConfigError, InputError


def read_study(path: Path, *, seconds: float = 60.0) -> tuple[Study, Text]:
    """Read a model with its rules; return what can be asked, and the text that knows lines.

    Raises:
        InputError: Not readable, or a mistake.
        LimitExceeded: Too large.
    """
    text = read_text_of(path)
    model = model_of(text)
    own = [
        rule
        for name in model.rules
        for rule in read_rules(read_bytes(path.parent / name), name=Path(name).name)
    ]
    return Study(model, rules=together(own), clock=time.monotonic, seconds_max=seconds), text


def read_text_of(path: Path) -> Text:
    """Read a model's text with that of the derived files it names; nothing is checked yet.

    Raises:
        InputError: Not readable.
        LimitExceeded: Too large.
    """
    own = read_text(read_bytes(path), name=path.name)
    names: object = own.content.get("derived") or []
    if not isinstance(names, list):
        raise own.error("derived", "is a list of files")
    files = [str(name) for name in cast("list[object]", names)]
    return merged(own, [read_text(read_bytes(path.parent / name), name=name) for name in files])


def read_bytes(path: Path) -> bytes:
    """Read a file, at most one byte more than a model may have.

    Raises:
        InputError: Not readable.
    """
    try:
        with path.open("rb") as file:
            return file.read(MODEL_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def write_report(path: Path, content: bytes) -> None:
    """Write a report over what was there.

    Raises:
        ConfigError: Not possible.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def moment() -> str:
    """Return now, RFC 3339 in UTC, to the second."""
    return f"{datetime.fromtimestamp(time.time(), UTC):%Y-%m-%dT%H:%M:%SZ}"


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a new or empty folder.

    Raises:
        ConfigError: It has something in it, or that is not possible.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise ConfigError(f"{path} is not empty", hint="name another folder")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    for name, content in files.items():
        write_report(path / name, content)
