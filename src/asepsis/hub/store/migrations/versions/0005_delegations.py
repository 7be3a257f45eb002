"""Delegations name pair, interface, message types and network; gateways are named as sources."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
GRACE_NS = 90 * 86_400_000_000_000
"""What gateways brought before they had to be named for it goes on for 90 days."""


def upgrade() -> None:
    """Add columns and the table; gateways that exist stay sources until people were warned."""
    for column in (
        sa.Column("partner", sa.String(length=120), nullable=False, server_default=""),
        sa.Column("interface", sa.String(length=60), nullable=False, server_default=""),
        sa.Column("message_types", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("network", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("seen", sa.Text(), nullable=True),
        sa.Column("changed_at_ns", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("warned_at_ns", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("delegations", column)
    named = op.create_table(
        "gateway_sources",
        sa.Column("holder", sa.String(length=120), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("person", sa.String(length=120), nullable=False),
        sa.Column("declared_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("partner", sa.String(length=120), nullable=False, server_default=""),
        sa.Column("warned_at_ns", sa.BigInteger(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("holder", "kind", name="pk_gateway_sources"),
    )
    devices = sa.table("devices", sa.column("name"), sa.column("kind"))
    known = op.get_bind().execute(sa.select(devices.c.name).where(devices.c.kind == "gateway"))
    now_ns = time.time_ns()
    rows = [
        {
            "holder": row.name,
            "kind": kind,
            "person": "before sources were named",
            "declared_at_ns": now_ns,
            "expires_at_ns": now_ns + GRACE_NS,
        }
        for row in known
        for kind in ("adt", "merge", "worklist")
    ]
    if rows:
        op.bulk_insert(named, rows)
