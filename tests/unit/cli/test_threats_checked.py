"""`asepsis threats check` as a build server sees it: exit codes, SARIF, JUnit."""

import json
import sys
from pathlib import Path
from typing import Any

import lxml.etree as _xml
import pytest

from asepsis.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
XML: Any = _xml  # It carries no types.
SMALL = Path(__file__).parents[1] / "analysis" / "data" / "hospira.yaml"


def check(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["asepsis", "threats", "check", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0


def results(path: Path) -> list[Any]:
    log = json.loads(path.read_bytes())
    assert log["version"] == "2.1.0"
    rules = [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]]
    found = log["runs"][0]["results"]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in found)
    return found


def cases(path: Path) -> tuple[Any, list[Any]]:
    suite = XML.fromstring(path.read_bytes())
    return suite.attrib, list(suite)


def test_what_is_over_its_limit_is_an_error_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sarif, junit = tmp_path / "found.sarif", tmp_path / "found.xml"
    to = ("--sarif", sarif, "--junit", junit)
    assert check(monkeypatch, SMALL, "--max-patients", "0.1", *to) == 1
    over, reached = results(sarif)
    assert (over["level"], over["ruleId"]) == ("error", "risk-over-limit")
    lines = SMALL.read_text("utf-8").splitlines()
    line = int(over["locations"][0]["physicalLocation"]["region"]["startLine"])
    assert lines[line - 1].lstrip().startswith("overdose:")
    assert reached["level"] == "note"
    flow = reached["codeFlows"][0]["threadFlows"][0]["locations"]
    assert "criminals" in flow[0]["location"]["message"]["text"]
    assert any("CVE-2015-3459" in " ".join(step["properties"]["evidence"]) for step in flow)
    head, (limit, loss) = cases(junit)
    assert (head["tests"], head["failures"], head["errors"]) == ("2", "1", "0")
    assert limit.find("failure") is not None
    assert loss.find("failure") is None
    assert "criminals" in loss.findtext("system-out")


def test_the_same_path_is_the_same_finding_whatever_it_is_estimated_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SMALL.read_text("utf-8").replace("per_year: 0.5", "per_year: 0.4"), "utf-8")
    marks: list[Any] = []
    for number, model in enumerate((SMALL, other)):
        sarif = tmp_path / f"{number}.sarif"
        assert check(monkeypatch, model, "--sarif", sarif) == 0
        marks.append([result["partialFingerprints"] for result in results(sarif)])
    assert marks[0] == marks[1]


def test_more_than_somebody_accepted_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sarif, junit = (tmp_path / name for name in ("m.yaml", "m.sarif", "m.xml"))
    words = "severity: catastrophic, accept: 0.01, accepted_by: A. Person, accepted_on: 2026-11-23"
    model.write_text(SMALL.read_text("utf-8").replace("severity: catastrophic", words), "utf-8")
    assert check(monkeypatch, model, "--sarif", sarif, "--junit", junit) == 1
    (found,) = results(sarif)
    assert (found["level"], found["ruleId"]) == ("error", "loss-not-accepted")
    assert cases(junit)[1][0].find("failure").get("type") == "loss-not-accepted"


def test_a_mistake_in_the_model_is_shown_on_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sarif, junit = (tmp_path / name for name in ("m.yaml", "m.sarif", "m.xml"))
    text = SMALL.read_text("utf-8").replace("protocol: telnet", "protocoll: telnet")
    model.write_text(text, "utf-8")
    assert check(monkeypatch, model, "--sarif", sarif, "--junit", junit) == 1
    (found,) = results(sarif)
    line = int(found["locations"][0]["physicalLocation"]["region"]["startLine"])
    assert "protocoll" in text.splitlines()[line - 1]
    head, _ = cases(junit)
    assert head["errors"] == "1"
