"""What devices run as their TPMs state it: makers, releases, floors, devices."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "attestation_makers",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=512), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.Column("added_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_attestation_makers"),
    )
    op.create_table(
        "attestation_releases",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("registers", sa.Text(), nullable=False),
        sa.Column("parts", sa.Text(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.Column("added_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "name", name="pk_attestation_releases"),
    )
    op.create_table(
        "attestation_floors",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.Column("decided_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_attestation_floors"),
    )
    op.create_table(
        "attested_devices",
        sa.Column("device", sa.String(length=120), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.Column("opened_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.Column("recorded", sa.String(length=64), nullable=False),
        sa.Column("ek_sha256", sa.String(length=64), nullable=False),
        sa.Column("ak", sa.LargeBinary(), nullable=True),
        sa.Column("bound_ns", sa.BigInteger(), nullable=False),
        sa.Column("secure_boot", sa.String(length=64), nullable=False),
        sa.Column("floor_base", sa.BigInteger(), nullable=False),
        sa.Column("resets", sa.BigInteger(), nullable=False),
        sa.Column("clock_ms", sa.BigInteger(), nullable=False),
        sa.Column("standing", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("release", sa.String(length=120), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("judged_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", name="pk_attested_devices"),
    )
