"""Searches over blocks on disk and rows in memory, in the order of measurement."""

import hashlib
import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from asepsis.hub.records import entries, entries_alarms, rules
from asepsis.hub.records.entries import Origin, Source, Value
from asepsis.hub.records.entries_alarms import StoredAlarm
from asepsis.hub.records.entries_frames import StoredFrame
from asepsis.hub.records.kinds import CUTS, Kind, slot_of
from asepsis.hub.records.partitions import Partitions
from asepsis.hub.records.projector import Projector
from asepsis.hub.records.queries import Scope

SCAN_ROWS_MAX: Final = 1_500
"""Rows looked at for one page; a page that ends there says where to go on."""
DIGEST_BYTES: Final = 16
BEFORE_SLOTS: Final = 2
"""A value lies up to 65.5 s after the start of its entry, so in one of the next two minutes."""

Key = tuple[int | str | bytes, ...]
"""What orders results: time first, then whatever makes it unlike any other."""


class Found(NamedTuple):
    """One result.

    Attributes:
        key: Its place in the order.
        device: Name of the device.
        item: What it is.
        patient: Whose it certainly is, `authority|value`, or None.
    """

    key: Key
    device: str
    item: Value | StoredAlarm | StoredFrame
    patient: str | None


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a result.

    Attributes:
        found: In order.
        resume: Key after which the rest begins; None at the end.
    """

    found: list[Found]
    resume: Key | None


class Search:
    """Reads a record.

    Args:
        partitions: Blocks on disk.
        projector: Rows in memory.
    """

    def __init__(self, partitions: Partitions, projector: Projector) -> None:
        self._partitions = partitions
        self._projector = projector

    def page(self, kind: Kind, scope: Scope, *, after: Key, count: int) -> Slice:
        """Return the next results after a key, at most `count`.

        Raises:
            SignatureInvalid: A block was changed.
            TransientError: The disk failed.
        """
        found: list[Found] = []
        for result in self._in_order(kind, scope, after):
            if not isinstance(result, Found):
                return Slice(found, result)
            found.append(result)
            if len(found) > count:
                return Slice(found[:count], found[count - 1].key)
        return Slice(found, None)

    def _in_order(self, kind: Kind, scope: Scope, after: Key) -> Iterator[Found | Key]:
        """Yield results by key; a bare key, as the last one, says that the rest begins there."""
        from_ns = max(scope.from_ns, int(after[0])) if after else scope.from_ns
        rows = heapq.merge(*(self._rows_by_slot(kind, d, scope, from_ns) for d in scope.devices))
        judge, items, slot_ns = Judge(scope), Items(kind, scope), CUTS[kind].slot_ns
        waiting: list[tuple[Key, int, Found]] = []
        number = itertools.count()
        for scanned, (slot, device, stored) in enumerate(rows):
            border_ns = slot * slot_ns
            yield from _taken(waiting, border_ns)
            if scanned >= SCAN_ROWS_MAX and border_ns > from_ns:
                yield (border_ns,)
                return
            for key, item in items.of(device, stored):
                if from_ns <= int(key[0]) < scope.to_ns and key > after:
                    result = judge(key, device, item)
                    if result is not None:
                        # The number keeps two that are equal in all from being compared.
                        heapq.heappush(waiting, (key, next(number), result))
        yield from _taken(waiting, rules.FOREVER_NS)

    def rows(
        self,
        kind: Kind,
        device: str,
        *,
        first: int,
        last: int,
        received_ns: int = 0,
        newest_first: bool = False,
    ) -> Iterator[tuple[int, list[bytes]]]:
        """Yield slot and entries of a device, from disk and memory as one."""
        # Memory first: what goes to disk meanwhile is found there too, and counts once.
        open_ = self._projector.open_entries(kind, device, first=first, last=last)
        waiting = sorted(open_, reverse=not newest_first)
        stored = self._partitions.read(
            kind, device, first=first, last=last, received_ns=received_ns,
            newest_first=newest_first,
        )  # fmt: skip
        sign = -1 if newest_first else 1
        for slot, found in stored:
            while waiting and sign * waiting[-1] < sign * slot:
                yield waiting[-1], open_[waiting.pop()]
            if waiting and waiting[-1] == slot:
                waiting.pop()
                found = list({*found, *open_[slot]})  # noqa: PLW2901 - the union is the row
            yield slot, found
        while waiting:
            yield waiting[-1], open_[waiting.pop()]

    def in_memory(
        self, kind: Kind, device: str, *, first: int, last: int
    ) -> dict[int, list[bytes]]:
        """Return slot -> entries of a device that are not on disk yet."""
        return self._projector.open_entries(kind, device, first=first, last=last)

    def _rows_by_slot(
        self, kind: Kind, device: str, scope: Scope, from_ns: int
    ) -> Iterator[tuple[int, str, list[bytes]]]:
        first = max(0, slot_of(kind, from_ns) - BEFORE_SLOTS)
        last = slot_of(kind, scope.to_ns - 1)
        for slot, stored in self.rows(
            kind, device, first=first, last=last, received_ns=scope.received_from_ns
        ):
            yield slot, device, stored


class Judge:
    """Says which items are in a scope, and whose they are."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._codes, self._handles = frozenset(scope.codes), frozenset(scope.handles)
        self._claims: dict[str, list[rules.Claim]] = {}
        for claim in scope.claims:
            self._claims.setdefault(claim.device, []).append(
                rules.Claim(patient=claim.patient, start_ns=claim.start_ns, end_ns=claim.end_ns)
            )

    def __call__(
        self, key: Key, device: str, item: Value | StoredAlarm | StoredFrame
    ) -> Found | None:
        """Return the result that an item is, or None if it is not in the scope."""
        scope = self._scope
        handle, code, received_ns, span = _facts(item)
        if self._codes and code not in self._codes:
            return None
        if self._handles and handle not in self._handles:
            return None
        if not scope.received_from_ns <= received_ns < scope.received_to_ns:
            return None
        patient = rules.patient_of(self._claims.get(device, ()), span)
        if scope.patient is not None and patient != scope.patient:
            return None
        return Found(key, device, item, patient if scope.show_patients else None)


