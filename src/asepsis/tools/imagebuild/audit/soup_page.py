"""Writes a SOUP file as a page of Markdown for the file of the device. Pure."""

from collections.abc import Iterator

from asepsis.tools.imagebuild.audit.soup import CARE_TEXT, Item, SoupFile

_HEAD = """\
# SOUP file: {device}

{count} software items that we did not write, by source. IEC 62304:2006+A1:2015 (5.3.3, 5.3.4,
7.1.2, 7.1.3, 8.1.2), IEC 81001-5-1:2021. Anomalies are those of {files} files of advisories and of
our own notes.

{state}
"""


def page(found: SoupFile) -> str:
    """Return the page."""
    gaps = sum(len(item.gaps) for item in found.items)
    state = "Complete." if found.complete else f"**Draft: {gaps} gaps.**"
    if not found.audited:
        state += " No advisories were read: 7.1.3 is not done."
    head = _HEAD.format(
        device=_plain(found.device), count=len(found.items), files=found.audited, state=state
    )
    lines = [head, "| item | manufacturer | versions | open | gaps |", "|---|---|---|---|---|"]
    lines += [_row(item) for item in found.items]
    for name in found.orphans:
        lines.append(f"\nA note speaks of {_plain(name)}, which is not in the device.")
    for item in found.items:
        lines += ["", *_section(item)]
    return "\n".join(lines) + "\n"


def _row(item: Item) -> str:
    versions = sorted({part.version for part in item.parts})
    count = sum(one[1] == "open" for one in item.anomalies)
    words = (item.name, item.supplier, ", ".join(versions), str(count), str(len(item.gaps)))
    return f"| {' | '.join(map(_plain, words))} |"


def _section(item: Item) -> Iterator[str]:
    note = item.note
    yield f"## {_plain(item.name)}"
    yield ""
    for title, text in (
        ("Functional and performance requirements (5.3.3)", note.requirement),
        ("Hardware and software that it needs (5.3.4)", note.needs),
        ("Contribution to hazardous situations (7.1.2)", note.hazard),
        ("Control measure", note.control),
        ("Care (IEC 81001-5-1)", CARE_TEXT.get(note.care or "", "")),
        ("Support", item.support),
        ("Compartments", ", ".join(note.compartments)),
    ):
        yield f"- {title}: {_plain(text) if text else 'NOT WRITTEN'}"
    yield ""
    yield "| configuration item (8.1.2) | version | package URL | SHA-256 |"
    yield "|---|---|---|---|"
    for part in item.parts:
        words = (part.name, part.version, part.purl, part.sha256)
        yield f"| {' | '.join(_plain(word) for word in words)} |"
    if item.anomalies:
        yield ""
        yield "| anomaly (7.1.3) | state | advisory | evaluation |"
        yield "|---|---|---|---|"
        for number, state, source, said in item.anomalies:
            words = (number, state, source, said or "NOT WRITTEN")
            yield f"| {' | '.join(map(_plain, words))} |"
    if item.gaps:
        yield ""
        yield f"Missing: {_plain('; '.join(item.gaps))}."


def _plain(text: str) -> str:
    """Return text that makes no cell, line or markup of its own."""
    safe = "".join(c if c.isprintable() else " " for c in text)
    for sign in ("\\", "|", "<", ">", "[", "]", "`", "*", "_"):
        safe = safe.replace(sign, f"\\{sign}")
    return safe
