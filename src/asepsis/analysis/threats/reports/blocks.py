"""What a report is made of, whatever it is printed on: headings, text, tables, figures.

A figure's coordinates are points (1/72 inch), x from the left, y from the top downwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

PAGE_WIDTH: Final = 475.0
"""Points between the margins of an upright A4 page; figures are drawn for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """Begins a part.

    Attributes:
        text: Words.
        level: 1 for a part, 2 for a part of it.
    """

    text: str
    level: Literal[1, 2] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A paragraph.

    Attributes:
        text: Words.
        strong: Whether it must not be overlooked.
    """

    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a head.

    Attributes:
        head: Names of the columns.
        rows: Cells, as many in each row as in the head.
        widths: Shares of the page's width, any unit; empty for equal ones.
        none: What is said where there is no row.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    widths: Sequence[float] = ()
    none: str = "None."


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = "#444444"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points, with an arrow's head at its end or without."""

    points: Sequence[tuple[float, float]]
    stroke: str = "#444444"
    width: float = 1.0
    arrow: bool = False
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Words on a figure; `y` is their base line."""

    x: float
    y: float
    text: str
    size: float = 8.0
    bold: bool = False
    colour: str = "#111111"
    anchor: Literal["start", "middle", "end"] = "start"


Shape: TypeAlias = Box | Line | Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A drawing.

    Attributes:
        width: Points.
        height: Points.
        shapes: Drawn in this order.
        caption: Under it; also what a reader hears who does not see it.
    """

    width: float
    height: float
    shapes: Sequence[Shape]
    caption: str


Block: TypeAlias = Heading | Words | Table | Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole report.

    Attributes:
        title: On its first page.
        subtitle: Under it.
        blocks: In order.
    """

    title: str
    subtitle: str
    blocks: Sequence[Block] = field(default_factory=tuple[Block, ...])
