"""One journal file: its writer, its readers, and the work done between two groups."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, TypeVar

from asepsis.core.errors import LimitExceeded, NotFound
from asepsis.core.journal import rules as chain
from asepsis.core.journal.checkpoints import Checkpointer
from asepsis.core.journal.cipher import day_of
from asepsis.core.journal.group import Rules
from asepsis.core.journal.intake import Intake
from asepsis.core.journal.ledger import (
    AccountKey,
    Changes,
    Cursor,
    Entry,
    Ledger,
    Stream,
    read_account,
)
from asepsis.core.journal.readers import Readers
from asepsis.core.journal.reserve import DiskReserve
from asepsis.core.journal.rules import ChainState
from asepsis.core.journal.schema import PAGE_BYTES, open_checkpointer, pack_gaps, table_of
from asepsis.core.journal.writer import Grown, Writer, translate
from asepsis.core.model.lanes import Lane

EXPIRE_RECORDS: Final = 500
"""Records removed per transaction, so that a waiting alert is not held up by housekeeping."""

SHRINK_PAGES: Final = 256
"""Pages given back to a full disk per transaction."""

T = TypeVar("T")


class Shard:
    """One file with one writer.

    Args:
        path: The file.
        connection: Its open writing connection.
        rules: Budgets, bounds and cipher.
        reserve: Disk space for alerts.
        grown: Told about each group that made lanes grow.
        delivered: Says up to where every mandatory consumer of a lane has come, None without any.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        *,
        rules: Rules,
        reserve: DiskReserve,
        grown: Grown,
        delivered: Callable[[Lane], int | None],
    ) -> None:
        self._connection = connection
        self._reserve = reserve
        self._delivered = delivered
        self._rules = rules
        self.intake = Intake(rules.lanes, limits=rules.limits)
        self.readers = Readers(path, rules=rules)
        self._writer = Writer(
            connection,
            rules=rules,
            intake=self.intake,
            reserve=reserve,
            checkpoints=Checkpointer(
                lambda: open_checkpointer(path),
                wal_bytes_max=rules.limits.wal_bytes_max,
                name=f"journal-{rules.part}-checkpoint",
            ),
            grown=grown,
        )

    @property
    def ledger(self) -> Ledger:
        """The durable state in memory; other threads may read streams and cursors only."""
        return self._writer.ledger

    def start(self) -> None:
        """Begin to take work."""
        self._writer.start()

    def close(self) -> None:
        """Make durable what is queued and close the file."""
        self.intake.close()
        self._writer.join()
        self.readers.close()

    def register(self, consumer: str, lanes: Mapping[Lane, bool]) -> None:
        """Let a consumer have cursors in exactly these lanes of this file.

        Raises:
            LimitExceeded: Too many consumers.
        """
        self._in_writer(lambda: self._register(consumer, lanes))

    def abandon(self, key: AccountKey, through: int) -> Sequence[tuple[int, int]]:
        """Give up what is missing of an account up to `through`; return the lost ranges.

        Raises:
            NotFound: Nothing was ever received on the account.
        """
        return self._in_writer(lambda: self._abandon(key, through))

    def expire(self, lane: Lane, now_ns: int) -> int:
        """Remove delivered records that are older than the lane's age; return how many."""
        removed = 0
        after: int | None = 0
        while after is not None:
            step, resume = self._in_writer(lambda from_=after: self._expire(lane, now_ns, from_))
            removed, after = removed + step, resume
        self._in_writer(lambda: self._destroy_keys(lane, now_ns))
        while self._reserve.pressed and self._in_writer(self._shrink):
            pass  # A portion at a time, so that alerts come in between.
        return removed

    def first(self, lane: Lane) -> int:
        """Return the lowest position still held, 0 if none."""
        with self.readers.connection() as connection:
            (first,) = connection.execute(
                f"SELECT min(position) FROM {table_of(lane)}"  # noqa: S608 - own enum
            ).fetchone()
        return first or 0

    def account(self, key: AccountKey) -> ChainState:
        """Return what was durably received on an account."""
        with self.readers.connection() as connection:
            entry = read_account(connection, key)
        return ChainState() if entry is None else entry.state

    def _in_writer(self, job: Callable[[], T]) -> T:
        done: Future[T] = Future()

        def task() -> None:
            try:
                done.set_result(self._with_reserve(job))
            except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
                done.set_exception(error)

        self.intake.run(task)
        return done.result()

    def _with_reserve(self, job: Callable[[], T]) -> T:
        """Run a job in the writer's thread; housekeeping may use the reserve, it makes space."""
        try:
            return self._attempt(job)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_FULL:
                raise translate(error) from error
        self._writer.make_room()
        try:
            return self._attempt(job)
        except sqlite3.Error as error:
            raise translate(error) from error

    def _attempt(self, job: Callable[[], T]) -> T:
        try:
            return job()
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _register(self, consumer: str, lanes: Mapping[Lane, bool]) -> None:
        known = self.ledger.cursors
        names = {name for name, _ in known} | {consumer}
        if len(names) > self._rules.limits.consumers_max:
            raise LimitExceeded(
                f"a journal has at most {self._rules.limits.consumers_max} consumers"
            )
        kept = {
            (consumer, lane): Cursor(known.get((consumer, lane), _AT_START).position, mandatory)
            for lane, mandatory in lanes.items()
        }
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("DELETE FROM cursor WHERE consumer=?", (consumer,))
        self._connection.executemany(
            "INSERT INTO cursor VALUES (?, ?, ?, ?)",
            [(who, lane.value, c.position, c.mandatory) for (who, lane), c in kept.items()],
        )
        self._connection.execute("COMMIT")
        others = {key: cursor for key, cursor in known.items() if key[0] != consumer}
        self.ledger.cursors = others | kept

    def _abandon(self, key: AccountKey, through: int) -> Sequence[tuple[int, int]]:
        entry = self.ledger.account(key)
        if entry is None:
            raise NotFound("nothing was ever received on this account")
        state, lost = chain.abandon(entry.state, through)
        self._connection.execute(
            "UPDATE account SET gaps=? WHERE id=?", (pack_gaps(state.gaps), entry.row)
        )
        changed = {key: Entry(entry.row, state)}
        self.ledger.adopt(Changes(changed, {}, {}, self.ledger.next_row))
        return lost

    def _expire(self, lane: Lane, now_ns: int, after: int) -> tuple[int, int | None]:
        """Remove one portion; return how many, and where to go on or None at the end."""
        stream = self.ledger.streams[lane]
        through = self._delivered(lane)
        rows = self._connection.execute(
            f"SELECT position, received_at_ns, length(body) FROM {table_of(lane)}"  # noqa: S608
            " WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
            (after, stream.last if through is None else through, EXPIRE_RECORDS),
        ).fetchall()
        cutoff_ns = now_ns - self._rules.lanes[lane].age_s * 10**9
        old = [row for row in rows if row[1] < cutoff_ns]
        if not old:
            return 0, None
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            f"DELETE FROM {table_of(lane)} WHERE position=?",  # noqa: S608 - own enum
            [(position,) for position, _, _ in old],
        )
        self._connection.executemany(
            "UPDATE day SET records = records - 1 WHERE lane=? AND day=?",
            [(lane.value, day_of(received_at_ns)) for _, received_at_ns, _ in old],
        )
        remaining = Stream(
            stream.last, stream.records - len(old), stream.byte_count - sum(row[2] for row in old)
        )
        self._connection.execute(
            "UPDATE stream SET last=?, records=?, bytes=? WHERE lane=?", (*remaining, lane.value)
        )
        self._connection.execute("COMMIT")
        self.ledger.streams[lane] = remaining
        self._writer.wrote(len(old) * PAGE_BYTES)
        return len(old), rows[-1][0] if len(rows) == EXPIRE_RECORDS else None

    def _shrink(self) -> int:
        """Give free pages at the end of the file back to a full disk; return how many."""
        (before,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        if before:
            self._connection.execute(f"PRAGMA incremental_vacuum({SHRINK_PAGES})").fetchall()
            self._writer.shorten()
        (after,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return before - after

    def _destroy_keys(self, lane: Lane, now_ns: int) -> None:
        empty = self._connection.execute(
            "SELECT day FROM day WHERE lane=? AND records=0 AND day<?", (lane.value, day_of(now_ns))
        ).fetchall()
        for (day,) in empty:
            # First the key, then the note that it is due: a crash in between repeats this.
            self._rules.cipher.destroy(self._rules.scope(lane), day)
            self._connection.execute(
                "DELETE FROM day WHERE lane=? AND day=? AND records=0", (lane.value, day)
            )


_AT_START: Final = Cursor(0, mandatory=False)
