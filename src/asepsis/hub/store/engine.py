"""From a URL to an engine, and from a connection to a transaction with the same rules on both.

SQLite and PostgreSQL keep one promise: *one writer at a time*. SQLite does so by itself
(`BEGIN IMMEDIATE`); on PostgreSQL each writing transaction takes one advisory lock first. State
changes are rare (a hub's hot path is its journal), and in return counters have no holes, the audit
log has one order and no two transactions can deadlock.
"""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    IntegrityError,
    SQLAlchemyError,
    StatementError,
)

from asepsis.core.errors import AsepsisError, ConfigError, Conflict, InputError, Unavailable

LOCK_WAIT_MS: Final = 5_000
"""Longest wait for the other writer before the request fails and may be tried again."""
STATEMENT_MS_MAX: Final = 30_000
"""Longest statement on PostgreSQL; a forgotten one must not hold the writers' lock."""
CONNECTIONS_MAX: Final = 4
"""Connections, and threads, of one hub; SQLite has one writer anyhow."""
WRITERS_LOCK: Final = 0x41534550
"""Key of the advisory lock, "ASEP"; one a database."""

_SQLITE_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {LOCK_WAIT_MS}",
    "PRAGMA secure_delete = ON",
    # Sorting must not spill patient data into a file in /tmp.
    "PRAGMA temp_store = MEMORY",
)


def open_engine(url: str) -> Engine:
    """Open the engine for `sqlite:///<path>` or `postgresql+psycopg://...`.

    Raises:
        ConfigError: Another engine, an in-memory database or a URL that does not parse.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError("state.url is not a database URL") from error
    if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return _sqlite(parsed)
    if parsed.drivername == "postgresql+psycopg":
        return _postgresql(parsed)
    raise ConfigError(
        f"state.url names {parsed.drivername}",
        hint="use sqlite:///<file> or postgresql+psycopg://<user>@<host>/<database>",
    )


def begin(connection: Connection, *, read_only: bool) -> None:
    """Start the transaction in the database: a consistent view, or the only writer."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN DEFERRED" if read_only else "BEGIN IMMEDIATE")
    elif read_only:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})")


def translate(error: SQLAlchemyError) -> AsepsisError:
    """Return the house's error for a library's: what should the caller do now?"""
    if isinstance(error, StatementError) and isinstance(error.orig, AsepsisError):
        return error.orig  # A column type of ours refused the value.
    if isinstance(error, IntegrityError):
        return Conflict("the change contradicts what is stored")
    if isinstance(error, DataError):
        return InputError("a value does not fit its column")
    # Locked, unreachable, full, timed out - or a bug of ours, which the cause names.
    return Unavailable("the state store does not answer")


def _sqlite(url: URL) -> Engine:
    if not Path(url.database or "").parent.is_dir():
        raise ConfigError(f"the folder of {url.database} does not exist")
    engine = create_engine(
        url,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        # The driver starts no transactions of its own: `begin` does.
        connect_args={"isolation_level": None, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    for setting in _SQLITE_SETTINGS:
        connection.execute(setting).close()


def _postgresql(url: URL) -> Engine:
    options = (
        f"-c lock_timeout={LOCK_WAIT_MS} -c statement_timeout={STATEMENT_MS_MAX}"
        f" -c idle_in_transaction_session_timeout={STATEMENT_MS_MAX} -c synchronous_commit=on"
    )
    return create_engine(
        url,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=LOCK_WAIT_MS / 1000,
        pool_pre_ping=True,
        connect_args={"options": options, "connect_timeout": 5},
    )
