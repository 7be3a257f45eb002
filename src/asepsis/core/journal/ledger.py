"""What the writer of one file knows by heart: accounts, ends of streams, cursors.

Everything here equals the durable state. A group works on a copy and hands over what changed only
after its transaction is durable, so a failed group leaves no trace.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from asepsis.core.journal.rules import ChainState
from asepsis.core.journal.schema import table_of, unpack_gaps
from asepsis.core.model.lanes import Account, Lane

AccountKey = tuple[Account, str, int]
"""Account, producer, epoch."""


class Entry(NamedTuple):
    """An account with its row number."""

    row: int
    state: ChainState


class Stream(NamedTuple):
    """The end of a lane's stream: last position given, records and payload bytes held."""

    last: int
    records: int
    byte_count: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a consumer has come in a lane.

    Attributes:
        position: Everything up to here is delivered.
        mandatory: Whether what it has not seen must be kept.
    """

    position: int
    mandatory: bool


@dataclass(slots=True)
class Changes:
    """What a group changed; becomes part of the ledger once it is durable."""

    accounts: dict[AccountKey, Entry]
    streams: dict[Lane, Stream]
    cursors: dict[tuple[str, Lane], Cursor]
    next_row: int


class Ledger:
    """The durable state of one file, in memory as far as needed.

    Args:
        connection: The writer's connection; used by the writer's thread only.
        accounts_cached_max: Accounts kept in memory.
    """

    def __init__(self, connection: sqlite3.Connection, *, accounts_cached_max: int) -> None:
        self._connection = connection
        self._cached_max = accounts_cached_max
        self._accounts: dict[AccountKey, Entry] = {}
        self._newest: dict[tuple[Account, str], int] = {}
        self.streams: dict[Lane, Stream] = {}
        self.cursors: dict[tuple[str, Lane], Cursor] = {}
        self.next_row = 1
        self.reload()

    def account(self, key: AccountKey) -> Entry | None:
        """Return an account as it is durable, None if nothing was ever received on it."""
        entry = self._accounts.get(key)
        if entry is None:
            entry = read_account(self._connection, key)
            if entry is not None:
                self._remember({key: entry})
        return entry

    def newest_epoch(self, account: Account, producer: str) -> int:
        """Return the highest durable epoch of a producer on an account, -1 if none."""
        newest = self._newest.get((account, producer))
        if newest is None:
            (found,) = self._connection.execute(
                "SELECT max(epoch) FROM account WHERE account=? AND producer=?",
                (account.value, producer),
            ).fetchone()
            newest = -1 if found is None else found
            if len(self._newest) >= self._cached_max:
                self._newest.clear()
            self._newest[account, producer] = newest
        return newest

    def stored_digest(self, row: int, sequence: int) -> bytes | None:
        """Return the digest of a record that is still held, None if it expired."""
        for lane in self.streams:
            found = self._connection.execute(
                f"SELECT digest FROM {table_of(lane)}"  # noqa: S608 - a name from our own enum
                " WHERE account=? AND sequence=? AND digest IS NOT NULL",
                (row, sequence),
            ).fetchone()
            if found:
                return found[0]
        return None

    def adopt(self, changes: Changes) -> None:
        """Take over what has just become durable."""
        self._remember(changes.accounts)
        for account, producer, epoch in changes.accounts:
            if epoch > self._newest.get((account, producer), epoch):
                self._newest[account, producer] = epoch
        # Other threads read these two; replacing the values one by one keeps each of them whole.
        self.streams.update(changes.streams)
        self.cursors.update(changes.cursors)
        self.next_row = changes.next_row

    def delivered(self, lane: Lane) -> int | None:
        """Return up to where every mandatory consumer has come, None if there is none."""
        positions = [
            cursor.position
            for (_, of_lane), cursor in list(self.cursors.items())
            if of_lane is lane and cursor.mandatory
        ]
        return min(positions, default=None)

    def _remember(self, entries: Mapping[AccountKey, Entry]) -> None:
        accounts = self._accounts
        accounts.update(entries)
        while len(accounts) > self._cached_max:
            del accounts[next(iter(accounts))]

    def reload(self) -> None:
        """Forget everything and read again what is durable.

        Raises:
            sqlite3.Error: The file cannot be read; the ledger must not be used until it can.
        """
        self._accounts.clear()
        self._newest.clear()
        self.streams = {
            Lane(lane): Stream(last, records, byte_count)
            for lane, last, records, byte_count in self._connection.execute(
                "SELECT lane, last, records, bytes FROM stream"
            )
        }
        self.cursors = dict(read_cursors(self._connection))
        (row,) = self._connection.execute("SELECT max(id) FROM account").fetchone()
        self.next_row = (row or 0) + 1


def read_cursors(
    connection: sqlite3.Connection,
) -> Iterator[tuple[tuple[str, Lane], Cursor]]:
    """Yield every durable cursor under consumer and lane."""
    rows: Iterable[tuple[str, str, int, int]] = connection.execute(
        "SELECT consumer, lane, position, mandatory FROM cursor"
    )
    for consumer, lane, position, mandatory in rows:
        yield (consumer, Lane(lane)), Cursor(position, bool(mandatory))


def read_account(connection: sqlite3.Connection, key: AccountKey) -> Entry | None:
    """Read an account from its file, None if nothing was ever received on it."""
    account, producer, epoch = key
    found = connection.execute(
        "SELECT id, highest, digest, gaps FROM account WHERE account=? AND producer=? AND epoch=?",
        (account.value, producer, epoch),
    ).fetchone()
    if found is None:
        return None
    row, highest, digest, gaps = found
    return Entry(row, ChainState(highest, digest, unpack_gaps(gaps)))
