"""Makes a record anew from the journal, beside the old one, and keeps what the journal has lost.

The journal holds days, the record months. What came before the first record that the journal still
holds cannot be made anew, so it is carried over from the old blocks; everything since is made from
the journal alone.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import FramingError, NotFound, SignatureInvalid
from asepsis.core.journal.ports import Journal
from asepsis.core.model.lanes import Lane
from asepsis.hub.records import entries_kinds
from asepsis.hub.records.keeper import Keeper
from asepsis.hub.records.kinds import Kind
from asepsis.hub.records.partitions import Partitions, Row
from asepsis.hub.records.projection import LANES
from asepsis.hub.records.projector import metrics_in

RECORDS_AT_ONCE: Final = 500
NEW: Final = "records.new"
OLD: Final = "records.old"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done.

    Attributes:
        records: Records of the journal that were projected.
        carried_rows: Rows of which something was carried over.
        lost_rows: Rows of the old record that could not be read; what the journal holds of them was
            made anew.
    """

    records: int
    carried_rows: int
    lost_rows: int


def rebuild(
    folder: Path,
    journal: Journal,
    *,
    open_keeper: Callable[[Path], Keeper],
    open_old: Callable[[Path], Partitions],
) -> Outcome:
    """Make the record of a stopped hub anew; the old one is replaced when all is durable.

    Args:
        folder: The record's folder.
        journal: Open, with nobody else writing.
        open_keeper: Opens a new record in a folder.
        open_old: Opens the blocks of the old one.

    Raises:
        TransientError: The disk failed or is full: the old record stays as it was.
    """
    recover(folder)
    new = folder.with_name(NEW)
    shutil.rmtree(new, ignore_errors=True)
    keeper = open_keeper(new)
    try:
        records = sum(_project(keeper, journal, lane) for lane in LANES)
        carried, lost = (0, 0)
        if folder.exists():
            old = open_old(folder)
            carried, lost = _carry(old, keeper, before_ns=_held_from_ns(journal))
            old.close()
        keeper.flush(everything=True)
    finally:
        keeper.close()
    old_folder = folder.with_name(OLD)
    shutil.rmtree(old_folder, ignore_errors=True)
    if folder.exists():
        folder.rename(old_folder)
    new.rename(folder)
    shutil.rmtree(old_folder, ignore_errors=True)
    return Outcome(records=records, carried_rows=carried, lost_rows=lost)


def recover(folder: Path) -> None:
    """Bring the old record back if a rebuild was cut off just before it put the new one there."""
    old = folder.with_name(OLD)
    if old.exists() and not folder.exists():
        old.rename(folder)


def _project(keeper: Keeper, journal: Journal, lane: Lane) -> int:
    after = count = 0
    while records := journal.read(lane, after=after, records_max=RECORDS_AT_ONCE):
        keeper.take(lane, list(records))
        keeper.flush()
        after, count = records[-1].position, count + len(records)
    return count


def _held_from_ns(journal: Journal) -> int:
    """Return the time of arrival from which on the journal holds every record of every lane.

    Carrying over too much costs nothing: what the journal holds too is the same entry.
    """
    held_from_ns = 0
    for lane, status in journal.status().items():
        first = journal.read(lane, after=0, records_max=1) if lane in LANES else ()
        if first:
            held_from_ns = max(held_from_ns, first[0].append.received_at_ns)
        elif lane in LANES and status.last:
            return (1 << 63) - 1  # All of it has expired, nobody knows when.
    return held_from_ns


def _carry(old: Partitions, keeper: Keeper, *, before_ns: int) -> tuple[int, int]:
    carried = lost = 0
    for kind in Kind:
        for day in old.days(kind):
            for device in old.devices(kind, day):
                rows, unread = _old_rows(old, kind, device, day, before_ns)
                lost += unread
                carried += len(rows)
                keeper.partitions.merge(kind, rows)
                _note(keeper, kind, device, rows)
    return carried, lost


def _old_rows(
    old: Partitions, kind: Kind, device: str, day: int, before_ns: int
) -> tuple[dict[Row, tuple[int, list[bytes]]], int]:
    rows: dict[Row, tuple[int, list[bytes]]] = {}
    unread = 0
    for slot in old.slots(kind, device, day):
        try:
            stored = [e for _, found in old.read(kind, device, first=slot, last=slot)
                      for e in found]  # fmt: skip
            kept = [e for e in stored if entries_kinds.received_ns(kind.value, e) < before_ns]
        except (SignatureInvalid, FramingError, NotFound):
            unread += 1
            continue
        if kept:
            rows[device, slot] = (max(entries_kinds.received_ns(kind.value, e) for e in kept), kept)
    return rows, unread


def _note(
    keeper: Keeper, kind: Kind, device: str, rows: dict[Row, tuple[int, list[bytes]]]
) -> None:
    seen = {
        metric: slot
        for (_, slot), (_, kept) in sorted(rows.items())
        for metric in metrics_in(kind, device, kept)
    }
    keeper.index.commit({}, seen)
