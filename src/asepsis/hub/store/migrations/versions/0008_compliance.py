"""Profiles of device models, and for which devices they were decided."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "compliance_profiles",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("added_ns", sa.BigInteger(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_compliance_profiles"),
    )
    op.create_table(
        "compliance_admissions",
        sa.Column("subject", sa.String(length=256), nullable=False),
        sa.Column("interface", sa.String(length=10), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("conformant_until_ns", sa.BigInteger(), nullable=True),
        sa.Column("decided_ns", sa.BigInteger(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.Column("lapse_told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "interface", name="pk_compliance_admissions"),
    )
