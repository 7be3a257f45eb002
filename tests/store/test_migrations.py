"""The migrations make exactly the tables that the code declares."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

import asepsis.hub.access.tables
import asepsis.hub.audit.tables
import asepsis.hub.delivery.tables
import asepsis.hub.fleet.campaigns.tables
import asepsis.hub.fleet.ddi.tables
import asepsis.hub.fleet.releases.tables
import asepsis.hub.imaging.tables
import asepsis.hub.registry.associations.tables
import asepsis.hub.registry.attestation.tables
import asepsis.hub.registry.compliance.tables
import asepsis.hub.registry.tables
import asepsis.hub.store.tables
from asepsis.core.errors import ConfigError
from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.migrate import check_current, migrate
from asepsis.hub.store.store import Store


def test_migrations_equal_metadata(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_every_tables_module_is_compared() -> None:
    """Goal: a table that this test forgot would be a table without a migration."""
    hub = Path(asepsis.hub.store.tables.__file__).parents[1]
    found = {path.parent.name for path in hub.glob("*/tables.py")}
    loaded = {name.split(".")[2] for name in sys.modules if name.endswith(".tables")}
    assert found <= loaded


def test_columns_that_hold_free_text_are_sealed_in_the_dump(store: Store) -> None:
    types = {c["name"]: c["type"] for c in inspect(store.engine).get_columns("audit_entries")}
    assert str(types["detail"]) in {"BLOB", "BYTEA"}


def test_two_hubs_that_start_at_once_migrate_once(open_store: Callable[[], Store]) -> None:
    stores = [open_store() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, stores))
    check_current(stores[0])
    migrate(stores[0])


def test_a_database_without_schema_is_named(open_store: Callable[[], Store]) -> None:
    with pytest.raises(ConfigError, match=r"not \d{4}"):
        check_current(open_store())


def test_a_database_of_a_newer_program_is_refused(store: Store) -> None:
    with store.unit_of_work() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="newer"):
        migrate(store)
    with pytest.raises(ConfigError, match="9999"):
        check_current(store)


def test_a_failed_migration_leaves_nothing(
    open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the schema changes wholly or not at all, on both engines."""
    store = open_store()
    monkeypatch.setattr("alembic.op.create_index", lambda *_a, **_k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        migrate(store)
    assert inspect(store.engine).get_table_names() == []


def test_importing_the_store_imports_no_web_framework() -> None:
    code = (
        "import sys, asepsis.hub.store.relay, asepsis.hub.store.migrate;"
        "assert not {'litestar', 'uvicorn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
