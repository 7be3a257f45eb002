"""The tables of one journal file, and how it is opened.

Bodies are sealed before they come here; names, numbers and hashes stand in clear. Every lane has
a table of its own, appended at its end, so that live lanes and expiry touch different pages.
"""

import os
import sqlite3
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.journal.rules import Gap
from asepsis.core.model.lanes import Lane

VERSION: Final = 1
WRITER_PRAGMAS: tuple[str, ...] = (
    # FULL syncs the write-ahead log at every commit: the promise behind each acknowledgement.
    "PRAGMA synchronous=FULL",
    # Checkpoints are the writer's business, at moments of its own choice.
    "PRAGMA wal_autocheckpoint=0",
    "PRAGMA cache_size=-32768",
)
COMMON_PRAGMAS: tuple[str, ...] = (
    # Nothing of a record may reach a temporary file.
    "PRAGMA temp_store=MEMORY",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
)
PAGE_BYTES: Final = 4096
_WAIT_S: Final = 0.25
"""How long a checkpoint that wants the log to itself waits for readers; writers are alone."""
_GAP: Final = struct.Struct(">QQB32s32s")
_NONE: Final = bytes(32)

_TABLES: Final = """
CREATE TABLE account (
  id INTEGER PRIMARY KEY, account TEXT NOT NULL, producer TEXT NOT NULL, epoch INTEGER NOT NULL,
  highest INTEGER NOT NULL, digest BLOB, gaps BLOB NOT NULL, UNIQUE (account, producer, epoch));
CREATE TABLE stream (
  lane TEXT PRIMARY KEY, last INTEGER NOT NULL, records INTEGER NOT NULL, bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE day (
  lane TEXT NOT NULL, day INTEGER NOT NULL, records INTEGER NOT NULL, PRIMARY KEY (lane, day)
) WITHOUT ROWID;
CREATE TABLE cursor (
  consumer TEXT NOT NULL, lane TEXT NOT NULL, position INTEGER NOT NULL,
  mandatory INTEGER NOT NULL, PRIMARY KEY (consumer, lane)) WITHOUT ROWID;
"""
_LANE_TABLE: Final = """
CREATE TABLE {table} (
  position INTEGER PRIMARY KEY, account INTEGER NOT NULL, sequence INTEGER NOT NULL,
  received_at_ns INTEGER NOT NULL, kind TEXT NOT NULL, digest BLOB, previous BLOB,
  body BLOB NOT NULL);
CREATE INDEX {table}_chain ON {table} (account, sequence) WHERE digest IS NOT NULL;
INSERT INTO stream VALUES ('{lane}', 0, 0, 0);
"""


def table_of(lane: Lane) -> str:
    """Return the table of a lane; a name from our own enum, safe inside SQL."""
    return f"lane_{lane.value.replace('-', '_')}"


def open_writer(path: Path, lanes: Iterable[Lane]) -> sqlite3.Connection:
    """Open a file for its one writer and make what is missing.

    Raises:
        ConfigError: Not a journal file of this version.
        sqlite3.Error: The file cannot be opened or written.
    """
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=_WAIT_S
    )
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        # Lets a file that has filled its disk shrink again after expiry, in small steps.
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        _demand_wal(connection, path)
        for pragma in (*COMMON_PRAGMAS, *WRITER_PRAGMAS):
            connection.execute(pragma)
        _migrate(connection, path, lanes)
    except BaseException:
        connection.close()
        raise
    sync_folder(path.parent)
    return connection


def open_checkpointer(path: Path) -> sqlite3.Connection:
    """Open a file beside its writer, to copy its log and never to write records."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=_WAIT_S
    )
    for pragma in (*COMMON_PRAGMAS, *WRITER_PRAGMAS):
        connection.execute(pragma)
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a file for reading only."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    for pragma in (*COMMON_PRAGMAS, "PRAGMA query_only=ON", "PRAGMA cache_size=-2048"):
        connection.execute(pragma)
    return connection


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pack_gaps(gaps: Iterable[Gap]) -> bytes:
    """Return gaps as stored."""
    return b"".join(
        _GAP.pack(
            gap.first,
            gap.last,
            (gap.before is not None) | (gap.after is not None) << 1,
            gap.before or _NONE,
            gap.after or _NONE,
        )
        for gap in gaps
    )


def unpack_gaps(packed: bytes) -> tuple[Gap, ...]:
    """Return stored gaps as values."""
    return tuple(
        Gap(first, last, before if known & 1 else None, after if known & 2 else None)
        for first, last, known, before, after in _GAP.iter_unpack(packed)
    )


def _demand_wal(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise ConfigError(f"{path}: the file system does not allow a write-ahead log")


def _migrate(connection: sqlite3.Connection, path: Path, lanes: Iterable[Lane]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in {0, VERSION}:
        raise ConfigError(f"{path}: journal format {version}, this program knows {VERSION}")
    connection.execute("BEGIN IMMEDIATE")
    if version == 0:
        _run(connection, _TABLES)
    present = {lane for (lane,) in connection.execute("SELECT lane FROM stream")}
    for lane in lanes:
        if lane.value not in present:
            _run(connection, _LANE_TABLE.format(table=table_of(lane), lane=lane.value))
    if version != VERSION:
        connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def _run(connection: sqlite3.Connection, script: str) -> None:
    # Not executescript(): it would commit the open transaction first.
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement)
