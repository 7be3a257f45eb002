"""The one column type for what must not be read in a stolen data folder or database dump.

A sealed column holds authenticated ciphertext; its name is part of what is authenticated, so a
value moved to another column does not open. To find a row by such a value, keep `lookup_hash` of
it in a column beside it.
"""

from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator

from asepsis.core.errors import ConfigError


class ColumnSealer(Protocol):
    """What the store asks of `core/trust/sealing.py`."""

    def seal_value(self, table_column: str, plaintext: bytes, /) -> bytes:
        """Encrypt and authenticate a value for the column `table.column`."""
        ...

    def open_value(self, table_column: str, sealed: bytes, /) -> bytes:
        """Return the value, or raise SignatureInvalid."""
        ...

    def lookup_hash(self, table_column: str, plaintext: bytes, /) -> bytes:
        """Return a keyed hash, the same for the same value and column."""
        ...


_SEALERS: Final[WeakKeyDictionary[Dialect, ColumnSealer]] = WeakKeyDictionary()


def bind_sealer(dialect: Dialect, sealer: ColumnSealer) -> None:
    """Make `sealer` the one of an engine's sealed columns; each engine has its own dialect."""
    _SEALERS[dialect] = sealer


class Sealed(TypeDecorator[bytes]):
    """Bytes that are stored encrypted.

    Args:
        table_column: `table.column`, what the ciphertext is bound to. Never change it: stored
            values would no longer open.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, table_column: str) -> None:
        super().__init__()
        self.table_column = table_column

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Seal on the way in."""
        return None if value is None else self._sealer(dialect).seal_value(self.table_column, value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> bytes | None:
        """Open on the way out.

        Raises:
            SignatureInvalid: The stored bytes were changed, or belong to another column or key.
        """
        if value is None:
            return None
        return self._sealer(dialect).open_value(self.table_column, bytes(value))

    def _sealer(self, dialect: Dialect) -> ColumnSealer:
        sealer = _SEALERS.get(dialect)
        if sealer is None:
            raise ConfigError(f"no key is bound for the sealed column {self.table_column}")
        return sealer
