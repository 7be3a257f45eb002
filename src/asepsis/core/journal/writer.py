"""The one thread that writes a file: takes groups, commits them, tells the senders.

Nothing is acknowledged before its transaction is durable. A group that fails leaves no trace; its
senders are told to try again. When the disk is full, the alerts of the group are tried once more
alone, on the space of the reserve.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from asepsis.core.errors import AsepsisError, BackPressure, TransientError, Unavailable
from asepsis.core.journal.checkpoints import Checkpointer
from asepsis.core.journal.group import Group, Result, Rules
from asepsis.core.journal.intake import Intake, Move, Ticket, Work
from asepsis.core.journal.ledger import Ledger
from asepsis.core.journal.limits import RETRY_DISK_S
from asepsis.core.journal.ports import Receipt, Sink
from asepsis.core.journal.reserve import DiskReserve
from asepsis.core.model.lanes import Lane

Grown = Callable[[dict[Lane, int]], None]
"""Told after each group which lanes grew, and to which position; in the writer's thread."""

_FULL: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE}
)


class Writer:
    """The writer of one file.

    Args:
        connection: Open for writing; used by the writer's thread only from now on.
        rules: Budgets, bounds and cipher of the file.
        intake: Where work comes from.
        reserve: Disk space for alerts.
        checkpoints: Keeps the write-ahead log short.
        grown: Told about each group that made lanes grow.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        rules: Rules,
        intake: Intake,
        reserve: DiskReserve,
        checkpoints: Checkpointer,
        grown: Grown,
    ) -> None:
        self._connection = connection
        self._rules = rules
        self._intake = intake
        self._reserve = reserve
        self._grown = grown
        self.ledger = Ledger(connection, accounts_cached_max=rules.limits.accounts_cached_max)
        self._checkpoints = checkpoints
        self._stale = False
        self._thread = threading.Thread(target=self._run, name=f"journal-{rules.part}", daemon=True)

    def start(self) -> None:
        """Begin to take work."""
        self._checkpoints.start()
        self._thread.start()

    def join(self) -> None:
        """Wait until the queue is empty and the file closed; the intake must be closed before."""
        self._thread.join()

    def make_room(self) -> None:
        """Use the reserve on a full disk: copy the log, which ends it, and go on."""
        self._reserve.release()
        self.shorten()

    def shorten(self) -> None:
        """Copy the write-ahead log and end its file, as far as space and readers allow."""
        with suppress(sqlite3.Error):  # If there is no space for it, the next write says so.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def wrote(self, byte_count: int) -> None:
        """Count what housekeeping added to the log, about."""
        self._checkpoints.after_group(self._connection, byte_count)

    def _run(self) -> None:
        work = Work()
        try:
            while not (work := self._intake.take()).closing:
                if work.tickets or work.moves:
                    self._commit(work.tickets, work.moves)
                if work.task is not None:
                    work.task()
        finally:
            self._stop(work)

    def _stop(self, work: Work) -> None:
        """Close the file; after a bug of our own, first tell whoever waits."""
        left = self._intake.drain()
        stopped = Unavailable("the journal has stopped")
        _settle([(waiting, stopped) for waiting in (*work.tickets, *work.moves)])
        _settle([(waiting, stopped) for waiting in (*left.tickets, *left.moves)])
        self._checkpoints.close()
        with suppress(sqlite3.Error):  # What stays in the log is read from there next time.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        for task in left.tasks:
            task()  # Fails on the closed file, and its caller hears so.

    def _commit(self, tickets: list[Ticket], moves: list[Move]) -> None:
        others: list[Ticket] = []
        if not self._reserve.recover():
            tickets, others = _alerts_first(tickets)
        error = self._try(tickets, moves)
        if isinstance(error, BackPressure):
            tickets, refused = _alerts_first(tickets)
            others += refused
            if tickets or moves:
                # Cursors may use the reserve as well: what they release ends the shortage.
                self.make_room()
                error = self._try(tickets, moves)
        results: list[Result] = [(ticket, disk_full()) for ticket in others]
        if error is not None:
            results += [(waiting, error) for waiting in (*tickets, *moves)]
        _settle(results)

    def _try(self, tickets: list[Ticket], moves: list[Move]) -> AsepsisError | None:
        """Write one group and tell its senders; on failure tell nobody and return why."""
        try:
            group = self._judge(tickets, moves)
            if not group.empty:
                group.write(self._connection)
        except sqlite3.Error as error:
            self._roll_back()
            self._stale = True
            self._give_up_positions()
            return translate(error)
        except BackPressure as error:
            self._give_up_positions()
            return error
        self.ledger.adopt(group.changes)
        self._rules.late.settle(self._rules.part)
        if group.positions:
            self._grown(group.positions)
        _settle(group.results)
        self._checkpoints.after_group(self._connection, group.written_bytes)
        return None

    def _give_up_positions(self) -> None:
        late, part = self._rules.late, self._rules.part
        if late.is_open(part):
            late.settle(part)
            # What the other writer stored behind these positions can be seen only now.
            self._grown({Lane.LATE: late.visible()})

    def _judge(self, tickets: list[Ticket], moves: list[Move]) -> Group:
        if self._stale:
            # Whatever a failed commit left on the disk, from here on it is what we know.
            self.ledger.reload()
            self._stale = False
        group = Group(self.ledger, self._rules)
        for ticket in tickets:
            group.add(ticket)
        for move in moves:
            group.move(move)
        if group.disk_full is not None:
            raise group.disk_full
        return group

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):  # SQLite has rolled back by itself.
                self._connection.execute("ROLLBACK")


def disk_full() -> BackPressure:
    """Return the error of a full disk: nothing was stored."""
    return BackPressure("the disk is full", retry_after_s=RETRY_DISK_S)


def translate(error: sqlite3.Error) -> AsepsisError:
    """Return our error for one of SQLite's: nothing was stored."""
    if getattr(error, "sqlite_errorcode", 0) in _FULL:
        return disk_full()
    return TransientError(f"the journal could not be written: {error}")


def _alerts_first(tickets: list[Ticket]) -> tuple[list[Ticket], list[Ticket]]:
    alerts = [ticket for ticket in tickets if ticket.record.lane is Lane.ALERT]
    return alerts, [ticket for ticket in tickets if ticket.record.lane is not Lane.ALERT]


def _settle(results: list[Result]) -> None:
    by_sink: dict[Sink, list[tuple[object, Receipt | AsepsisError]]] = {}
    for waiting, result in results:
        by_sink.setdefault(waiting.sink, []).append((waiting.token, result))
    for sink, settled in by_sink.items():
        sink.settle(settled)
