"""Makes blocks: rows grow in memory, are read there at once, and go to disk when they are over.

The journal is what is durable; a row in memory is lost with the process and projected again. The
position that is written is the last one of which everything is on disk, so a crash costs time and
nothing else.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from asepsis.core.errors import InputError
from asepsis.core.journal.ports import Record
from asepsis.core.model.lanes import Lane
from asepsis.hub.records import entries as entry_codec
from asepsis.hub.records import entries_frames
from asepsis.hub.records.index import Index, Metric
from asepsis.hub.records.kinds import CUTS, Kind, Retention, day_of
from asepsis.hub.records.partitions import Partitions, Row
from asepsis.hub.records.projection import LANES, Placed, Projection

QUIET_NS: Final = 3_000_000_000
"""A row goes to disk when its stretch is over and nothing came to it for so long."""
OPEN_NS_MAX: Final = 120_000_000_000
"""... or when it has been in memory for so long, whatever comes; it merges again later."""
OPEN_BYTES_MAX: Final = 512 * 1024 * 1024
"""Entries in memory; beyond it everything goes to disk at once."""
FLUSH_ROWS_MIN: Final = 256
FLUSH_PARTS: Final = 6
"""Rows written at once: at least so many, else one part in so many of those that are ready, so that
a minute's end of a thousand beds is spread over some rounds."""
LAGS_KEPT: Final = 4_000

log = structlog.get_logger("records")


