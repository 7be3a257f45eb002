"""Destinations, how far they are, dead letters, instances that archives accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "destinations",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("address", sa.String(length=300), nullable=False),
        sa.Column("options", sa.LargeBinary(), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_destinations"),
    )
    op.create_table(
        "delivery_lines",
        sa.Column("destination", sa.String(length=32), nullable=False),
        sa.Column("ahead", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("destination", name="pk_delivery_lines"),
    )
    op.create_table(
        "delivered_instances",
        sa.Column("destination", sa.String(length=32), nullable=False),
        sa.Column("instance", sa.String(length=64), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("destination", "instance", name="pk_delivered_instances"),
    )
    _create_letters()


def _create_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("destination", sa.String(length=32), nullable=False),
        sa.Column("item_key", sa.String(length=60), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("route", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("stops", sa.Integer(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("message_type", sa.String(length=20), nullable=False),
        sa.Column("patient", sa.LargeBinary(), nullable=False),
        sa.Column("control_id", sa.LargeBinary(), nullable=False),
        sa.Column("code", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dead_letters"),
    )
    for column in ("destination", "state", "patient", "control_id"):
        op.create_index(f"ix_dead_letters_{column}", "dead_letters", [column])
    op.create_index(
        "uq_dead_letters_destination_item_key",
        "dead_letters",
        ["destination", "item_key"],
        unique=True,
    )
