"""One group: judged against the ledger, sealed, and written in one transaction."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import AsepsisError, BackPressure
from asepsis.core.journal.cipher import RecordCipher, day_of, record_aad
from asepsis.core.journal.intake import Move, Ticket
from asepsis.core.journal.late import LateOrder
from asepsis.core.journal.ledger import AccountKey, Changes, Cursor, Entry, Ledger, Stream
from asepsis.core.journal.limits import RETRY_WATERMARK_S, JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append, Outcome, Receipt
from asepsis.core.journal.rules import ChainState, admit, check_epoch, check_same
from asepsis.core.journal.schema import PAGE_BYTES, pack_gaps, table_of
from asepsis.core.model.lanes import Account, Lane

Result = tuple[Ticket | Move, Receipt | AsepsisError]
_NEW: Final = ChainState()
_DUPLICATE: Final = Receipt(Outcome.DUPLICATE, 0)
_MOVED: Final = Receipt(Outcome.STORED, 0)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a group needs besides the ledger; the same for every group of a file.

    Attributes:
        part: Name of the file, "signed" or "waveform".
        lanes: Budgets.
        limits: Bounds.
        cipher: Seals bodies.
        late: Gives positions of the late lane.
    """

    part: str
    lanes: Mapping[Lane, LaneBudget]
    limits: JournalLimits
    cipher: RecordCipher
    late: LateOrder

    def scope(self, lane: Lane) -> str:
        """Return the key scope of a lane in this file; the late lane has one per file."""
        return f"late-{self.part}" if lane is Lane.LATE else _NAMES[lane]


