"""One metric over time, thinned for a chart. Pure.

A day of one metric is 86,400 values in 1,440 blocks: they are read column by column, without making
an object of each, and whose they are is asked once of a column where one answer holds for all of
it. What does not stand in even columns, or is doubtful, is read entry by entry, with the same
result.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.model.time import UNSYNCHRONISED_MS
from asepsis.core.wire import float_type
from asepsis.hub.records import entries, rules
from asepsis.hub.records.blocks import Group, Order
from asepsis.hub.records.entries import NS_PER_MS, Mark, Source

GOOD: Final = frozenset({MeasurementStatus.VALID, MeasurementStatus.QUESTIONABLE})
"""What a chart shows as a number; everything else is a gap."""
_SHOWN: Final = bytes(sorted(map(int, GOOD)))
_DOUBTFUL: Final = bytes(
    marks for marks in range(256) if marks & (Mark.CLOCK | Mark.AMBIGUOUS | Mark.OTHER_PATIENT)
)
_BESIDE: Final = bytes([Source.BESIDE])
_HANDLE_BYTES: Final = 2
_SHAPES_KEPT: Final = 512
"""Layouts of blocks that are remembered: a device sends the same metrics in the same order."""

Sample = tuple[int, float | None]
Columns = tuple[Sequence[int], Sequence[float | None]]
"""Times and, as many, numbers."""
Stretches = Sequence[tuple[int, int]]


class Numbers(dict[int, "float | None"]):
    """FLOAT-Types as numbers, None for what is none; a metric has few different ones."""

    def __missing__(self, raw: int) -> float | None:
        """Read one that was not seen yet."""
        self[raw] = float_type.to_float(raw) if float_type.is_number(raw) else None
        return self[raw]

    def of(self, raw: int, status: int) -> float | None:
        """Return the number, None if it is none or its status forbids to take it for one."""
        return self[raw] if status in _SHOWN else None


def samples_of(
    groups: Iterable[Group], *, handle: int, stretches: Stretches | None, numbers: Numbers
) -> Iterator[Columns]:
    """Yield times and numbers (or None) of one metric of a row.

    What bundles repeat of signed batches is left out.

    Args:
        groups: Of the row.
        handle: Which metric.
        stretches: Only what certainly lies in one of them; None for everything.
        numbers: Shared by all rows.
    """
    for group in groups:
        places = _even_places(group, handle)
        if places is None:
            yield entry_samples(
                group.entries(), handle=handle, stretches=stretches, numbers=numbers
            )
        else:
            for at in places:
                yield _column_samples(group, at, stretches, numbers)


def entry_samples(
    stored: Iterable[bytes], *, handle: int, stretches: Stretches | None, numbers: Numbers
) -> Columns:
    """Return the same of entries that stand by themselves."""
    wanted = frozenset({handle})
    times: list[int] = []
    found: list[float | None] = []
    for entry in stored:
        if entries.source_of(entry) is not Source.BESIDE:
            for value in entries.values_of(entry, handles=wanted):
                if stretches is None or _within(stretches, rules.span_of_value(value)):
                    times.append(value.t_ns)
                    found.append(numbers.of(value.row[3], value.row[4]))
    return times, found


def _even_places(group: Group, handle: int) -> Sequence[int] | None:
    """Return where a metric stands in every entry; None if columns cannot be read for all."""
    if group.order is not Order.COLUMNS or _has(group.column(entries.SOURCE_AT), _BESIDE):
        return None
    if _has(group.column(entries.MARKS_AT), _DOUBTFUL):
        return None
    content, rows = group.content, group.rows
    shape = b"".join(
        content[at * rows : (at + _HANDLE_BYTES) * rows]
        for at in range(entries.META_BYTES, group.length, entries.NUMERIC_BYTES)
    )
    return _places(shape, rows, handle)


@lru_cache(maxsize=_SHAPES_KEPT)
def _places(shape: bytes, rows: int, handle: int) -> Sequence[int] | None:
    """Return where a metric stands, from the columns of all handles; None if entries differ."""
    found: list[int] = []
    for number in range(len(shape) // (_HANDLE_BYTES * rows)):
        start = number * _HANDLE_BYTES * rows
        high, low = shape[start], shape[start + rows]
        if (
            shape[start : start + _HANDLE_BYTES * rows]
            != bytes([high]) * rows + bytes([low]) * rows
        ):
            return None
        if high << 8 | low == handle:
            found.append(entries.META_BYTES + number * entries.NUMERIC_BYTES)
    return tuple(found)


def _column_samples(
    group: Group, at: int, stretches: Stretches | None, numbers: Numbers
) -> Columns:
    starts = _integers(group, 0, "q")
    offsets, statuses = _integers(group, at + 16, "H"), group.column(at + 14)
    times: Sequence[int] = starts
    if any(offsets):
        times = [start + ms * NS_PER_MS for start, ms in zip(starts, offsets, strict=True)]
    found = list(map(numbers.__getitem__, _integers(group, at + 10, "I")))
    if statuses.translate(None, _SHOWN):
        found = [v if s in _SHOWN else None for v, s in zip(found, statuses, strict=True)]
    if stretches is None:
        return times, found
    error_ms = _one_error(group)
    if error_ms is not None:
        # One answer for the whole column where it lies in one stretch: a bed changes hands seldom.
        error_ns = error_ms * NS_PER_MS
        if _within(stretches, (min(times) - error_ns, max(times) + error_ns)):
            return times, found
    spans = _spans(group, times)
    kept = [row for row, span in enumerate(spans) if _within(stretches, span)]
    return [times[row] for row in kept], [found[row] for row in kept]


def _one_error(group: Group) -> int | None:
    """Return the error of the clock if every value of a column has the same known one."""
    errors = _integers(group, 40, "I")
    same = errors.count(errors[0]) == len(errors) and errors[0] != UNSYNCHRONISED_MS
    return errors[0] if same else None


def _spans(group: Group, times: Sequence[int]) -> Sequence[tuple[int, int]]:
    """Return what `rules.span_of_value` says of each value of a column without doubtful times."""
    errors, arrivals = _integers(group, 40, "I"), _integers(group, 8, "q")
    return [
        rules.span_of_arrival(t_ns, arrival_ns)
        if error_ms == UNSYNCHRONISED_MS
        else (t_ns - error_ms * NS_PER_MS, t_ns + error_ms * NS_PER_MS)
        for t_ns, arrival_ns, error_ms in zip(times, arrivals, errors, strict=True)
    ]


def _has(column: bytes, wanted: bytes) -> bool:
    """Whether any byte of a column is one of those that are wanted."""
    return len(column.translate(None, wanted)) != len(column)


def _within(stretches: Stretches, span: tuple[int, int]) -> bool:
    return any(first <= span[0] and span[1] < end for first, end in stretches)


def _integers(group: Group, at: int, kind: str) -> tuple[int, ...]:
    size = struct.calcsize(">" + kind)
    joined = bytearray(size * group.rows)
    for byte in range(size):
        joined[byte::size] = group.column(at + byte)
    return struct.unpack(f">{group.rows}{kind}", joined)


def thin(samples: Iterable[Columns], *, from_ns: int, to_ns: int, points_max: int) -> list[Sample]:
    """Return at most `points_max` of the samples, with every peak.

    The time is cut into stretches; of each the lowest and the highest number are kept, in the order
    in which they were measured. A stretch without any number but with samples is a gap: one None.

    Args:
        samples: Any order; of two of one moment a number stands above none.
        from_ns: Start of the first stretch.
        to_ns: End of the last one.
        points_max: At least 2.
    """
    found = _by_time(samples)
    times = sorted(found)
    times = times[bisect_left(times, from_ns) : bisect_left(times, to_ns)]
    if len(times) <= points_max:
        return [(t_ns, found[t_ns]) for t_ns in times]
    stretches = points_max // 2
    width_ns = max(1, -(-(to_ns - from_ns) // stretches))
    kept: list[Sample] = []
    at = 0
    while at < len(times):
        border_ns = times[at] - (times[at] - from_ns) % width_ns + width_ns
        end = bisect_left(times, border_ns, at)
        group = times[at:end]
        kept += _peaks(group, [found[t_ns] for t_ns in group])
        at = end
    return kept


def _by_time(samples: Iterable[Columns]) -> dict[int, float | None]:
    found: dict[int, float | None] = {}
    for times, values in samples:
        if None not in values:
            found.update(zip(times, values, strict=True))
            continue
        for t_ns, value in zip(times, values, strict=True):
            if value is not None or t_ns not in found:
                found[t_ns] = value
    return found


def _peaks(times: Sequence[int], values: Sequence[float | None]) -> list[Sample]:
    numbers = [(v, t) for t, v in zip(times, values, strict=True) if v is not None]
    if not numbers:
        return [(times[0], None)]
    low, high = min(numbers), max(numbers)
    return sorted({(low[1], low[0]), (high[1], high[0])})
