"""`asepsis threats` as people and builds use it, on the shipped examples."""

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from asepsis.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
EXAMPLES = files("asepsis.analysis.threats") / "examples"
SMALL = (
    Path(__file__).parents[1] / "analysis" / "data" / "hospira.yaml"
)  # Small enough for many commands.


def play(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["asepsis", "threats", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0


def document(capfd: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capfd.readouterr().out)


def test_it_begins_with_an_example_and_writes_over_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "threats.yaml"
    assert play(monkeypatch, "init", model, "--dry-run") == 0
    assert not model.exists()
    assert play(monkeypatch, "init", model) == 0
    assert model.read_text("utf-8") == (EXAMPLES / "hospital.yaml").read_text("utf-8")
    assert play(monkeypatch, "init", model) == 5
    assert "already" in capfd.readouterr().err
    assert play(monkeypatch, "check", model, "--json") == 0
    assert document(capfd)["things"]["devices"] == 8


def test_a_build_fails_in_units_of_risk(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, "check", SMALL, "--max-patients", "5") == 0
    assert play(monkeypatch, "check", SMALL, "--max-patients", "0.1") == 1
    assert "OVER" in capfd.readouterr().out
    less = ("--taken", "isolate", "--taken", "signed-library")
    assert play(monkeypatch, "check", SMALL, "--max-patients", "0.3", *less) == 0
    assert play(monkeypatch, "check", SMALL, "--taken", "moat") == 1
    assert "isolate" in capfd.readouterr().err


def test_paths_plan_and_front_are_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, "explain", SMALL) == 0
    told = capfd.readouterr().out
    assert "overdose" in told
    assert "CVE-2015-3459" in told
    assert play(monkeypatch, "explain", SMALL, "--loss", "everything") == 1
    assert play(monkeypatch, "plan", SMALL) == 0
    told = capfd.readouterr().out
    assert "proven" in told
    assert "isolate" in told
    assert play(monkeypatch, "plan", SMALL, "--json") == 0
    planned = document(capfd)
    assert planned["proven"]
    assert planned["bound"] <= planned["risk"] <= planned["ranked"]["risk"]
    assert play(monkeypatch, "plan", SMALL, "--front", "hospital money", "--json") == 0
    costs = [point["cost"] for point in document(capfd)]
    assert costs == sorted(costs)
    assert play(monkeypatch, "plan", SMALL, "--front", "hospital money") == 0
    assert play(monkeypatch, "plan", SMALL, "--objective", "hours") == 1


def test_a_difference_is_one_of_meaning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = SMALL.read_text("utf-8")
    same, other = tmp_path / "same.yaml", tmp_path / "other.yaml"
    same.write_text("# A note.\n" + text, "utf-8")
    other.write_text(text.replace("auth: none", "auth: mutual"), "utf-8")
    assert play(monkeypatch, "diff", SMALL, same) == 0
    assert "no difference" in capfd.readouterr().out
    assert play(monkeypatch, "diff", SMALL, other) == 1
    assert "- AUTH-NONE" in capfd.readouterr().out
    assert play(monkeypatch, "diff", SMALL, other, "--json") == 1
    found = document(capfd)
    assert any(line.startswith("AUTH-NONE") for line in found["closed"])
    assert found["risks"]["after"]["patients"] < found["risks"]["before"]["patients"]
    other.write_text(text.replace("money: 5000 USD", "money: 900 USD"), "utf-8")
    assert play(monkeypatch, "diff", SMALL, other) == 1
    assert "~ budgets.hospital.money: 5000 -> 900" in capfd.readouterr().out


def test_graph_rules_and_schema_are_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, "graph", SMALL) == 0
    assert capfd.readouterr().out.startswith("digraph")
    assert play(monkeypatch, "graph", SMALL, "--json") == 0
    graph = document(capfd)
    assert {step["then"] for step in graph["steps"]} <= set(graph["nodes"])
    assert play(monkeypatch, "rules", "--json") == 0
    assert len(document(capfd)) >= 60
    assert play(monkeypatch, "rules") == 0
    assert "MED-AUTORUN" in capfd.readouterr().out
    assert play(monkeypatch, "schema") == 0
    assert "$schema" in document(capfd)


def test_a_hospitals_own_rules_count_and_their_mistakes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    manual = Path(__file__).parents[3] / "docs" / "reference" / "threat-rules.md"
    rule = manual.read_text("utf-8").split("```toml\n")[1].split("```")[0]
    model = tmp_path / "own.yaml"
    model.write_text("rules: [own.toml]\n" + SMALL.read_text("utf-8"), "utf-8")
    assert play(monkeypatch, "check", model) == 1
    assert "own.toml" in "".join(capfd.readouterr().err.split())  # Long lines are wrapped.
    (tmp_path / "own.toml").write_text(rule, "utf-8")
    assert play(monkeypatch, "check", model) == 0
    (tmp_path / "own.toml").write_text(rule.replace("present(P)", "presents(P)"), "utf-8")
    assert play(monkeypatch, "check", model) == 1
    assert "presents" in "".join(capfd.readouterr().err.split())


def test_pta_shows_its_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    analysis = tmp_path / "bedside.yaml"
    analysis.write_bytes((EXAMPLES / "bedside.yaml").read_bytes())
    assert play(monkeypatch, "pta", analysis, "--budget", "60000") == 0
    assert "usb-lockdown" in capfd.readouterr().out
    assert play(monkeypatch, "pta", analysis, "--json") == 0
    assert document(capfd)["cost_effectiveness"][-1]["name"] == "antivirus"
    assert play(monkeypatch, "pta", analysis, "--budget", "-1") == 1


def test_a_plan_says_why_how_sure_and_what_a_budget_is_worth(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, "plan", SMALL, "--why", "--prices", "--draws", "5", "--json") == 0
    found = document(capfd)
    why = {reason["countermeasure"]: reason for reason in found["why"]}
    assert why["disconnect"]["instead_of"] == ["isolate"]
    assert found["stability"]["same"] == 1
    assert found["tornado"][0]["input"] == "attacker criminals"
    assert {price["budget"] for price in found["prices"]} == {"hospital money", "vendor money"}
    assert play(monkeypatch, "plan", SMALL, "--why", "--prices", "--draws", "5") == 0
    told = capfd.readouterr().out
    for word in ("+ without isolate", "by hand", "worth", "criminals", "draws"):
        assert word in told
    assert play(monkeypatch, "plan", SMALL, "--draws", "5", "--factor", "1") == 1
    assert "factor" in capfd.readouterr().err