def _facts(item: Value | StoredAlarm | StoredFrame) -> tuple[int, int, int, tuple[int, int]]:
    """Return handle, code, time of arrival and the span of an item."""
    if isinstance(item, Value):
        received_ns = item.origin.received_at_ns
        return item.row[0], item.row[1], received_ns, rules.span_of_value(item)
    if isinstance(item, StoredAlarm):
        first = min(item.t_ns, item.device_time_ns)
        span = rules.span_of_arrival(first, item.received_at_ns)
        return item.event.source_handle, item.event.mdc_code, item.received_at_ns, span
    frame = item.frame
    end_ns = frame.wall_ns + frame.sample_count * frame.metric.period_ns
    span = (
        min(frame.wall_ns, item.received_at_ns),
        max(end_ns, item.received_at_ns),
    )
    return frame.handle, frame.metric.mdc_code, item.received_at_ns, span


class Items:
    """Reads the items of rows, each with its key.

    Args:
        kind: Numerics or alarms.
        scope: What is wanted; the rest is not even built.
    """

    def __init__(self, kind: Kind, scope: Scope) -> None:
        self._kind = kind
        self._codes, self._handles = frozenset(scope.codes), frozenset(scope.handles)
        self._batches: set[tuple[str, int, int]] = set()

    def of(self, device: str, stored: Sequence[bytes]) -> Iterator[tuple[Key, Value | StoredAlarm]]:
        """Yield the items of one row; rows of a device come in the order of their slots."""
        if self._kind is Kind.ALARMS:
            for entry in stored:
                alarm = entries_alarms.alarm_of(entry)
                # Not the entry itself: keys stand in addresses, and a text can name a patient.
                digest = hashlib.sha256(entry).digest()[:DIGEST_BYTES]
                yield (alarm.t_ns, device, digest), alarm
            return
        for value in self.values(device, stored):
            yield value_key(device, value), value

    def values(self, device: str, stored: Sequence[bytes]) -> Iterator[Value]:
        """Yield the values of a row, without those of bundles that only repeat a signed batch."""
        for entry in self.shown(device, stored):
            yield from entries.values_of(entry, codes=self._codes, handles=self._handles)

    def shown(self, device: str, stored: Sequence[bytes]) -> list[bytes]:
        """Return the entries of a row of numerics but those that only repeat a signed batch."""
        origins = [(entry, entries.origin_of(entry)) for entry in stored]
        self._batches.update(
            (device, o.epoch, o.sequence) for _, o in origins if o.source is Source.BATCH
        )
        return [
            entry
            for entry, o in origins
            if o.source is not Source.BESIDE or (device, o.epoch, o.sequence) not in self._batches
        ]


def _taken(waiting: list[tuple[Key, int, Found]], border_ns: int) -> Iterator[Found]:
    """Yield and remove what was measured before a moment, in order."""
    while waiting and int(waiting[0][0][0]) < border_ns:
        yield heapq.heappop(waiting)[2]


def value_key(device: str, value: Value) -> Key:
    """Return the place of a value in the order of results."""
    origin: Origin = value.origin
    return (
        value.t_ns,
        device,
        int(origin.source),
        origin.producer_tag,
        origin.epoch,
        origin.sequence,
        origin.start_ns,
        value.place,
        *value.row,
    )
