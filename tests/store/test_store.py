"""One writer at a time, sealed columns and clear errors, on both engines."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, select, text, update
from sqlalchemy.exc import StatementError

from asepsis.core.errors import (
    ConfigError,
    Conflict,
    SignatureInvalid,
    Unavailable,
)
from asepsis.hub.store import engine as engine_module
from asepsis.hub.store.engine import translate
from asepsis.hub.store.store import Store, next_number
from asepsis.hub.store.tables import counters, leases, outbox

LEASE = {"name": "t", "holder": "a", "token": 1, "expires_at_ns": 1}


def test_a_unit_of_work_is_all_or_nothing(store: Store) -> None:
    def fail() -> None:
        with store.unit_of_work() as connection:
            connection.execute(insert(leases).values(**LEASE))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.reading() as connection:
        assert connection.execute(select(leases)).all() == []


def test_what_contradicts_the_stored_is_a_conflict(store: Store) -> None:
    def twice() -> None:
        with store.unit_of_work() as connection:
            connection.execute(insert(leases).values(**LEASE))
            connection.execute(insert(leases).values(**LEASE))

    with pytest.raises(Conflict):
        twice()


def test_numbers_have_no_holes_and_no_twins(open_store: Callable[[], Store], store: Store) -> None:
    """Goal: eight writers of two hubs, every third rolls back; the numbers stay dense."""
    stores = [store, open_store()]

    def take(turn: int) -> int | None:
        with suppress(ZeroDivisionError), stores[turn % 2].unit_of_work() as connection:
            return next_number(connection, "c") // (turn % 3 and 1)
        return None

    with ThreadPoolExecutor(8) as threads:
        taken = [n for n in threads.map(take, range(60)) if n is not None]
    assert sorted(taken) == list(range(1, 41))


def test_a_reader_sees_one_moment_and_waits_for_nobody(store: Store) -> None:
    with store.reading() as reader:
        assert reader.execute(select(counters)).all() == []
        with store.unit_of_work() as writer:
            next_number(writer, "c")
        assert reader.execute(select(counters)).all() == []
    with store.reading() as reader:
        assert len(reader.execute(select(counters)).all()) == 1


def test_a_reader_cannot_write_by_mistake_on_postgresql(store: Store, url: str) -> None:
    if url.startswith("sqlite"):
        return  # SQLite has no such mode a transaction.

    def write() -> None:
        with store.reading() as connection:
            next_number(connection, "c")

    with pytest.raises(Unavailable):
        write()


def test_a_busy_store_says_so(
    store: Store, open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "LOCK_WAIT_MS", 200)
    monkeypatch.setattr(
        engine_module,
        "_SQLITE_SETTINGS",
        (*engine_module._SQLITE_SETTINGS, "PRAGMA busy_timeout = 200"),  # noqa: SLF001
    )
    second = open_store()

    def write() -> None:
        with second.unit_of_work() as connection:
            next_number(connection, "c")

    with store.unit_of_work(), pytest.raises(Unavailable):
        write()
    write()


def test_sealed_columns_hold_no_clear_text(store: Store) -> None:
    row = {"id": 1, "topic": "t", "version": 1, "body": b"CANARY^JANE"}
    with store.unit_of_work() as connection:
        connection.execute(insert(outbox).values(**row))
    with store.reading() as connection:
        raw = connection.execute(text("SELECT body FROM outbox")).scalar_one()
        assert b"CANARY" not in bytes(raw)
        assert connection.execute(select(outbox.c.body)).scalar_one() == b"CANARY^JANE"


def test_a_sealed_value_opens_in_its_own_column_only(store: Store) -> None:
    foreign = store.sealer.seal_value("other.column", b"x")
    with store.unit_of_work() as connection:
        connection.execute(insert(outbox).values(id=1, topic="t", version=1, body=b"x"))
        connection.execute(text("UPDATE outbox SET body = :b"), {"b": foreign})

    def read() -> None:
        with store.reading() as connection:
            connection.execute(select(outbox.c.body)).scalar_one()

    with pytest.raises(SignatureInvalid):
        read()


def test_without_a_key_a_sealed_column_is_neither_written_nor_read(store: Store, url: str) -> None:
    """Goal: a tool that opens the database by itself cannot store clear text by mistake."""
    bare = create_engine(url)
    row = {"id": 1, "topic": "t", "version": 1, "body": b"x"}
    with store.unit_of_work() as connection:
        connection.execute(insert(outbox).values(**row))
    with bare.connect() as connection:
        with pytest.raises(StatementError, match="no key is bound") as caught:
            connection.execute(insert(outbox).values(**(row | {"id": 2})))
        assert isinstance(translate(caught.value), ConfigError)
        with pytest.raises(ConfigError):
            connection.execute(select(outbox.c.body)).all()
    bare.dispose()


def test_sqlite_is_as_durable_as_promised(store: Store, url: str) -> None:
    if not url.startswith("sqlite"):
        return
    with store.engine.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": engine_module.LOCK_WAIT_MS,
    }


def test_async_work_runs_in_the_stores_own_threads(store: Store) -> None:
    async def many() -> list[int]:
        return await asyncio.gather(
            *(store.write(lambda c: next_number(c, "c")) for _ in range(20))
        )

    assert sorted(asyncio.run(many())) == list(range(1, 21))
    assert asyncio.run(store.read(lambda c: c.execute(select(counters.c.value)).scalar())) == 20


@pytest.mark.parametrize(
    "bad", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "nonsense", "sqlite:////nowhere/x.db"]
)
def test_urls_that_are_no_store(bad: str, store: Store) -> None:
    with pytest.raises(ConfigError):
        Store(bad, store.sealer, store.clock)


def test_a_database_that_is_gone_is_unavailable(store: Store, tmp_path: Path) -> None:
    missing = Store(f"postgresql+psycopg://x@/x?host={tmp_path}", store.sealer, store.clock)

    def read() -> None:
        with missing.reading():
            pass

    with pytest.raises(Unavailable):
        read()
    missing.close()


def test_a_file_that_is_no_database_is_unavailable(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path).execute("SELECT 1 FROM sqlite_master")
    broken = Store(f"sqlite:///{path}", store.sealer, store.clock)

    def write() -> None:
        with broken.unit_of_work():
            pass

    with pytest.raises(Unavailable):
        write()
    broken.close()


def test_a_value_of_the_wrong_size_is_the_senders_fault(store: Store, url: str) -> None:
    if url.startswith("sqlite"):
        return  # SQLite takes any length; the interfaces bound it before.

    def write() -> None:
        with store.unit_of_work() as connection:
            connection.execute(insert(leases).values(**LEASE))
            connection.execute(update(leases).values(holder="x" * 61))

    with pytest.raises(engine_module.InputError):
        write()
