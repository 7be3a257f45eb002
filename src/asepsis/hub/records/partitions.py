"""Blocks on disk: one SQLite file for each kind and day, so that a day goes by removing a file.

A row holds one device and slot. Bodies are sealed under a key of the file's own (kind and day),
which is destroyed with it; names of devices and times stand in clear, as in the journal. Every
merge is read, union, write in one transaction, so doing it twice changes nothing.
"""

import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from asepsis.core.errors import BackPressure, NotFound, TransientError
from asepsis.core.journal.cipher import RecordCipher
from asepsis.hub.records.blocks import Group, content_hash, decode_groups, encode_block
from asepsis.hub.records.files import BUSY_S, open_writer
from asepsis.hub.records.kinds import CUTS, Kind, day_of, slots_per_day

VERSION: Final = 1
IDLE_MAX: Final = 8
"""Connections kept open for reading, over all files."""
PRAGMAS: Final = ("page_size=8192", "wal_autocheckpoint=2000")
_SLOT_BITS: Final = 16
_SCHEMA: Final = """
CREATE TABLE device (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE block (id INTEGER PRIMARY KEY, received INTEGER NOT NULL, body BLOB NOT NULL);
"""
_PUT: Final = "INSERT OR REPLACE INTO block VALUES (?, ?, ?)"
_SELECT: Final = (
    "SELECT block.id, body FROM block JOIN device ON device.name = ?"
    " WHERE block.id BETWEEN (device.id << 16) + ? AND (device.id << 16) + ? AND received >= ?"
    " ORDER BY block.id "
)

Row = tuple[str, int]
"""Name of a device and a slot."""


