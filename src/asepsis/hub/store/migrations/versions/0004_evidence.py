"""What stands behind a declared device: somebody's claim, or its own connection."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; what was declared before is a claim."""
    op.add_column(
        "delegations",
        sa.Column("evidence", sa.String(length=10), nullable=False, server_default="claimed"),
    )
