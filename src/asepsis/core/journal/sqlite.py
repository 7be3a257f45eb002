"""The journal on SQLite: the hub's log and the edge's spool.

Two files, one writer each: `waveform.db` holds the waveform account whole (its live records and
its late ones), `signed.db` everything else, so that no alert ever waits for a waveform commit.
The late lane is the union of both files in one order, see `late.py`.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, BackPressure, ConfigError, InputError, NotFound
from asepsis.core.journal.cipher import RecordCipher
from asepsis.core.journal.group import Rules
from asepsis.core.journal.intake import FutureSink, Move
from asepsis.core.journal.late import LateOrder
from asepsis.core.journal.limits import PRODUCER_CHARS_MAX, JournalLimits, LaneBudget, check_record
from asepsis.core.journal.ports import AccountState, Append, LaneStatus, Receipt, Record, Sink
from asepsis.core.journal.reserve import DiskReserve
from asepsis.core.journal.schema import open_writer, sync_folder
from asepsis.core.journal.shard import Shard
from asepsis.core.journal.writer import translate
from asepsis.core.model.lanes import Account, Lane

_SIGNED: Final = "signed"
_WAVEFORM: Final = "waveform"
_FUTURES: Final = FutureSink()


class SqliteJournal:
    """A journal in one folder.

    Args:
        path: The folder; made if absent, readable by its owner only.
        cipher: Seals every body.
        lanes: The lanes kept here and their budgets; others are refused.
        clock: Wall time in nanoseconds, for pauses between attempts only.
        limits: Bounds on work in progress.

    Raises:
        ConfigError: Another process has the journal open, or the files are of another format.

    Resource handling:
        Holds two threads and a lock on the folder until `close`.
    """

    def __init__(
        self,
        path: Path,
        *,
        cipher: RecordCipher,
        lanes: Mapping[Lane, LaneBudget],
        clock: Callable[[], int],
        limits: JournalLimits | None = None,
    ) -> None:
        self._lanes = dict(lanes)
        self._limits = limits or JournalLimits()
        self._listeners: tuple[Callable[[Mapping[Lane, int]], None], ...] = ()
        self._lock = _lock_folder(path)
        try:
            self._reserve = DiskReserve(
                path / "reserve", size_bytes=self._limits.reserve_bytes, clock=clock
            )
            self._shards = self._open_even_if_full(path, cipher)
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, (sqlite3.Error, OSError)):
                raise ConfigError(f"{path}: the journal can not be opened: {error}") from error
            raise
        for shard in self._shards.values():
            shard.start()

    def submit(self, record: Append) -> Future[Receipt]:
        """Queue a record; the future completes once the record is durable or refused."""
        future: Future[Receipt] = Future()
        try:
            self.submit_to(record, _FUTURES, future)
        except AsepsisError as error:
            future.set_exception(error)
        return future

    def submit_to(self, record: Append, sink: Sink, token: object) -> None:
        """Queue a record like `submit`; its result goes to `sink` under `token`.

        Raises:
            InputError: A field outside its range, or a lane not kept here.
            LimitExceeded: Body too large.
            BackPressure: The lane's queue is full.
            Unavailable: The journal is closed.
        """
        check_record(record, self._lanes)
        part = _WAVEFORM if record.account is Account.WAVEFORM else _SIGNED
        self._shards[part].intake.offer(record, sink, token)

    def listen(self, grown: Callable[[Mapping[Lane, int]], None]) -> None:
        """Call `grown` after each group, in the writer's thread, with the new end of each lane."""
        self._listeners = (*self._listeners, grown)

    def account(self, account: Account, producer: str, epoch: int) -> AccountState:
        """Return what was received on an account; zeros if nothing was."""
        state = self._home(account).account((account, producer, epoch))
        return AccountState(state.highest, tuple((gap.first, gap.last) for gap in state.gaps))

    def abandon(
        self, account: Account, producer: str, epoch: int, *, through: int
    ) -> Sequence[tuple[int, int]]:
        """Give up durably what is missing up to `through`; return the lost ranges, ascending.

        Raises:
            NotFound: Nothing was ever received on the account.
        """
        return self._home(account).abandon((account, producer, epoch), through)

    def read(self, lane: Lane, *, after: int, records_max: int) -> Sequence[Record]:
        """Return durable records with position > `after`, ascending.

        Raises:
            InputError: A lane not kept here.
            SignatureInvalid: A stored record was changed.
        """
        self._check_lane(lane)
        through = self._end(lane)
        count = max(0, min(records_max, self._limits.read_records_max))
        found = [
            record
            for shard in self._holding(lane)
            for record in shard.readers.read(lane, after=after, through=through, records_max=count)
        ]
        return self._merged(lane, found, count)

    def register(self, consumer: str, lanes: Mapping[Lane, bool]) -> None:
        """Create or change a consumer; True marks a lane whose delivery is mandatory.

        It has cursors in exactly these lanes afterwards; those it had keep their place, new ones
        stand before the first record held.

        Raises:
            InputError: A lane not kept here, or a name out of bounds.
            LimitExceeded: Too many consumers.
        """
        if not (0 < len(consumer) <= PRODUCER_CHARS_MAX and consumer.isprintable()):
            raise InputError(f"a consumer has 1 to {PRODUCER_CHARS_MAX} printable characters")
        for lane in lanes:
            self._check_lane(lane)
        for part, shard in self._shards.items():
            shard.register(consumer, {la: lanes[la] for la in lanes if _cursor_part(la) == part})

    def pull(self, consumer: str, lane: Lane, *, records_max: int) -> Sequence[Record]:
        """Return the records after the consumer's durable cursor without moving it.

        Raises:
            NotFound: Unknown consumer, or a lane it is not registered for.
            SignatureInvalid: A stored record was changed.
        """
        return self.read(lane, after=self.cursor(consumer, lane), records_max=records_max)

    def cursor(self, consumer: str, lane: Lane) -> int:
        """Return the durable cursor of a consumer.

        Raises:
            NotFound: Unknown consumer, or a lane it is not registered for.
        """
        cursor = self._shards[_cursor_part(lane)].ledger.cursors.get((consumer, lane))
        if cursor is None:
            raise NotFound(f"consumer {consumer!r} is not registered for lane {lane.value}")
        return cursor.position

    def commit(self, consumer: str, lane: Lane, position: int) -> None:
        """Move the consumer's cursor durably to `position`; a lower value is ignored.

        Raises:
            NotFound: Unknown consumer or lane.
            InputError: Position beyond the end of the stream.
        """
        future: Future[Receipt] = Future()
        self.commit_to(consumer, lane, position, _FUTURES, future)
        future.result()

    def commit_to(
        self, consumer: str, lane: Lane, position: int, sink: Sink, token: object
    ) -> None:
        """Queue a `commit`; the sink gets a receipt at position 0 once the cursor is durable.

        Raises:
            NotFound: Unknown consumer or lane.
            InputError: Position beyond the end of the stream.
            Unavailable: The journal is closed.
        """
        self.cursor(consumer, lane)
        if not 0 <= position <= self._end(lane):
            raise InputError(f"lane {lane.value} ends at {self._end(lane)}, not {position}")
        move = Move(consumer, lane, position, sink, token)
        self._shards[_cursor_part(lane)].intake.move(move)

    def expire(self, now_ns: int) -> Mapping[Lane, int]:
        """Remove what is older than its lane's age and delivered; destroy keys of empty days."""
        return {
            lane: sum(shard.expire(lane, now_ns) for shard in self._holding(lane))
            for lane in self._lanes
        }

    def status(self) -> Mapping[Lane, LaneStatus]:
        """Return the fill level of every lane."""
        return {lane: self._status(lane) for lane in self._lanes}

    @property
    def disk_pressed(self) -> bool:
        """Whether the disk is full and only alerts are taken, on the space of the reserve."""
        return self._reserve.pressed

    def close(self) -> None:
        """Make what is queued durable and release every resource; may be called again."""
        for shard in self._shards.values():
            shard.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _open_even_if_full(self, path: Path, cipher: RecordCipher) -> dict[str, Shard]:
        """Open the files; a full disk must not keep a hub from taking alerts after a restart."""
        try:
            return self._open(path, cipher)
        except sqlite3.Error as error:
            if not isinstance(translate(error), BackPressure):
                raise
        self._reserve.release()
        return self._open(path, cipher)

    def _open(self, path: Path, cipher: RecordCipher) -> dict[str, Shard]:
        held = {
            _SIGNED: {la: b for la, b in self._lanes.items() if la is not Lane.WAVEFORM},
            _WAVEFORM: {la: b for la, b in self._lanes.items() if la in _WAVEFORM_LANES},
        }
        connections: dict[str, sqlite3.Connection] = {}
        try:
            for part, lanes in held.items():
                connections[part] = open_writer(path / f"{part}.db", lanes)
            self._late = LateOrder(max(_late_end(c) for c in connections.values()))
            shards = {
                part: self._shard(
                    path, connections[part], Rules(part, lanes, self._limits, cipher, self._late)
                )
                for part, lanes in held.items()
            }
        except BaseException:
            for connection in connections.values():
                connection.close()
            raise
        sync_folder(path.parent)
        return shards

    def _shard(self, path: Path, connection: sqlite3.Connection, rules: Rules) -> Shard:
        return Shard(
            path / f"{rules.part}.db",
            connection,
            rules=rules,
            reserve=self._reserve,
            grown=self._grown,
            delivered=lambda lane: self._shards[_cursor_part(lane)].ledger.delivered(lane),
        )

    def _grown(self, positions: Mapping[Lane, int]) -> None:
        if Lane.LATE in positions:
            positions = {**positions, Lane.LATE: self._late.visible()}
        for listener in self._listeners:
            listener(positions)

    def _home(self, account: Account) -> Shard:
        return self._shards[_WAVEFORM if account is Account.WAVEFORM else _SIGNED]

    def _holding(self, lane: Lane) -> list[Shard]:
        if lane is Lane.LATE:
            return list(self._shards.values())
        return [self._shards[_cursor_part(lane)]]

    def _end(self, lane: Lane) -> int:
        if lane is Lane.LATE:
            return self._late.visible()
        return self._shards[_cursor_part(lane)].ledger.streams[lane].last

    def _merged(self, lane: Lane, found: list[Record], count: int) -> Sequence[Record]:
        if lane is Lane.LATE:
            found.sort(key=lambda record: record.position)
        return found[:count]

    def _status(self, lane: Lane) -> LaneStatus:
        shards = self._holding(lane)
        last = self._end(lane)
        firsts = [first for shard in shards if (first := shard.first(lane))]
        delivered = self._shards[_cursor_part(lane)].ledger.delivered(lane)
        return LaneStatus(
            first=min(firsts, default=0),
            last=last,
            bytes_held=sum(shard.ledger.streams[lane].byte_count for shard in shards),
            bytes_budget=self._lanes[lane].bytes_max * len(shards),
            undelivered=0 if delivered is None else max(0, last - delivered),
        )

    def _check_lane(self, lane: Lane) -> None:
        if lane not in self._lanes:
            raise InputError(f"this journal keeps no lane {lane.value}")


_WAVEFORM_LANES: Final = frozenset({Lane.WAVEFORM, Lane.LATE})


def _cursor_part(lane: Lane) -> str:
    return _WAVEFORM if lane is Lane.WAVEFORM else _SIGNED


def _late_end(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT last FROM stream WHERE lane=?", (Lane.LATE.value,)).fetchone()
    return 0 if row is None else row[0]


def _lock_folder(path: Path) -> int:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(
            f"{path}: another process has this journal open", hint="stop it first"
        ) from error
    return descriptor