class Partitions:
    """The files of one record; one writer, any number of reading threads.

    Args:
        folder: Where they stand; made if absent, readable by its owner only.
        cipher: Seals the blocks; the scopes are the names of the kinds.
        give_way: Called before each row that is written; returns when it may go on.

    Resource handling:
        Holds connections until `close`.
    """

    def __init__(
        self, folder: Path, cipher: RecordCipher, *, give_way: Callable[[], None] = lambda: None
    ) -> None:
        self._give_way = give_way
        self._folder = folder
        self._cipher = cipher
        self._lock = threading.Lock()
        self._idle: list[tuple[Path, sqlite3.Connection]] = []
        self._writers: dict[Path, sqlite3.Connection] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def days(self, kind: Kind) -> list[int]:
        """Return the days of which there is a file, ascending."""
        names = (path.stem for path in self._folder.glob(f"{kind.value}.*.db"))
        return sorted(int(name.rpartition(".")[2]) for name in names)

    def merge(self, kind: Kind, rows: Mapping[Row, tuple[int, Iterable[bytes]]]) -> None:
        """Add entries to rows; durable when it returns, one transaction for each day.

        Args:
            kind: Of all rows.
            rows: Device and slot -> latest time of arrival, and entries.

        Raises:
            BackPressure: The disk is full: nothing of that day was stored.
            TransientError: The disk failed.
        """
        by_day: dict[int, list[Row]] = {}
        for row in sorted(rows):
            by_day.setdefault(day_of(kind, row[1]), []).append(row)
        for day, found in sorted(by_day.items()):
            with _translated(), self._writing(kind, day) as connection:
                for row in found:
                    self._give_way()
                    received_ns, entries = rows[row]
                    self._merge_row(connection, kind, row, received_ns, entries)

    def read(
        self,
        kind: Kind,
        device: str,
        *,
        first: int,
        last: int,
        received_ns: int = 0,
        newest_first: bool = False,
    ) -> Iterator[tuple[int, list[bytes]]]:
        """Yield slot and entries of a device, by slot; see `read_groups`."""
        for slot, groups in self.read_groups(
            kind,
            device,
            first=first,
            last=last,
            received_ns=received_ns,
            newest_first=newest_first,
        ):
            yield slot, [entry for group in groups for entry in group.entries()]

    def read_groups(
        self,
        kind: Kind,
        device: str,
        *,
        first: int,
        last: int,
        received_ns: int = 0,
        newest_first: bool = False,
    ) -> Iterator[tuple[int, list[Group]]]:
        """Yield slot and groups of entries of a device, by slot.

        Args:
            kind: Of record.
            device: Name.
            first: First slot.
            last: Last slot.
            received_ns: Leave out rows to which nothing came at or after this wall time.
            newest_first: Whether slots descend.

        Raises:
            SignatureInvalid: A block was changed.
            TransientError: The disk failed.
        """
        if first > last:
            return
        for day in self._days_between(kind, first, last, newest_first=newest_first):
            base = day * slots_per_day(kind)
            bounds = (max(first, base) - base, min(last, base + slots_per_day(kind) - 1) - base)
            path = self._path(kind, day)
            with _translated(), self._reading(path) as connection:
                rows = connection.execute(
                    _SELECT + ("DESC" if newest_first else "ASC"), (device, *bounds, received_ns)
                )
                for number, body in rows:
                    slot = base + (number & (1 << _SLOT_BITS) - 1)
                    with suppress(NotFound):  # It expired, key and all, while we were reading.
                        yield slot, self._open(kind, (device, slot), body)

    def expire(self, kind: Kind, *, first_day: int) -> int:
        """Remove the files of all days before one, keys first; return how many."""
        expired = [day for day in self.days(kind) if day < first_day]
        for day in expired:
            path = self._path(kind, day)
            self._cipher.destroy(kind.value, day)
            self._forget(path)
            for suffix in ("-wal", "-shm", ""):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        return len(expired)

    def byte_count(self, kind: Kind) -> int:
        """Return the bytes of disk that a kind takes."""
        total = 0
        for path in self._folder.glob(f"{kind.value}.*.db*"):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def content(self) -> dict[tuple[Kind, str, int], bytes]:
        """Return a hash of every row's set of entries: what a rebuilt record must equal."""
        found: dict[tuple[Kind, str, int], bytes] = {}
        for kind in Kind:
            for day in self.days(kind):
                base = day * slots_per_day(kind)
                for device in self.devices(kind, day):
                    for slot, entries in self.read(
                        kind, device, first=base, last=base + slots_per_day(kind) - 1
                    ):
                        found[kind, device, slot] = content_hash(entries)
        return found

    def devices(self, kind: Kind, day: int) -> list[str]:
        """Return the names of the devices of a file."""
        with _translated(), self._reading(self._path(kind, day)) as connection:
            rows = connection.execute("SELECT name FROM device ORDER BY name").fetchall()
        return [name for (name,) in rows]

    def slots(self, kind: Kind, device: str, day: int) -> list[int]:
        """Return the slots of a device in a file, ascending."""
        base = day * slots_per_day(kind)
        with _translated(), self._reading(self._path(kind, day)) as connection:
            rows = connection.execute(
                "SELECT block.id FROM block JOIN device ON device.name = ?"
                " WHERE block.id >> 16 = device.id ORDER BY block.id",
                (device,),
            ).fetchall()
        return [base + (number & (1 << _SLOT_BITS) - 1) for (number,) in rows]

    def close(self) -> None:
        """Close every connection; the last one of a file copies its log into it."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()
        for connection in self._writers.values():
            connection.close()
        self._writers.clear()

    def _merge_row(
        self,
        connection: sqlite3.Connection,
        kind: Kind,
        row: Row,
        received_ns: int,
        entries: Iterable[bytes],
    ) -> None:
        device, slot = row
        connection.execute("INSERT OR IGNORE INTO device (name) VALUES (?)", (device,))
        (number,) = connection.execute("SELECT id FROM device WHERE name=?", (device,)).fetchone()
        place = (number << _SLOT_BITS) + slot % slots_per_day(kind)
        stored = connection.execute(
            "SELECT received, body FROM block WHERE id=?", (place,)
        ).fetchone()
        whole = set(entries)
        if stored is not None:
            received_ns = max(received_ns, stored[0])
            whole.update(e for g in self._open(kind, row, stored[1]) for e in g.entries())
        block = encode_block(whole, CUTS[kind].order)
        sealed = self._cipher.seal(kind.value, day_of(kind, slot), _aad(kind, row), block)
        connection.execute(_PUT, (place, received_ns, sealed))

    def _open(self, kind: Kind, row: Row, body: bytes) -> list[Group]:
        day = day_of(kind, row[1])
        return decode_groups(self._cipher.open(kind.value, day, _aad(kind, row), body))

    def _path(self, kind: Kind, day: int) -> Path:
        return self._folder / f"{kind.value}.{day}.db"

    def _days_between(self, kind: Kind, first: int, last: int, *, newest_first: bool) -> list[int]:
        days = [d for d in self.days(kind) if day_of(kind, first) <= d <= day_of(kind, last)]
        return days[::-1] if newest_first else days

    @contextmanager
    def _writing(self, kind: Kind, day: int) -> Generator[sqlite3.Connection]:
        path = self._path(kind, day)
        connection = self._writers.get(path)
        if connection is None:
            if len(self._writers) >= IDLE_MAX:
                self._writers.pop(next(iter(self._writers))).close()
            connection = self._writers[path] = open_writer(
                path, schema=_SCHEMA, version=VERSION, pragmas=PRAGMAS
            )
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _reading(self, path: Path) -> Generator[sqlite3.Connection]:
        with self._lock:
            at = next((i for i, (name, _) in enumerate(self._idle) if name == path), None)
            lent = self._idle.pop(at)[1] if at is not None else None
        if lent is None:
            lent = _open_reader(path)
        try:
            yield lent
        finally:
            with self._lock:
                self._idle.append((path, lent))
                over = self._idle.pop(0)[1] if len(self._idle) > IDLE_MAX else None
            if over is not None:
                over.close()

    def _forget(self, path: Path) -> None:
        with self._lock:
            gone = [c for name, c in self._idle if name == path]
            self._idle = [(name, c) for name, c in self._idle if name != path]
        writer = self._writers.pop(path, None)
        for connection in (*gone, *(() if writer is None else (writer,))):
            connection.close()


def _aad(kind: Kind, row: Row) -> bytes:
    device, slot = row
    return f"asepsis record 1\0{kind.value}\0{device}\0{slot}".encode()


def _open_reader(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{path}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_S,
    )
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            raise BackPressure("the disk is full: the record waits", retry_after_s=10) from error
        raise TransientError(f"the record could not be read or written: {error}") from error
    except OSError as error:
        raise TransientError(f"the record could not be read or written: {error}") from error
