"""A trend as a picture that the hub draws: points of a line, gaps left open. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.hub.console.ports import Point

WIDTH: Final = 720
HEIGHT: Final = 96
GAP_NS: Final = 90_000_000_000
"""Points further apart than this are not joined: nobody knows what was between them."""
SPANS_NS: Final = tuple(minutes * 60 * 10**9 for minutes in (5, 15, 60, 240))
_PAD: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One metric over time, ready to be drawn.

    Attributes:
        title: What it is.
        unit: Its unit, as people write it.
        span: How much time it shows, in words.
        lines: Points of each unbroken line, as SVG takes them.
        least: Smallest value shown.
        most: Largest value shown.
        newest: Last value.
        newest_ns: When it was measured, nanoseconds since 1970.
        from_ns: Left end of the picture.
        to_ns: Right end.
    """

    title: str
    unit: str
    span: str
    lines: tuple[tuple[str, ...], ...]
    least: float
    most: float
    newest: float
    newest_ns: int
    from_ns: int
    to_ns: int


def window(points: Sequence[Sequence[Point]], *, to_ns: int) -> int:
    """Return the left end of pictures that show everything there is, in a span people know.

    Args:
        points: What each picture shows, ascending.
        to_ns: Right end, nanoseconds since 1970.
    """
    first_ns = min((each[0].t_ns for each in points if each), default=to_ns)
    known = (span for span in SPANS_NS if to_ns - span <= first_ns)
    return to_ns - next(known, SPANS_NS[-1])


def draw(
    points: Sequence[Point],
    *,
    title: str,
    unit: str,
    from_ns: int,
    to_ns: int,
    span_min: float = 1.0,
) -> Chart | None:
    """Return a chart, or None where there is no value.

    Args:
        points: Ascending.
        title: What is shown.
        unit: Its unit.
        from_ns: Left end, nanoseconds since 1970.
        to_ns: Right end, later.
        span_min: Least height of the picture in the metric's unit, so that noise looks like noise.
    """
    known = [point for point in points if point.value is not None]
    values = [point.value for point in known if point.value is not None]
    if not values:
        return None
    least, most = min(values), max(values)
    span = max(most - least, span_min)
    bottom = (least + most - span) / 2
    scale_x = (WIDTH - 2 * _PAD) / (to_ns - from_ns)
    scale_y = (HEIGHT - 2 * _PAD) / span
    lines: list[list[str]] = []
    last_ns: int | None = None
    for point in points:
        if point.value is None:
            last_ns = None
            continue
        if last_ns is None or point.t_ns - last_ns > GAP_NS:
            lines.append([])
        x = _PAD + (point.t_ns - from_ns) * scale_x
        y = HEIGHT - _PAD - (point.value - bottom) * scale_y
        lines[-1].append(f"{x:.1f},{y:.1f}")
        last_ns = point.t_ns
    return Chart(
        title=title,
        unit=unit,
        span=_words(to_ns - from_ns),
        lines=tuple(tuple(line) for line in lines),
        least=least,
        most=most,
        newest=values[-1],
        newest_ns=known[-1].t_ns,
        from_ns=from_ns,
        to_ns=to_ns,
    )


def _words(span_ns: int) -> str:
    minutes = span_ns // (60 * 10**9)
    return f"{minutes // 60} h" if minutes > 60 else f"{minutes} min"
