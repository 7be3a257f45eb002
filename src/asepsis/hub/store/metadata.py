"""The one `MetaData`. Every feature's `tables.py` registers its tables here, beside their owner."""

from typing import Final

from sqlalchemy import MetaData

METADATA: Final = MetaData(
    # Named by rule, so that a migration can find every constraint on both engines.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
