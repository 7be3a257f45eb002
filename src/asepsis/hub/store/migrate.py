"""Brings a database to the schema of this program, in one transaction."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from asepsis.core.errors import ConfigError
from asepsis.hub.store.store import Store

SCRIPTS: Final = Path(__file__).with_name("migrations")


def migrate(store: Store) -> None:
    """Apply the migrations that are missing; two hubs that start at once apply them once.

    Raises:
        ConfigError: The database was made by a newer program.
        Unavailable: The database does not answer.
    """
    with store.unit_of_work() as connection:
        try:
            command.upgrade(_config(connection), "head")
        except CommandError as error:
            raise ConfigError(
                "the database was made by a newer Asepsis", hint="install that version again"
            ) from error


def check_current(store: Store) -> None:
    """Let the hub start on this database, or say what to do.

    Raises:
        ConfigError: The database is not at the schema of this program.
    """
    with store.reading() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        wanted = ScriptDirectory.from_config(_config(connection)).get_current_head()
    if found != wanted:
        raise ConfigError(
            f"the database is at {found}, not {wanted}", hint="run `asepsis hub init`"
        )


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
