"""Alembic's entry point; `migrate.py` passes the connection of its unit of work."""

from alembic import context

from asepsis.hub.store.metadata import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot alter a table: Alembic then copies it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
