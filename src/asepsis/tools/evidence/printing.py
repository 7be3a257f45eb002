"""An evidence pack on paper: the same facts for people who file them. The JSON is what counts.

Only Latin script is printed; any other character becomes a question mark (ADR 0061).
"""

import base64
import hashlib
import html
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

import reportlab.lib.pagesizes as _sizes
import reportlab.lib.styles as _styles
import reportlab.platypus as _platypus

from asepsis.core.errors import AsepsisError
from asepsis.core.wire import update_report
from asepsis.tools.evidence import verify_evidence

# The library carries no types; everything of it is `Any` from here on.
PLATYPUS: Final[Any] = _platypus
STYLES: Final[Any] = _styles.getSampleStyleSheet()
PAGE: Final[Any] = _sizes.A4
ROWS_MAX: Final = 2_000
CELL_CHARS_MAX: Final = 300
TITLE: Final = "Evidence"
_GRID: Final = [
    ("GRID", (0, 0), (-1, -1), 0.25, "#888888"),
    ("BACKGROUND", (0, 0), (-1, 0), "#e8e8e8"),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
]


def to_pdf(pack: Mapping[str, Any], *, found: Mapping[str, Any] | None = None) -> bytes:
    """Return the pack as PDF; the same pack gives the same bytes.

    Args:
        pack: As `exporting.export` returns it.
        found: Result of its verification; None if the reader's keys were not at hand.
    """
    story = [
        _text(TITLE, "Title"),
        _table(("", ""), _facts(pack)),
        *_verdict(found),
        *_releases(pack),
        _text("Self-tests, as devices measured and signed them", "Heading2"),
        _table(("leaf", "device", "test", "measured", "tolerance", "outcome"), _tests(pack)),
        _text("What was done, by whom, when", "Heading2"),
        _table(
            ("leaf", "time", "who", "what", "on what", "result, and more"),
            [_row(entry) for entry in pack["entries"][:ROWS_MAX]],
        ),
        _text("Documents", "Heading2"),
        _table(("kind", "name", "SHA-256"), [_document(one) for one in pack["documents"]]),
        _text("Witnesses, as the hub named them", "Heading2"),
        _table(
            ("name", "kind", "since"),
            [(one["name"], one["kind"], moment(one["since_ns"])) for one in pack["witnesses"]],
        ),
    ]
    paper = io.BytesIO()
    made = PLATYPUS.SimpleDocTemplate(paper, pagesize=PAGE, title=TITLE, invariant=1)
    made.build(story)
    return paper.getvalue()


def digest_of(pack: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a pack's canonical JSON, to tie the paper to the file."""
    text = json.dumps(pack, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def moment(ns: int) -> str:
    """Return a time as it is printed, UTC."""
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _facts(pack: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("hospital", pack["hospital"]),
        ("about", ", ".join(pack["about"])),
        ("made", moment(pack["made_at_ns"])),
        ("entries of the log", str(pack["size"])),
        ("entries in this pack", str(len(pack["entries"]))),
        ("SHA-256 of the pack", digest_of(pack)),
    ]


def _verdict(found: Mapping[str, Any] | None) -> list[Any]:
    title = _text("Verification", "Heading2")
    if found is None:
        return [title, _text("Not verified when this was printed: use verify_evidence.py.")]
    if found["ok"]:
        words = (
            f"Holds: {found['vouched']} of {found['size']} entries of the log are vouched for by "
            f"witnesses ({', '.join(found['witnesses'])})."
        )
        return [title, _text(words)]
    rows = [(str(one["leaf"]), one["what"]) for one in found["findings"][:ROWS_MAX]]
    return [title, _text("DOES NOT HOLD."), _table(("leaf", "what is wrong"), rows)]


def _releases(pack: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = []
    for one in pack["documents"]:
        if one["kind"] == "release":
            found += _release(one["name"], base64.b64decode(one["content"]))
    return found


def _release(name: str, content: bytes) -> list[Any]:
    """Show what a release document says: CVEs, self-tests, assessment."""
    try:
        said = cast("dict[str, Any]", json.loads(content))
        closes = [(one["id"], one["words"]) for one in said.get("closes", ())]
        tests = [
            (one["name"], f"{one['low']} to {one['high']} {one['unit']}")
            for one in said["self_tests"]
        ]
        assessed = said["assessment"]
        facts = [
            (word.replace("_", " "), assessed[word])
            for word in ("manufacturer", "author", "document", "date", "schedule")
        ]
        facts += [
            (f"pathway {one['name']}: {answer['question']}", _yes(answer))
            for one in assessed["pathways"]
            for answer in one.get("answers", ())
        ]
        action = assessed["field_action"]
        facts.append(
            ("field action", f"{action['kind']} {action.get('number', '')}: {action['rationale']}")
        )
        title = f"Release {said['name']} of {said['vendor']} for {said['model']}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [_text(f"{name} is no release document: {error!r}")]
    return [
        _text(title, "Heading2"),
        _text("Vulnerabilities closed"),
        _table(("id", "what"), closes),
        _text("Self-tests that it must pass"),
        _table(("test", "tolerance"), tests),
        _text("Assessment by the manufacturer"),
        _table(("", ""), facts),
    ]


def _tests(pack: Mapping[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for entry in pack["entries"]:
        if entry["action"] != verify_evidence.REPORT or len(found) >= ROWS_MAX:
            continue
        try:
            receipt = base64.b64decode(json.loads(entry["detail"])["receipt"])
            report = update_report.decode(receipt)[0]
        except (AsepsisError, ValueError, KeyError, TypeError):
            found.append((str(entry["index"]), entry["subject"], "not readable", "", "", ""))
            continue
        found += [
            (
                str(entry["index"]),
                report.device.uri,
                test.name,
                f"{test.measured:g} {test.unit}",
                f"{test.low:g} to {test.high:g}",
                f"{'passed' if test.passed else 'FAILED'}; {report.outcome.value}",
            )
            for test in report.tests
        ]
    return found


def _yes(answer: Mapping[str, Any]) -> str:
    return f"{'yes' if answer['answer'] else 'no'}: {answer['rationale']}"


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    outcome = "" if entry["outcome"] == "done" else f"{entry['outcome']}; "
    return (
        str(entry["index"]),
        moment(entry["at_ns"]),
        entry["actor"],
        entry["action"],
        entry["subject"],
        outcome + entry["detail"],
    )


def _document(one: Mapping[str, Any]) -> tuple[str, ...]:
    return one["kind"], one["name"], one["sha256"]


def _style(name: str) -> Any:
    style = STYLES[name]
    style.splitLongWords = 1  # Hashes are longer than a column.
    return style


def _text(words: str, style: str = "BodyText") -> Any:
    return PLATYPUS.Paragraph(_safe(words), _style(style))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    if not rows:
        return _text("None.")
    cells = [[_text(str(cell)[:CELL_CHARS_MAX]) for cell in row] for row in (head, *rows)]
    width = (PAGE[0] - 144) / len(head)
    return PLATYPUS.Table(cells, colWidths=[width] * len(head), repeatRows=1, style=_GRID)


def _safe(words: str) -> str:
    """Return text without markup, in characters that the standard fonts have."""
    return html.escape(words.encode("latin-1", "replace").decode("latin-1"))
