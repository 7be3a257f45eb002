"""Patients, stays, associations, places of devices, ward rules."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create all tables."""
    _create_patients()
    _create_associations()
    _create_devices()


def _create_patients() -> None:
    op.create_table(
        "patients",
        sa.Column("patient", sa.LargeBinary(), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("alias_of", sa.LargeBinary(), nullable=True),
        sa.Column("recorded_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("patient", name="pk_patients"),
    )
    op.create_index("ix_patients_alias_of", "patients", ["alias_of"])
    op.create_table(
        "stays",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("patient", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.String(length=250), nullable=False),
        sa.Column("event_ns", sa.BigInteger(), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=True),
        sa.Column("certain", sa.Boolean(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stays"),
    )
    op.create_index("ix_stays_patient", "stays", ["patient"])
    op.create_index("ix_stays_place", "stays", ["place"])


def _create_associations() -> None:
    op.create_table(
        "associations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("device", sa.String(length=120), nullable=False),
        sa.Column("patient", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.String(length=250), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("basis", sa.String(length=12), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=True),
        sa.Column("proposed_by", sa.String(length=160), nullable=False),
        sa.Column("confirmed_by", sa.String(length=160), nullable=True),
        sa.Column("end_reason", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_associations"),
    )
    for column in ("device", "patient", "place", "state"):
        op.create_index(f"ix_associations_{column}", "associations", [column])


def _create_devices() -> None:
    op.create_table(
        "placements",
        sa.Column("device", sa.String(length=120), nullable=False),
        sa.Column("place", sa.String(length=250), nullable=False),
        sa.Column("fixed", sa.Boolean(), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", name="pk_placements"),
    )
    op.create_index("ix_placements_place", "placements", ["place"])
    op.create_table(
        "device_uses",
        sa.Column("device", sa.String(length=120), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("use", sa.String(length=12), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("vacated_ns", sa.BigInteger(), nullable=False),
        sa.Column("unseen", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("device", name="pk_device_uses"),
    )
    op.create_table(
        "ward_rules",
        sa.Column("ward", sa.String(length=60), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.PrimaryKeyConstraint("ward", name="pk_ward_rules"),
    )
