"""Delegations name how often a device reports: its silence is judged by that."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; 0 is the default lease."""
    op.add_column(
        "delegations", sa.Column("period_s", sa.Integer(), nullable=False, server_default="0")
    )