@dataclass(slots=True)
class _Open:
    """A row in memory: its entries, when it was opened and last grew, and what it holds up."""

    opened_ns: int
    touched_ns: int = 0
    entries: list[bytes] = field(default_factory=list[bytes])
    firsts: dict[Lane, int] = field(default_factory=dict[Lane, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far the record is behind the journal.

    Attributes:
        now_s: Age of the oldest record that is not projected yet; 0 if there is none.
        p99_s: 99th percentile over the last records: arrival to readable.
        records: Records that wait.
    """

    now_s: float
    p99_s: float
    records: int


class Projector:
    """One for a record; `take` and `flush` belong to one thread, readers may be any.

    Args:
        partitions: Where blocks go.
        index: Where positions and metrics go.
        projection: Reads records.
        retention: How long each kind is kept.
        clock: Wall time, nanoseconds since 1970.
        give_way: Called before each record that is projected; returns when it may go on.
    """

    def __init__(
        self,
        partitions: Partitions,
        index: Index,
        *,
        projection: Projection,
        retention: Retention,
        clock: Callable[[], int],
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self._give_way = give_way
        self._partitions = partitions
        self._index = index
        self._projection = projection
        self._retention = retention
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[Kind, dict[Row, _Open]] = {kind: {} for kind in Kind}
        self._by_device: dict[Kind, dict[str, set[int]]] = {kind: {} for kind in Kind}
        self._bytes = 0
        self._taken = {lane: index.positions.get(lane, 0) for lane in LANES}
        self._lags: deque[float] = deque(maxlen=LAGS_KEPT)
        self.skipped = 0
        """Records that could not be read since this process started: a mistake of ours."""

    def position(self, lane: Lane) -> int:
        """Return up to where a lane is readable here."""
        return self._taken[lane]

    def durable(self) -> dict[Lane, int]:
        """Return up to where everything of each lane is in blocks on disk."""
        return dict(self._index.positions)

    def take(self, lane: Lane, records: Sequence[Record]) -> None:
        """Project records of one lane, ascending; they are readable when this returns."""
        if not records:
            return
        now_ns = self._clock()
        first_days = {kind: self._retention.first_day(kind, now_ns) for kind in Kind}
        placed = [(r.position, found) for r in records for found in self._read(r)]
        with self._lock:
            for position, found in placed:
                if day_of(found.kind, found.slot) >= first_days[found.kind]:
                    self._put(lane, position, found, now_ns)
        self._taken[lane] = records[-1].position
        done_ns = self._clock()
        self._lags.extend((done_ns - r.append.received_at_ns) / 1e9 for r in records)

    def rewind(self, lane: Lane) -> None:
        """Take a lane from its beginning again; what is there already is not doubled."""
        self._taken[lane] = 0

    def skip(self, lane: Lane, position: int) -> None:
        """Note that there is nothing up to a position of a lane."""
        self._taken[lane] = max(self._taken[lane], position)

    def flush(self, *, everything: bool = False) -> int:
        """Write rows that are over; return how many.

        Raises:
            TransientError: The disk is full or failed; the rows stay in memory.
        """
        now_ns = self._clock()
        everything = everything or self._bytes > OPEN_BYTES_MAX
        seen: dict[Metric, int] = {}
        count = 0
        for kind in Kind:
            rows = self._due(kind, now_ns, everything=everything)
            count += len(rows)
            self._partitions.merge(
                kind, {row: (open_.touched_ns, open_.entries) for row, open_ in rows.items()}
            )
            _note_metrics(kind, rows, seen)
            self._drop(kind, rows)
        positions = self._settled()
        if seen or positions != self._index.positions:
            self._index.commit(positions, seen)
        return count

    def open_entries(
        self, kind: Kind, device: str, *, first: int, last: int
    ) -> dict[int, list[bytes]]:
        """Return slot -> entries of a device that are in memory."""
        with self._lock:
            slots = self._by_device[kind].get(device, ())
            return {
                slot: list(self._rows[kind][device, slot].entries)
                for slot in slots
                if first <= slot <= last
            }

    def devices(self) -> set[str]:
        """Return the devices that have something in memory."""
        with self._lock:
            return {device for found in self._by_device.values() for device in found}

    def open_metrics(self, device: str) -> set[Metric]:
        """Return the metrics of a device that are in memory."""
        found: set[Metric] = set()
        for kind in (Kind.NUMERICS, Kind.WAVEFORMS):
            with self._lock:
                slots = self._by_device[kind].get(device, ())
                stored = [e for slot in slots for e in self._rows[kind][device, slot].entries]
            found |= metrics_in(kind, device, stored)
        return found

    def lag(self, ends: Mapping[Lane, int], *, oldest_ns: int | None) -> Lag:
        """Say how far the record is behind.

        Args:
            ends: End of each lane.
            oldest_ns: Time of arrival of the oldest record that waits, None if none does.
        """
        lags = sorted(self._lags)
        return Lag(
            now_s=0.0 if oldest_ns is None else max(0.0, (self._clock() - oldest_ns) / 1e9),
            p99_s=lags[len(lags) * 99 // 100] if lags else 0.0,
            records=sum(max(0, ends.get(lane, 0) - self._taken[lane]) for lane in LANES),
        )

    def _read(self, record: Record) -> Iterator[Placed]:
        self._give_way()
        try:
            yield from self._projection(record)
        except InputError as error:
            # It was checked when it arrived, so this is our own mistake; one record that cannot
            # be read must not keep all others out of the record.
            self.skipped += 1
            log.warning("unreadable record", kind=record.append.kind, code=error.code)

    def _put(self, lane: Lane, position: int, placed: Placed, now_ns: int) -> None:
        rows, row = self._rows[placed.kind], (placed.device, placed.slot)
        open_ = rows.get(row)
        if open_ is None:
            open_ = rows[row] = _Open(now_ns)
            self._by_device[placed.kind].setdefault(placed.device, set()).add(placed.slot)
        open_.entries.append(placed.entry)
        open_.touched_ns = max(open_.touched_ns, placed.received_at_ns)
        open_.firsts.setdefault(lane, position)
        self._bytes += len(placed.entry)

    def _due(self, kind: Kind, now_ns: int, *, everything: bool) -> dict[Row, _Open]:
        slot_ns = CUTS[kind].slot_ns
        rows = self._rows[kind]
        if everything:
            return dict(rows)
        over = {
            row: open_
            for row, open_ in rows.items()
            if now_ns - open_.opened_ns > OPEN_NS_MAX
            or now_ns > QUIET_NS + max((row[1] + 1) * slot_ns, open_.touched_ns)
        }
        most = max(FLUSH_ROWS_MIN, len(over) // FLUSH_PARTS)
        return over if len(over) <= most else dict(list(over.items())[:most])

    def _drop(self, kind: Kind, rows: Mapping[Row, _Open]) -> None:
        with self._lock:
            for row, open_ in rows.items():
                device, slot = row
                del self._rows[kind][row]
                slots = self._by_device[kind][device]
                slots.discard(slot)
                if not slots:
                    del self._by_device[kind][device]
                self._bytes -= sum(map(len, open_.entries))

    def _settled(self) -> dict[Lane, int]:
        settled = dict(self._taken)
        for rows in self._rows.values():
            for open_ in rows.values():
                for lane, first in open_.firsts.items():
                    settled[lane] = min(settled[lane], first - 1)
        return settled


def _note_metrics(kind: Kind, rows: Mapping[Row, _Open], seen: dict[Metric, int]) -> None:
    """Collect the metrics of rows, each with the last slot it was in."""
    for (device, slot), open_ in rows.items():
        for found in metrics_in(kind, device, open_.entries):
            seen[found] = max(slot, seen.get(found, -1))


def metrics_in(kind: Kind, device: str, entries: Iterable[bytes]) -> set[Metric]:
    """Return the metrics that entries of numerics or waveforms hold."""
    if kind is Kind.NUMERICS:
        shapes = {entry_codec.codes_of(entry): entry for entry in entries}
        return {
            Metric(device, 0, *row)
            for entry in shapes.values()
            for row in entry_codec.metrics_of(entry)
        }
    if kind is Kind.WAVEFORMS:
        waves = {entries_frames.wave_of(entry) for entry in entries}
        return {Metric(device, 1, *wave) for wave in waves if wave is not None}
    return set()
