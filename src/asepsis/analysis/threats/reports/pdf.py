"""A report as PDF, by reportlab (ADR 0061). The same report gives the same bytes.

Only Latin script is printed; any other character becomes a question mark.
"""

import html
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

import reportlab.graphics.shapes as _shapes
import reportlab.lib.pagesizes as _sizes
import reportlab.lib.styles as _styles
import reportlab.platypus as _platypus

from asepsis.analysis.threats.reports.blocks import (
    PAGE_WIDTH,
    Block,
    Box,
    Document,
    Figure,
    Heading,
    Label,
    Line,
    Shape,
    Table,
    Words,
)
from asepsis.analysis.threats.reports.html import arrow_head
from asepsis.core.errors import LimitExceeded

# The library carries no types; everything of it is `Any` from here on.
PLATYPUS: Final[Any] = _platypus
DRAWN: Final[Any] = _shapes
STYLES: Final[Any] = _styles.getSampleStyleSheet()
PAGE: Final[Any] = _sizes.A4
MARGIN: Final = 54.0
"""The library leaves 6 points more on each side."""
FIGURE_HEIGHT_MAX: Final = 640.0
CELL_CHARACTERS_MAX: Final = 2_000
ROWS_MAX: Final = 5_000
_GRID: Final = [
    ("GRID", (0, 0), (-1, -1), 0.25, "#888888"),
    ("BACKGROUND", (0, 0), (-1, 0), "#e8e8e8"),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 3),
    ("RIGHTPADDING", (0, 0), (-1, -1), 3),
]
_FONTS: Final = {True: "Helvetica-Bold", False: "Helvetica"}


def to_pdf(document: Document) -> bytes:
    """Return a report as pages.

    Raises:
        LimitExceeded: A table of over 5,000 rows.
    """
    story = [
        _text(document.title, "Title"),
        _text(document.subtitle, "Italic"),
        *_story(document.blocks),
    ]
    paper = io.BytesIO()
    made = PLATYPUS.SimpleDocTemplate(
        paper,
        pagesize=PAGE,
        title=_safe(document.title),
        invariant=1,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
    )

    def foot(canvas: Any, template: Any) -> None:
        canvas.setFont("Helvetica", 7)
        canvas.drawString(MARGIN, MARGIN / 2, _latin(document.title)[:110])
        canvas.drawRightString(PAGE[0] - MARGIN, MARGIN / 2, f"page {template.page}")

    made.build(story, onFirstPage=foot, onLaterPages=foot)
    return paper.getvalue()


def _story(blocks: Sequence[Block]) -> Iterator[Any]:
    """Yield what is printed; a figure stays on one page with the heading and words before it."""
    before: list[Any] = []
    for block in blocks:
        parts = list(_block(block))
        if isinstance(block, Heading) or (before and isinstance(block, Words)):
            before += parts
        elif isinstance(block, Figure):
            yield PLATYPUS.KeepTogether([*before, *parts])
            before = []
        else:
            yield from (*before, *parts)
            before = []
    yield from before


def _block(block: Block) -> Iterator[Any]:
    match block:
        case Heading(text=text, level=level):
            yield _text(text, f"Heading{level + 1}")
        case Words(text=text, strong=strong):
            yield _text(text, "BodyText", strong=strong)
        case Table():
            yield PLATYPUS.Spacer(1, 4)
            yield _table(block)
            yield PLATYPUS.Spacer(1, 8)
        case Figure():
            yield PLATYPUS.Spacer(1, 4)
            yield _figure(block)
            yield _text(block.caption, "Italic")


def _table(table: Table) -> Any:
    if not table.rows:
        return _text(table.none, "BodyText")
    if len(table.rows) > ROWS_MAX:
        raise LimitExceeded(f"a table of {len(table.rows)} rows; at most {ROWS_MAX}")
    style = _styles.ParagraphStyle("cell", fontName="Helvetica", fontSize=7.5, leading=9)
    style.splitLongWords = 1
    rows = [
        [PLATYPUS.Paragraph(_safe(cell[:CELL_CHARACTERS_MAX]), style) for cell in row]
        for row in (table.head, *table.rows)
    ]
    shares = table.widths or [1.0] * len(table.head)
    widths = [PAGE_WIDTH * share / sum(shares) for share in shares]
    return PLATYPUS.Table(rows, colWidths=widths, repeatRows=1, style=_GRID)


def _figure(figure: Figure) -> Any:
    scale = min(1.0, FIGURE_HEIGHT_MAX / figure.height)
    drawing = DRAWN.Drawing(figure.width * scale, figure.height * scale)
    group = DRAWN.Group(*(part for shape in figure.shapes for part in _shape(shape, figure.height)))
    group.scale(scale, scale)
    drawing.add(group)
    return drawing


def _shape(shape: Shape, height: float) -> Iterator[Any]:
    """Draw with y from the bottom upwards."""
    match shape:
        case Box():
            yield DRAWN.Rect(
                shape.x,
                height - shape.y - shape.height,
                shape.width,
                shape.height,
                fillColor=_colour(shape.fill),
                strokeColor=_colour(shape.stroke),
                strokeWidth=0.7,
            )
        case Line():
            points = [value for x, y in shape.points for value in (x, height - y)]
            yield DRAWN.PolyLine(
                points,
                strokeColor=_colour(shape.stroke),
                strokeWidth=shape.width,
                strokeDashArray=[4, 3] if shape.dashed else None,
            )
            if shape.arrow:
                corners = [value for x, y in arrow_head(shape) for value in (x, height - y)]
                colour = _colour(shape.stroke)
                yield DRAWN.Polygon(corners, fillColor=colour, strokeColor=colour)
        case Label():
            yield DRAWN.String(
                shape.x,
                height - shape.y,
                _latin(shape.text),
                fontName=_FONTS[shape.bold],
                fontSize=shape.size,
                fillColor=_colour(shape.colour),
                textAnchor=shape.anchor,
            )


def _colour(name: str) -> Any:
    return DRAWN.colors.HexColor(name)


def _text(words: str, style: str, *, strong: bool = False) -> Any:
    safe = _safe(words)
    together = int(style.startswith("Heading"))  # A heading never stands alone at a page's end.
    made = _styles.ParagraphStyle(style, parent=STYLES[style], keepWithNext=together)
    return PLATYPUS.Paragraph(f"<b>{safe}</b>" if strong else safe, made)


def _safe(words: str) -> str:
    return html.escape(_latin(words))


def _latin(words: str) -> str:
    return words.encode("latin-1", "replace").decode("latin-1")
