"""The fleet and its campaigns."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create the tables."""
    _fleet()
    _campaigns()
    _work_orders()


def _fleet() -> None:
    op.create_table(
        "fleet_members",
        sa.Column("device", sa.String(length=120), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("ward", sa.String(length=60), nullable=False),
        sa.Column("device_class", sa.String(length=60), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("calendar", sa.String(length=60), nullable=False),
        sa.Column("in_service", sa.Boolean(), nullable=False),
        sa.Column("idle", sa.Boolean(), nullable=False),
        sa.Column("seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", name="pk_fleet_members"),
    )
    op.create_index("ix_fleet_members_version", "fleet_members", ["version"])
    op.create_index("ix_fleet_members_ward_device_class", "fleet_members", ["ward", "device_class"])
    op.create_table(
        "fleet_calendars",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_fleet_calendars"),
    )
    op.create_table(
        "fleet_calendar_uses",
        sa.Column("level", sa.String(length=4), nullable=False),
        sa.Column("ward", sa.String(length=60), nullable=False),
        sa.Column("calendar", sa.String(length=60), nullable=False),
        sa.PrimaryKeyConstraint("level", "ward", "calendar", name="pk_fleet_calendar_uses"),
    )


def _campaigns() -> None:
    op.create_table(
        "campaigns",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("release", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("successor", sa.String(length=60), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("acceptance", sa.Boolean(), nullable=False),
        sa.Column("emergency", sa.LargeBinary(), nullable=True),
        sa.Column("joined", sa.BigInteger(), nullable=False),
        sa.Column("forgiven_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_campaigns"),
    )
    op.create_table(
        "campaign_targets",
        sa.Column("campaign", sa.String(length=60), nullable=False),
        sa.Column("device", sa.String(length=120), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("standing", sa.String(length=20), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("waits_for", sa.String(length=20), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("campaign", "device", name="pk_campaign_targets"),
    )
    op.create_index("ix_campaign_targets_device", "campaign_targets", ["device"])
    op.create_index("ix_campaign_targets_told", "campaign_targets", ["told"])
    op.create_index(
        "ix_campaign_targets_standing_campaign", "campaign_targets", ["standing", "campaign"]
    )


def _work_orders() -> None:
    op.create_table(
        "work_orders",
        sa.Column("id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("campaign", sa.String(length=60), nullable=False),
        sa.Column("device", sa.String(length=120), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("opened_ns", sa.BigInteger(), nullable=False),
        sa.Column("as_found", sa.LargeBinary(), nullable=False),
        sa.Column("as_left", sa.LargeBinary(), nullable=False),
        sa.Column("reference", sa.String(length=120), nullable=False),
        sa.Column("closed_ns", sa.BigInteger(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_work_orders"),
    )
    op.create_index("ix_work_orders_campaign", "work_orders", ["campaign"])
    op.create_index("ix_work_orders_device", "work_orders", ["device"])
