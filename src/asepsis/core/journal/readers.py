"""Reading one file beside its writer: a few connections, handed out one at a time."""

import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from asepsis.core.errors import NotFound, TransientError, Unavailable
from asepsis.core.journal.cipher import day_of, record_aad
from asepsis.core.journal.group import Rules
from asepsis.core.journal.ports import Append, Link, Record
from asepsis.core.journal.schema import open_reader, table_of
from asepsis.core.model.lanes import Account, Lane

KEPT_MAX: Final = 4
"""Idle connections kept open."""

_COLUMNS: Final = (
    "position, account.account, producer, epoch, sequence, kind, received_at_ns, lane.digest,"
    " previous, body"
)
_Row = tuple[int, str, str, int, int, str, int, bytes | None, bytes | None, bytes]


class Readers:
    """The readers of one file; thread-safe.

    Args:
        path: The file.
        rules: Cipher and bounds.
    """

    def __init__(self, path: Path, *, rules: Rules) -> None:
        self._path = path
        self._rules = rules
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    @contextmanager
    def connection(self) -> Generator[sqlite3.Connection]:
        """Lend a connection.

        Raises:
            TransientError: The file cannot be read.
            Unavailable: The journal is closed.
        """
        with self._lock:
            if self._closed:
                raise Unavailable("the journal is closed")
            lent = self._idle.pop() if self._idle else None
        try:
            if lent is None:
                lent = open_reader(self._path)
            yield lent
        except sqlite3.Error as error:
            raise TransientError(f"the journal could not be read: {error}") from error
        finally:
            if lent is not None:
                self._take_back(lent)

    def read(self, lane: Lane, *, after: int, through: int, records_max: int) -> list[Record]:
        """Return records with `after` < position <= `through`, ascending, bodies decrypted.

        Raises:
            SignatureInvalid: A stored record was changed.
            NotFound: The key of a record that is still held does not exist.
        """
        with self.connection() as connection:
            rows = self._rows(connection, lane, (after, through, records_max))
            return [record for row in rows if (record := self._open(connection, lane, row))]

    def close(self) -> None:
        """Close every idle connection; lent ones close when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take_back(self, lent: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < KEPT_MAX:
                self._idle.append(lent)
                return
        lent.close()

    def _rows(
        self, connection: sqlite3.Connection, lane: Lane, bounds: tuple[int, int, int]
    ) -> list[_Row]:
        rows: list[_Row] = []
        byte_count = 0
        cursor = connection.execute(
            f"SELECT {_COLUMNS} FROM {table_of(lane)} AS lane"  # noqa: S608 - own enum
            " JOIN account ON account.id = lane.account"
            " WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
            bounds,
        )
        with suppress(StopIteration):
            while byte_count < self._rules.limits.read_bytes_max:
                rows.append(next(cursor))
                byte_count += len(rows[-1][-1])
        cursor.close()
        return rows

    def _open(self, connection: sqlite3.Connection, lane: Lane, row: _Row) -> Record | None:
        (
            position,
            account,
            producer,
            epoch,
            sequence,
            kind,
            received_at_ns,
            digest,
            previous,
            body,
        ) = row
        link = None if digest is None else Link(digest, previous)
        unsealed = Append(
            lane=lane,
            account=Account(account),
            producer=producer,
            epoch=epoch,
            sequence=sequence,
            kind=kind,
            body=b"",
            received_at_ns=received_at_ns,
            link=link,
        )
        scope, day = self._rules.scope(lane), day_of(received_at_ns)
        try:
            body = self._rules.cipher.open(scope, day, record_aad(unsealed), body)
        except NotFound:
            if _held(connection, lane, position):
                raise
            return None  # It expired, key and all, while we were reading.
        return Record(position, _with_body(unsealed, body))


def _held(connection: sqlite3.Connection, lane: Lane, position: int) -> bool:
    found = connection.execute(
        f"SELECT 1 FROM {table_of(lane)} WHERE position=?",  # noqa: S608 - own enum
        (position,),
    ).fetchone()
    return found is not None


def _with_body(unsealed: Append, body: bytes) -> Append:
    return Append(
        lane=unsealed.lane,
        account=unsealed.account,
        producer=unsealed.producer,
        epoch=unsealed.epoch,
        sequence=unsealed.sequence,
        kind=unsealed.kind,
        body=body,
        received_at_ns=unsealed.received_at_ns,
        link=unsealed.link,
    )
