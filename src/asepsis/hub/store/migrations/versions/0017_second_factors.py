"""Second factors of people, and when a session showed one."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Create the table and the column."""
    op.create_table(
        "second_factors",
        sa.Column("person", sa.String(length=120), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("begun", sa.LargeBinary(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("wrong", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person"], ["people.name"], name="fk_second_factors_person_people"
        ),
        sa.PrimaryKeyConstraint("person", name="pk_second_factors"),
    )
    # Nobody showed a second factor in a session that is older than them.
    op.add_column(
        "sessions", sa.Column("proven_at_ns", sa.BigInteger(), nullable=False, server_default="0")
    )
