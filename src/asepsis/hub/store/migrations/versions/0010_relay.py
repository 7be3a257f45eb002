"""Questions between gateways of imaging that are kept until they are answered."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "relay_questions",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("asker", sa.String(length=120), nullable=False),
        sa.Column("archive", sa.String(length=120), nullable=False),
        sa.Column("instance", sa.String(length=64), nullable=False),
        sa.Column("asked_ns", sa.BigInteger(), nullable=False),
        sa.Column("answered_ns", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_relay_questions"),
        sa.UniqueConstraint("id", name="uq_relay_questions_id"),
    )
