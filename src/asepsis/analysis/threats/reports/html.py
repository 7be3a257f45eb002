"""A report as one HTML page: no script, nothing from elsewhere, figures as SVG inside. Pure.

Source: WCAG 2.1: 1.1.1 (figures have words), 1.3.1 (heads of tables), 1.4.1 (no colour alone).
"""

from collections.abc import Iterator
from html import escape
from typing import Final

from asepsis.analysis.threats.reports.blocks import (
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

STYLE: Final = """
body{font:15px/1.5 Helvetica,Arial,sans-serif;color:#111}
body{max-width:62em;margin:2em auto;padding:0 1em}
h1{margin-bottom:0}h2{margin-top:2em;border-bottom:1px solid #888}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{border:1px solid #888;padding:.3em .5em;text-align:left;vertical-align:top}
th{background:#e8e8e8}tr{break-inside:avoid}figure{margin:1em 0;break-inside:avoid}
figcaption{font-size:13px;color:#333}svg{max-width:100%;height:auto}.strong{font-weight:bold}
"""


def to_html(document: Document) -> bytes:
    """Return a report as a page, UTF-8."""
    body = "\n".join(_block(block) for block in document.blocks)
    title, subtitle = escape(document.title), escape(document.subtitle)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n<p>{subtitle}</p>\n{body}\n</body>\n</html>\n"
    ).encode()


def _block(block: Block) -> str:
    match block:
        case Heading(text=text, level=level):
            return f"<h{level + 1}>{escape(text)}</h{level + 1}>"
        case Words(text=text, strong=strong):
            return f"<p{' class=strong' if strong else ''}>{escape(text)}</p>"
        case Table():
            return _table(block)
        case Figure():
            return _figure(block)


def _table(table: Table) -> str:
    if not table.rows:
        return f"<p>{escape(table.none)}</p>"
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _figure(figure: Figure) -> str:
    caption = escape(figure.caption)
    shapes = "\n".join(part for shape in figure.shapes for part in _shape(shape))
    return (
        f'<figure><svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{caption}" '
        f'width="{figure.width:.0f}" height="{figure.height:.0f}" '
        f'viewBox="0 0 {figure.width:.0f} {figure.height:.0f}" '
        f'font-family="Helvetica,Arial,sans-serif">\n{shapes}\n</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _shape(shape: Shape) -> Iterator[str]:
    match shape:
        case Box():
            yield (
                f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" '
                f'height="{shape.height:.1f}" fill="{shape.fill}" stroke="{shape.stroke}"/>'
            )
        case Line():
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
            dashes = ' stroke-dasharray="4 3"' if shape.dashed else ""
            yield (
                f'<polyline points="{points}" fill="none" stroke="{shape.stroke}" '
                f'stroke-width="{shape.width:g}"{dashes}/>'
            )
            if shape.arrow:
                corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in arrow_head(shape))
                yield f'<polygon points="{corners}" fill="{shape.stroke}"/>'
        case Label():
            weight = ' font-weight="bold"' if shape.bold else ""
            yield (
                f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size:g}" '
                f'fill="{shape.colour}" text-anchor="{shape.anchor}"{weight}>'
                f"{escape(shape.text)}</text>"
            )


def arrow_head(line: Line) -> tuple[tuple[float, float], ...]:
    """Return the three corners of the head at the end of a line that is upright or level."""
    (x0, y0), (x1, y1) = line.points[-2], line.points[-1]
    if x0 == x1:
        back = y1 - 5 if y1 > y0 else y1 + 5
        return (x1, y1), (x1 - 3, back), (x1 + 3, back)
    back = x1 - 5 if x1 > x0 else x1 + 5
    return (x1, y1), (back, y1 - 3), (back, y1 + 3)
