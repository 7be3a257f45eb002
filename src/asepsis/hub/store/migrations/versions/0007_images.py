"""Images: what the hub holds of them, and what is set apart."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_UID = sa.String(length=64)
_NAME = sa.String(length=120)


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "image_instances",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sop_instance", _UID, nullable=False),
        sa.Column("series", _UID, nullable=False),
        sa.Column("study", _UID, nullable=False),
        sa.Column("sop_class", _UID, nullable=False),
        sa.Column("transfer_syntax", _UID, nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("object", sa.String(length=32), nullable=False),
        sa.Column("sender", _NAME, nullable=False),
        sa.Column("device", _NAME, nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("person", _NAME, nullable=False),
        sa.Column("received_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("accepted_at_ns", sa.BigInteger(), nullable=True),
        sa.Column("study_date", sa.String(length=8), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("patient_hash", sa.LargeBinary(), nullable=True),
        sa.Column("accession_hash", sa.LargeBinary(), nullable=True),
        sa.Column("attributes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_instances")),
        sa.UniqueConstraint("sop_instance", name=op.f("uq_image_instances_sop_instance")),
    )
    for column in (
        "series",
        "study",
        "received_at_ns",
        "told",
        "accepted_at_ns",
        "study_date",
        "patient_hash",
        "accession_hash",
    ):
        op.create_index(op.f(f"ix_image_instances_{column}"), "image_instances", [column])
    op.create_table(
        "image_quarantine",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sop_instance", _UID, nullable=False),
        sa.Column("sop_class", _UID, nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("object", sa.String(length=32), nullable=False),
        sa.Column("sender", _NAME, nullable=False),
        sa.Column("device", _NAME, nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_quarantine")),
        sa.UniqueConstraint("sha256", name=op.f("uq_image_quarantine_sha256")),
    )
