"""Draws paths and curves: where which box stands, whatever it is drawn with. Pure.

No meaning is in a colour alone: what a colour says stands beside it in words.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from math import floor, log10
from typing import Final

from asepsis.analysis.threats.reports.blocks import PAGE_WIDTH, Box, Figure, Label, Line, Shape
from asepsis.analysis.threats.telling import Path, Sentence

COLOURS: Final[Mapping[str, str]] = {
    "trivial": "#f4b6ae",
    "easy": "#f8d3ad",
    "moderate": "#fbeeb4",
    "hard": "#dcebc4",
    "very-hard": "#c3e0d5",
}
PLAIN: Final = "#e6e9ef"
DARK: Final = "#7a1f1f"
LANE: Final = 9.0
"""Points between two arrows beside the boxes."""
LANES_MAX: Final = 6
TEXT_SIZE: Final = 8.0
CHARACTER: Final = 0.5
"""Width of an average character of Helvetica, for a size of 1."""
_GAP: Final = 14.0
_PADDING: Final = 5.0
_LEADING: Final = 10.0


def path_figure(path: Path, *, caption: str) -> Figure:
    """Draw a path from its first step down to the loss; arrows say what each step needs."""
    width = PAGE_WIDTH - LANE * (LANES_MAX + 1)
    shapes: list[Shape] = []
    boxes: list[Box] = []
    y = 2.0
    for number, step in enumerate(path.sentences, 1):
        box, inside = _step(number, step, y, width)
        boxes.append(box)
        shapes += [box, *inside]
        y += box.height + _GAP
    box, inside = _loss(path, y, width)
    boxes.append(box)
    shapes += [box, *inside, *_arrows(boxes, [*(step.after for step in path.sentences), ()])]
    return Figure(width=PAGE_WIDTH, height=y + box.height + 4, shapes=shapes, caption=caption)


def front_figure(
    points: Sequence[tuple[float, float]],
    *,
    marks: Sequence[tuple[str, float, float]],
    axes: tuple[str, str],
    caption: str,
    limit: float | None = None,
) -> Figure:
    """Draw what each amount of a budget buys, as steps: between two plans nothing gets better.

    Args:
        points: Cost and risk, from cheap to dear.
        marks: Name, cost and risk of plans to show beside them.
        axes: What cost and risk are.
        caption: Under it.
        limit: Of the budget; None if it has none.
    """
    high_x = max([x for x, _ in points] + [x for _, x, _ in marks] + [limit or 0.0]) * 1.08 or 1.0
    high_y = max([y for _, y in points] + [y for _, _, y in marks]) * 1.08 or 1.0
    left, top, right, bottom = 62.0, 16.0, PAGE_WIDTH - 12, 236.0

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (right - left) * x / high_x,
            bottom - (bottom - top) * y / high_y,
        )

    shapes = _frame(at, (high_x, high_y), ((left, top), (right, bottom)))
    if limit is not None:
        x, _ = at(limit, 0)
        shapes.append(Line(points=((x, top), (x, bottom)), dashed=True))
        shapes.append(Label(x=x + 4, y=bottom - 5, text="budget", size=7))
    stairs: list[tuple[float, float]] = []
    for x, y in points:
        if stairs:
            stairs.append((at(x, 0)[0], stairs[-1][1]))
        stairs.append(at(x, y))
    if stairs:
        stairs.append((right, stairs[-1][1]))
        shapes.append(Line(points=tuple(stairs), stroke="#1f4e7a", width=1.5))
    shapes += [_dot(at(x, y), 2.0, "#1f4e7a") for x, y in points]
    for number, (name, x, y) in enumerate(marks):
        shapes += _mark(name, at(x, y), number, late=at(x, y)[0] > (left + right) / 2)
    shapes.append(Label(x=(left + right) / 2, y=bottom + 26, text=axes[0], anchor="middle"))
    shapes.append(Label(x=4, y=9, text=axes[1]))
    return Figure(width=PAGE_WIDTH, height=bottom + 32, shapes=shapes, caption=caption)


def ticks(high: float) -> list[float]:
    """Return round values from 0 up to `high`, four to ten of them.

    Args:
        high: Above 0.
    """
    step = 10.0 ** floor(log10(high))
    for finer in (1.0, 0.5, 0.2, 0.1):
        if high / (step * finer) >= 4:
            step *= finer
            break
    return [number * step for number in range(int(high / step + 1e-9) + 1)]


def figure(value: float) -> str:
    """Return a figure for people."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _frame(
    at: Callable[[float, float], tuple[float, float]],
    high: tuple[float, float],
    corners: tuple[tuple[float, float], tuple[float, float]],
) -> list[Shape]:
    """Draw axes with round values."""
    (left, top), (right, bottom) = corners
    shapes: list[Shape] = []
    for value in ticks(high[0]):
        x, _ = at(value, 0)
        shapes.append(Line(points=((x, top), (x, bottom)), stroke="#dddddd", width=0.5))
        shapes.append(Label(x=x, y=bottom + 12, text=figure(value), size=7, anchor="middle"))
    for value in ticks(high[1]):
        _, y = at(0, value)
        shapes.append(Line(points=((left, y), (right, y)), stroke="#dddddd", width=0.5))
        shapes.append(Label(x=left - 5, y=y + 2.5, text=figure(value), size=7, anchor="end"))
    shapes.append(Line(points=((left, top), (left, bottom), (right, bottom))))
    return shapes


