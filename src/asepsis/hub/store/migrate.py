"""Brings a database to the schema of this program, in one transaction."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from asepsis.core.errors import ConfigError
from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.store import Store

SCRIPTS: Final = Path(__file__).with_name("migrations")


def migrate(store: Store) -> None:
    """Apply the migrations that are missing; two hubs that start at once apply them once.

    Raises:
        ConfigError: The database was made by a newer program.
        Unavailable: The database does not answer.
    """
    scripts = load_scripts()

    def missing(revision: Any, _context: MigrationContext) -> Any:
        # Alembic's own recipe for an upgrade without its command line.
        return scripts._upgrade_revs("head", revision)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    with store.unit_of_work() as connection:
        environment = EnvironmentContext(Config(), scripts, fn=missing)
        try:
            environment.configure(
                connection=connection,
                target_metadata=METADATA,
                # SQLite cannot alter a table: Alembic then copies it.
                render_as_batch=True,
            )
            with environment.begin_transaction():
                environment.run_migrations()
        except CommandError as error:
            raise ConfigError(
                "the database was made by a newer Asepsis", hint="install that version again"
            ) from error


@cache
def load_scripts() -> ScriptDirectory:
    """Return all migrations, read once: after giving up root their files may be out of reach."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    scripts.get_current_head()  # Alembic reads the files at the first question.
    return scripts


def check_current(store: Store) -> None:
    """Let the hub start on this database, or say what to do.

    Raises:
        ConfigError: The database is not at the schema of this program.
    """
    with store.reading() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        wanted = load_scripts().get_current_head()
    if found != wanted:
        raise ConfigError(
            f"the database is at {found}, not {wanted}", hint="run `asepsis hub init`"
        )
