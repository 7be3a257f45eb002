"""Opens the SQLite files of the record for their one writer."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError

BUSY_S: Final = 10.0
"""How long an opening or a statement waits for another connection's lock, seconds."""


def open_writer(
    path: Path, *, schema: str, version: int, pragmas: Sequence[str] = ()
) -> sqlite3.Connection:
    """Open a file and make its tables if it is new; only its owner may read it.

    Args:
        path: The file; made if absent.
        schema: One statement a line.
        version: Format that this program knows, from 1.
        pragmas: Further ones, such as `page_size=8192`, set before the file has a page.

    Raises:
        ConfigError: Not a file of this version.
        sqlite3.Error: It cannot be opened or written.
        OSError: It cannot be made.
    """
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_S
    )
    # The position that says "done" is written after a block, so each must be durable first.
    for pragma in (
        *pragmas,
        "journal_mode=WAL",
        "synchronous=FULL",
        "temp_store=MEMORY",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in {0, version}:
        connection.close()
        raise ConfigError(f"{path}: format {found} of the record, this program knows {version}")
    if found == 0:
        connection.execute("BEGIN IMMEDIATE")
        for statement in schema.strip().split("\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={version}")
        connection.execute("COMMIT")
    return connection
