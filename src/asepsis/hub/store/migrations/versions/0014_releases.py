"""Releases, their approvals, and what the director says to each device."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create the tables."""
    _of_vendors()
    _of_devices()


def _of_vendors() -> None:
    op.create_table(
        "update_vendors",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.Column("added_ns", sa.BigInteger(), nullable=False),
        sa.Column("imported_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_update_vendors"),
    )
    op.create_table(
        "update_releases",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.Column("reboot", sa.String(length=10), nullable=False),
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("trouble", sa.String(length=500), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("imported_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_update_releases"),
    )
    op.create_table(
        "update_documents",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_update_documents"),
    )
    op.create_table(
        "update_approvals",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("artefact", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.Column("added_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_update_approvals"),
    )
    op.create_index("ix_update_approvals_artefact", "update_approvals", ["artefact"])


def _of_devices() -> None:
    op.create_table(
        "update_director_roots",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.Column("added_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_update_director_roots"),
    )
    op.create_table(
        "update_fits",
        sa.Column("device", sa.String(length=120), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("hardware", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=160), nullable=False),
        sa.Column("listed_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", name="pk_update_fits"),
    )
    op.create_table(
        "update_assignments",
        sa.Column("device", sa.String(length=120), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("artefact", sa.String(length=64), nullable=False),
        sa.Column("assigned_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", "component", name="pk_update_assignments"),
    )
    op.create_table(
        "update_directed",
        sa.Column("device", sa.String(length=120), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("signed_revision", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("renew_ns", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("device", name="pk_update_directed"),
    )
    op.create_index("ix_update_assignments_artefact", "update_assignments", ["artefact"])
    op.create_index("ix_update_directed_renew_ns", "update_directed", ["renew_ns"])
