"""One metric over time, thinned for a chart. Pure but for the rows it is given."""

from collections.abc import Iterable, Iterator
from typing import Final

from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type
from asepsis.hub.records import entries
from asepsis.hub.records.entries import Source

GOOD: Final = frozenset({MeasurementStatus.VALID, MeasurementStatus.QUESTIONABLE})
"""What a chart shows as a number; everything else is a gap."""
_SHOWN: Final = frozenset(map(int, GOOD))

Sample = tuple[int, float | None]


def samples_of(
    stored: Iterable[bytes], *, codes: frozenset[int], handles: frozenset[int]
) -> Iterator[tuple[int, int, float | None]]:
    """Yield (handle, time in ns, number or None) of the wanted metrics of a row.

    What bundles repeat of signed batches is left out.
    """
    for entry in stored:
        if entries.source_of(entry) is not Source.BESIDE:
            for value in entries.values_of(entry, codes=codes, handles=handles):
                good = value.row[4] in _SHOWN and float_type.is_number(value.row[3])
                yield value.row[0], value.t_ns, float_type.to_float(value.row[3]) if good else None


def thin(samples: Iterable[Sample], *, from_ns: int, to_ns: int, points_max: int) -> list[Sample]:
    """Return at most `points_max` of the samples, with every peak.

    The time is cut into stretches; of each the lowest and the highest number are kept, in the order
    in which they were measured. A stretch without any number but with samples is a gap: one None.

    Args:
        samples: Any order.
        from_ns: Start of the first stretch.
        to_ns: End of the last one.
        points_max: At least 2.
    """
    within = sorted((t, v) for t, v in _distinct(samples) if from_ns <= t < to_ns)
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


def _distinct(samples: Iterable[Sample]) -> list[Sample]:
    """Keep one sample of each moment, a number rather than none."""
    found: dict[int, float | None] = {}
    for t_ns, value in samples:
        if value is not None or t_ns not in found:
            found[t_ns] = value
    return list(found.items())