class Group:
    """A copy of what the ledger says, changed record by record.

    Args:
        ledger: The durable state.
        rules: What stays the same.
    """

    def __init__(self, ledger: Ledger, rules: Rules) -> None:
        self._ledger = ledger
        self._rules = rules
        self._accounts: dict[AccountKey, Entry] = {}
        self._streams: dict[Lane, Stream] = {}
        self._cursors: dict[tuple[str, Lane], Cursor] = {}
        self._newest: dict[tuple[Account, str], int] = {}
        self._days: dict[tuple[Lane, int], int] = {}
        self._digests: dict[tuple[int, int], bytes] = {}
        self._rows: dict[Lane, list[tuple[object, ...]]] = {}
        self._first_new_row = self._next_row = ledger.next_row
        self._payload_bytes = 0
        self.results: list[Result] = []
        self.disk_full: BackPressure | None = None
        """Set when there was no space for a new key: the whole group has to be tried again."""

    @property
    def changes(self) -> Changes:
        """What the ledger takes over after the commit."""
        return Changes(self._accounts, self._streams, self._cursors, self._next_row)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self._rows or self._cursors)

    @property
    def written_bytes(self) -> int:
        """About what the group adds to the write-ahead log."""
        return self._payload_bytes + 2 * PAGE_BYTES * (len(self._accounts) + len(self._cursors) + 2)

    @property
    def positions(self) -> dict[Lane, int]:
        """The new end of each lane that grew."""
        return {lane: stream.last for lane, stream in self._streams.items()}

    def add(self, ticket: Ticket) -> None:
        """Judge one record and note what it changes; its result waits in `results`."""
        try:
            receipt = self._judge(ticket.record)
        except AsepsisError as error:
            self.results.append((ticket, error))
        else:
            self.results.append((ticket, receipt))

    def move(self, move: Move) -> None:
        """Note the move of a cursor; backwards is ignored."""
        key = (move.consumer, move.lane)
        cursor = self._cursors.get(key) or self._ledger.cursors.get(key)
        if cursor is not None and move.position > cursor.position:
            self._cursors[key] = Cursor(move.position, cursor.mandatory)
        self.results.append((move, _MOVED))

    def write(self, connection: sqlite3.Connection) -> None:
        """Write everything in one transaction.

        Raises:
            sqlite3.Error: Nothing was written; the caller rolls back.
        """
        connection.execute("BEGIN IMMEDIATE")
        self._write_accounts(connection)
        for lane, rows in self._rows.items():
            connection.executemany(_INSERT[lane], rows)
        connection.executemany(
            "UPDATE stream SET last=?, records=?, bytes=? WHERE lane=?",
            [(*stream, lane.value) for lane, stream in self._streams.items()],
        )
        connection.executemany(
            "INSERT INTO day VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET records = records + excluded.records",
            [(lane.value, day, count) for (lane, day), count in self._days.items()],
        )
        if self._cursors:
            connection.executemany(
                "UPDATE cursor SET position=? WHERE consumer=? AND lane=?",
                [(c.position, who, lane.value) for (who, lane), c in self._cursors.items()],
            )
        connection.execute("COMMIT")

    def _write_accounts(self, connection: sqlite3.Connection) -> None:
        made: list[tuple[object, ...]] = []
        changed: list[tuple[object, ...]] = []
        for (account, producer, epoch), (row, state) in self._accounts.items():
            gaps = pack_gaps(state.gaps) if state.gaps else b""
            if row >= self._first_new_row:
                made.append(
                    (row, account.value, producer, epoch, state.highest, state.digest, gaps)
                )
            else:
                changed.append((state.highest, state.digest, gaps, row))
        if made:
            connection.executemany("INSERT INTO account VALUES (?, ?, ?, ?, ?, ?, ?)", made)
        connection.executemany("UPDATE account SET highest=?, digest=?, gaps=? WHERE id=?", changed)

    def _judge(self, record: Append) -> Receipt:
        key = (record.account, record.producer, record.epoch)
        entry = self._accounts.get(key) or self._ledger.account(key)
        late = record.lane is Lane.LATE
        verdict = admit(
            _NEW if entry is None else entry.state,
            record.sequence,
            record.link,
            late=late,
            gaps_max=self._rules.limits.gaps_max,
        )
        if verdict.outcome is Outcome.DUPLICATE:
            assert entry is not None, "only a known account has duplicates"  # noqa: S101 - our own bug
            self._check_fork(entry.row, record)
            return _DUPLICATE
        row = self._next_row if entry is None else entry.row
        if entry is None or not late:
            self._note_epoch(record, late=late)
        position = self._store(row, record)
        if entry is None:
            self._next_row += 1
        self._accounts[key] = Entry(row, verdict.state)
        if record.link is not None:
            self._digests[row, record.sequence] = record.link.digest
        return Receipt(Outcome.STORED, position, verdict.opened, verdict.closed)

    def _note_epoch(self, record: Append, *, late: bool) -> None:
        producer = (record.account, record.producer)
        newest = self._newest.get(producer)
        if newest is None:
            newest = self._ledger.newest_epoch(*producer)
        check_epoch(record.epoch, newest, late=late)
        self._newest[producer] = max(record.epoch, newest)

    def _check_fork(self, row: int, record: Append) -> None:
        if record.link is None:
            return
        stored = self._digests.get((row, record.sequence))
        if stored is None:
            stored = self._ledger.stored_digest(row, record.sequence)
        check_same(stored, record.link, record.sequence)

    def _store(self, row: int, record: Append) -> int:
        lane, rules = record.lane, self._rules
        stream = self._streams.get(lane) or self._ledger.streams[lane]
        if stream.byte_count + len(record.body) > rules.lanes[lane].bytes_max:
            raise BackPressure(
                f"lane {lane.value} is at its watermark", retry_after_s=RETRY_WATERMARK_S
            )
        day = day_of(record.received_at_ns)
        try:
            sealed = rules.cipher.seal(rules.scope(lane), day, record_aad(record), record.body)
        except BackPressure as error:
            self.disk_full = error
            raise
        position = rules.late.take(rules.part) if lane is Lane.LATE else stream.last + 1
        digest, previous = (
            (None, None) if record.link is None else (record.link.digest, record.link.previous)
        )
        self._rows.setdefault(lane, []).append(
            (
                position,
                row,
                record.sequence,
                record.received_at_ns,
                record.kind,
                digest,
                previous,
                sealed,
            )
        )
        self._payload_bytes += len(sealed)
        self._streams[lane] = Stream(position, stream.records + 1, stream.byte_count + len(sealed))
        self._days[lane, day] = self._days.get((lane, day), 0) + 1
        return position


# `Enum.value` is a slow property, and this one is asked for with every record.
_NAMES: Final = {lane: lane.value for lane in Lane}
_INSERT: Final = {
    lane: f"INSERT INTO {table_of(lane)} VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - own enum
    for lane in Lane
}
