"""Reports of `asepsis threats`: what a committee reads, as a page and on paper."""

import sys
from pathlib import Path
from typing import Any

import lxml.etree as _xml
import pytest

from asepsis.analysis.threats.reports.blocks import PAGE_WIDTH, Box, Figure, Label, Line
from asepsis.analysis.threats.reports.figures import front_figure, path_figure, ticks
from asepsis.analysis.threats.telling import Path as AttackPath
from asepsis.analysis.threats.telling import Sentence
from asepsis.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
XML: Any = _xml  # It carries no types.
SMALL = Path(__file__).parents[1] / "analysis" / "data" / "hospira.yaml"
DAY = ("--day", "2026-11-23")


def play(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["asepsis", "threats", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0


def rows(page: Any, head: str) -> list[list[str]]:
    """Return the cells of the table whose first column is called so."""
    for table in page.iter("table"):
        if table.findtext(".//th") == head:
            return [["".join(cell.itertext()) for cell in row] for row in table.find("tbody")]
    raise AssertionError(head)


def test_a_committee_reads_paths_plan_residual_risks_and_traces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, page = tmp_path / "m.yaml", tmp_path / "report.html"
    text = SMALL.read_text("utf-8")
    text = text.replace("an overdose,", "an <b>overdose</b>, accept: 0.2, accepted_by: A. Person,")
    text = text.replace("behind a gateway", "behind a gateway\n    tests: [SEC-12]")
    model.write_text(text, "utf-8")
    assert play(monkeypatch, "report", model, "--out", page, *DAY) == 0
    assert b"<b>" not in page.read_bytes()  # What a model says is text, never markup.
    assert b"<script" not in page.read_bytes()
    read = XML.fromstring(page.read_bytes(), XML.HTMLParser())
    plan = {row[0].split("[")[-1].rstrip("]"): row for row in rows(read, "what")}
    assert plan.keys() == {"isolate"}
    assert plan["isolate"][1:4] == ["hospital", "hospital", "10000 USD / -"]
    (accepted,) = rows(read, "loss")
    assert accepted[0] == "an <b>overdose</b>"
    assert float(accepted[2]) <= float(accepted[3]) == 0.2
    assert accepted[4] == "A. Person, no day"
    (risk,) = rows(read, "id")
    assert "acceptable" in risk
    traced = rows(read, "step of a best path")
    assert [row[2] for row in traced if row[1] == "isolate"] == ["SEC-12"]
    assert any("not in the plan" in row[1] or "no control" in row[1] for row in traced)
    labels = [figure.get("aria-label") for figure in read.iter("svg")]
    assert len(labels) == 2  # The curve and the one path.
    assert any("Best path to" in label for label in labels)


def test_paper_is_the_same_every_time_and_other_forms_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made = [tmp_path / "a.pdf", tmp_path / "b.pdf"]
    for paper in made:
        assert play(monkeypatch, "report", SMALL, "--out", paper, *DAY) == 0
    assert made[0].read_bytes().startswith(b"%PDF-")
    assert made[0].read_bytes() == made[1].read_bytes()
    assert play(monkeypatch, "report", SMALL, "--out", tmp_path / "a.docx") == 1
    assert ".pdf" in capfd.readouterr().err


def test_each_party_has_its_sheet_and_signs_only_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model, page = tmp_path / "m.yaml", tmp_path / "sheet.html"
    words = "an overdose, accepted_by: A. Person, accepted_on: 2026-11-20"
    text = SMALL.read_text("utf-8").replace("an overdose", words)
    text = text.replace("behind a gateway", "behind a gateway\n    decides: vendor")
    model.write_text(text, "utf-8")
    assert play(monkeypatch, "sheet", model, "--party", "hospital", "--out", page, *DAY) == 0
    assert "to be accepted" not in capfd.readouterr().out
    read = XML.fromstring(page.read_bytes(), XML.HTMLParser())
    assert "Of this the vendor decides: isolate." in page.read_text("utf-8")
    assert rows(read, "residual risk")[0][4:] == ["A. Person", "2026-11-20"]
    assert play(monkeypatch, "sheet", model, "--party", "vendor", "--out", page, *DAY) == 0
    assert "overdose" in capfd.readouterr().out
    assert "A. Person" not in page.read_text("utf-8")  # Whom the hospital named signs for nobody.
    read = XML.fromstring(page.read_bytes(), XML.HTMLParser())
    assert [row[0] for row in rows(read, "what")] == ["pumps behind a gateway [isolate]"]
    ((measure, without, worth),) = rows(read, "measure")
    left = {row[0]: float(row[1]) for row in rows(read, "who acts")}
    assert left["both"] == left["only the vendor"] < left["only the hospital"] == left["nobody"]
    assert (measure, float(without)) == ("isolate", left["only the hospital"])
    assert float(worth) == pytest.approx(float(without) - left["both"], rel=1e-2)


def inside(figure: Figure) -> None:
    for shape in figure.shapes:
        if isinstance(shape, Box):
            corners = [(shape.x, shape.y), (shape.x + shape.width, shape.y + shape.height)]
        else:
            corners = list(shape.points) if isinstance(shape, Line) else [(shape.x, shape.y)]
        for x, y in corners:
            assert -4 <= x <= figure.width + 4
            assert -4 <= y <= figure.height + 4


def test_a_path_is_drawn_with_what_each_step_needs() -> None:
    steps = [Sentence(text=f"step {n} " + "word " * 40 * (n % 2)) for n in range(12)]
    steps.append(Sentence(text="joined", after=tuple(range(12))))
    path = AttackPath(
        loss="x", text="a loss", severity="critical", exploitability="hard", probability=0.1,
        at_most=0.1, expected=None, columns={}, sentences=tuple(steps),
    )  # fmt: skip
    drawn = path_figure(path, caption="")
    inside(drawn)
    arrows = [shape for shape in drawn.shapes if isinstance(shape, Line) and shape.arrow]
    assert len(arrows) == 12 + 1
    words = [shape.text for shape in drawn.shapes if isinstance(shape, Label)]
    assert any(text.startswith("needs 1 and 2") for text in words)


@pytest.mark.parametrize("high", [1e-12, 0.07, 1.0, 3.9, 4.0, 99_999.0, 1e9])
def test_axes_have_few_round_values(high: float) -> None:
    found = ticks(high)
    assert found[0] == 0
    assert 4 <= len(found) <= 11
    assert found[-1] <= high * (1 + 1e-6)
    marks = [("plan", high, high), ("other", 0.0, 0.0)]
    drawn = front_figure([(0.0, high)], marks=marks, axes=("x", "y"), caption="", limit=high)
    inside(drawn)
    assert drawn.width == PAGE_WIDTH
