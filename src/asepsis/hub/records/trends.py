"""One metric over time, thinned for a chart. Pure.

A day of one metric is 86,400 values in 1,440 blocks: they are read column by column, without making
an object of each. What does not stand in even columns is read entry by entry, with the same result.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.model.time import UNSYNCHRONISED_MS
from asepsis.core.wire import float_type
from asepsis.hub.records import entries, rules
from asepsis.hub.records.blocks import Group
from asepsis.hub.records.entries import NS_PER_MS, Mark, Source

GOOD: Final = frozenset({MeasurementStatus.VALID, MeasurementStatus.QUESTIONABLE})
"""What a chart shows as a number; everything else is a gap."""
_SHOWN: Final = frozenset(map(int, GOOD))
_DOUBTFUL: Final = int(Mark.CLOCK | Mark.AMBIGUOUS)

Sample = tuple[int, float | None]
Stretches = Sequence[tuple[int, int]]


class Numbers:
    """FLOAT-Types as numbers; a metric has few different ones."""

    def __init__(self) -> None:
        self._known: dict[int, float | None] = {}

    def of(self, raw: int, status: int) -> float | None:
        """Return the number, None if it is none or its status forbids to take it for one."""
        if status not in _SHOWN:
            return None
        if raw not in self._known:
            good = float_type.is_number(raw)
            self._known[raw] = float_type.to_float(raw) if good else None
        return self._known[raw]


def samples_of(
    groups: Iterable[Group], *, handle: int, stretches: Stretches | None, numbers: Numbers
) -> Iterator[Sample]:
    """Yield time and number (or None) of one metric of a row.

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
            yield from entry_samples(
                group.entries(), handle=handle, stretches=stretches, numbers=numbers
            )
        else:
            for at in places:
                yield from _column_samples(group, at, stretches, numbers)


def entry_samples(
    stored: Iterable[bytes], *, handle: int, stretches: Stretches | None, numbers: Numbers
) -> Iterator[Sample]:
    """Yield the same of entries that stand by themselves."""
    wanted = frozenset({handle})
    for entry in stored:
        if entries.source_of(entry) is not Source.BESIDE:
            for value in entries.values_of(entry, handles=wanted):
                if stretches is None or _within(stretches, rules.span_of_value(value)):
                    yield value.t_ns, numbers.of(value.row[3], value.row[4])


def _even_places(group: Group, handle: int) -> list[int] | None:
    """Return where a metric stands in every entry; None if that differs between entries."""
    found: list[int] = []
    for at in range(entries.META_BYTES, group.length, entries.NUMERIC_BYTES):
        high, low = group.column(at), group.column(at + 1)
        if high.count(high[0]) != group.rows or low.count(low[0]) != group.rows:
            return None
        if high[0] << 8 | low[0] == handle:
            found.append(at)
    return found


def _column_samples(
    group: Group, at: int, stretches: Stretches | None, numbers: Numbers
) -> Iterator[Sample]:
    starts, sources = _integers(group, 0, "q"), group.column(entries.SOURCE_AT)
    raws, offsets = _integers(group, at + 10, "I"), _integers(group, at + 16, "H")
    statuses = group.column(at + 14)
    spans = _spans(group, starts, offsets) if stretches is not None else None
    for row in range(group.rows):
        if sources[row] == Source.BESIDE:
            continue
        if spans is None or _within(stretches or (), spans[row]):
            yield starts[row] + offsets[row] * NS_PER_MS, numbers.of(raws[row], statuses[row])


def _spans(group: Group, starts: Sequence[int], offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Return what `rules.span_of_value` says of each; doubtful times are left to nobody."""
    arrivals, errors = _integers(group, 8, "q"), _integers(group, 40, "I")
    marks = group.column(entries.MARKS_AT)
    spans: list[tuple[int, int]] = []
    for row, start_ns in enumerate(starts):
        t_ns = start_ns + offsets[row] * NS_PER_MS
        if marks[row] & _DOUBTFUL:
            spans.append(rules.ANY_TIME)
        elif errors[row] != UNSYNCHRONISED_MS:
            error_ns = errors[row] * NS_PER_MS
            spans.append((t_ns - error_ns, t_ns + error_ns))
        else:
            spans.append(rules.span_of_arrival(t_ns, arrivals[row]))
    return spans


def _within(stretches: Stretches, span: tuple[int, int]) -> bool:
    return any(first <= span[0] and span[1] < end for first, end in stretches)


def _integers(group: Group, at: int, kind: str) -> tuple[int, ...]:
    size = struct.calcsize(">" + kind)
    joined = bytearray(size * group.rows)
    for byte in range(size):
        joined[byte::size] = group.column(at + byte)
    return struct.unpack(f">{group.rows}{kind}", joined)


def thin(samples: Iterable[Sample], *, from_ns: int, to_ns: int, points_max: int) -> list[Sample]:
    """Return at most `points_max` of the samples, with every peak.

    The time is cut into stretches; of each the lowest and the highest number are kept, in the order
    in which they were measured. A stretch without any number but with samples is a gap: one None.

    Args:
        samples: Any order; of two of one moment a number stands above none.
        from_ns: Start of the first stretch.
        to_ns: End of the last one.
        points_max: At least 2.
    """
    found: dict[int, float | None] = {}
    for t_ns, value in samples:
        if from_ns <= t_ns < to_ns and (value is not None or t_ns not in found):
            found[t_ns] = value
    within = sorted(found.items())
    if len(within) <= points_max:
        return within
    stretches = points_max // 2
    width_ns = max(1, -(-(to_ns - from_ns) // stretches))
    groups: dict[int, list[Sample]] = {}
    for sample in within:
        groups.setdefault((sample[0] - from_ns) // width_ns, []).append(sample)
    return [kept for _, group in sorted(groups.items()) for kept in _peaks(group)]


def _peaks(group: list[Sample]) -> list[Sample]:
    numbers = [(v, t) for t, v in group if v is not None]
    if not numbers:
        return [(group[0][0], None)]
    low, high = min(numbers), max(numbers)
    return sorted({(low[1], low[0]), (high[1], high[0])})