def _mark(name: str, here: tuple[float, float], number: int, *, late: bool) -> list[Shape]:
    """Draw a plan; names of neighbours stand above each other."""
    words = Label(
        x=here[0] + (-7 if late else 7),
        y=here[1] - 6 - 10 * (number % 2),
        text=name,
        bold=True,
        colour=DARK,
        anchor="end" if late else "start",
    )
    return [_dot(here, 3.5, DARK), words]


def _step(number: int, step: Sentence, y: float, width: float) -> tuple[Box, list[Shape]]:
    lines = _wrapped(f"{number}. {step.text}", width)
    weight = f"{step.difficulty}, {step.probability:.3g}; {step.rule}" if step.rule else ""
    small = _wrapped(weight, width) if weight else []
    height = _LEADING * (len(lines) + len(small)) + 2 * _PADDING
    fill = COLOURS.get(step.difficulty, PLAIN)
    box = Box(x=2, y=y, width=width, height=height, fill=fill)
    shapes: list[Shape] = [
        Label(x=2 + _PADDING, y=y + _PADDING + 7 + _LEADING * place, text=line, size=TEXT_SIZE)
        for place, line in enumerate(lines)
    ]
    shapes += [
        Label(
            x=2 + _PADDING,
            y=y + _PADDING + 7 + _LEADING * (len(lines) + place),
            text=line,
            size=TEXT_SIZE - 1,
            colour="#444444",
        )
        for place, line in enumerate(small)
    ]
    if len(step.after) > 1:
        words = " and ".join(str(place + 1) for place in sorted(step.after))
        shapes.append(Label(x=26, y=y - 3, text=f"needs {words}", size=TEXT_SIZE - 1))
    return box, shapes


def _loss(path: Path, y: float, width: float) -> tuple[Box, list[Shape]]:
    words = f"{path.text} ({path.severity}): {path.probability:.3g} a year by this path"
    lines = _wrapped(words, width)
    box = Box(
        x=2, y=y, width=width, height=_LEADING * len(lines) + 2 * _PADDING, fill=DARK, stroke=DARK
    )
    return box, [
        Label(
            x=2 + _PADDING,
            y=y + _PADDING + 7 + _LEADING * place,
            text=line,
            size=TEXT_SIZE,
            bold=True,
            colour="#ffffff",
        )
        for place, line in enumerate(lines)
    ]


def _arrows(boxes: Sequence[Box], after: Sequence[Sequence[int]]) -> list[Shape]:
    """Draw what follows at once straight down, everything else through lanes at the right."""
    found: list[Shape] = []
    last, lane = len(boxes) - 1, 0
    for place, needs in enumerate(after):
        for source in needs if place < last else (last - 1,):
            if source < 0:
                continue
            start, end = boxes[source], boxes[place]
            if source == place - 1:
                points = ((18.0, start.y + start.height), (18.0, end.y))
            else:
                edge = end.x + end.width
                x = edge + LANE * (1 + lane % LANES_MAX)
                low, high = start.y + start.height / 2, end.y + end.height / 2
                points = ((edge, low), (x, low), (x, high), (edge, high))
                lane += 1
            found.append(Line(points=points, arrow=True))
    return found


def _wrapped(text: str, width: float) -> list[str]:
    return textwrap.wrap(text, int((width - 2 * _PADDING) / (TEXT_SIZE * CHARACTER))) or [""]


def _dot(at: tuple[float, float], half: float, colour: str) -> Box:
    return Box(
        x=at[0] - half, y=at[1] - half, width=2 * half, height=2 * half, fill=colour, stroke=colour
    )
