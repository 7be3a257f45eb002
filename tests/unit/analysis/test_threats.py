"""Models are read strictly, mean what their facts mean, and give paths and plans that hold."""

import json
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from asepsis.analysis.threats.compiled import Objective, compile_model
from asepsis.analysis.threats.difference import difference, meaning
from asepsis.analysis.threats.file import read_model, schema
from asepsis.analysis.threats.library import shipped
from asepsis.analysis.threats.model import SECTIONS
from asepsis.analysis.threats.pta import read_analysis
from asepsis.analysis.threats.reading import MODEL_BYTES_MAX, read_text
from asepsis.analysis.threats.study import Study, parse_plan, plan_document
from asepsis.core.errors import Conflict, InputError, LimitExceeded

RULES = shipped()
EXAMPLES = files("asepsis.analysis.threats") / "examples"
HOSPITAL = (EXAMPLES / "hospital.yaml").read_text("utf-8")
BEDSIDE = (EXAMPLES / "bedside.yaml").read_text("utf-8")
CASES = Path(__file__).parent / "data"


def study(text: str) -> Study:
    model, _ = read_model(text.encode(), name="m.yaml")
    return Study(model, rules=RULES, clock=time.monotonic)


@pytest.fixture(scope="module")
def hospital() -> Study:
    return study(HOSPITAL)


@pytest.mark.parametrize(
    ("old", "new", "words", "hint"),
    [
        ("kind: pump", "kinds: pump", "unknown key 'kinds'", 'did you mean "kind"'),
        ("kind: pump", "kind: pomp", "Invalid enum value", ""),
        ("zones: [imaging]", "zones: [imagine]", "no 'imagine' in zones", 'mean "imaging"'),
        ("per_year: 0.5", "per_year: 1.5", "<= 1", ""),
        ("value: 2000000 EUR", "value: 2000000", "without a currency", "2000000 EUR"),
        ("value: 2000000 EUR", "value: 2000000 USD", "is not in EUR", ""),
        ("factors: [0.6]", "factors: [0.6, 0.1]", "one factor for each of 1 levels", ""),
        ("{loss: exams", "{loss: exam", "there is no 'exam'", 'mean "exams"'),
        ("conflicts: [pump-gateway]", "needs: [pumps-off-network]", "in a circle", ""),
        ("currency: EUR", "money: EUR", "unknown key 'money'", ""),
        ("losses:\n  alarms:", "losses:\n  Alarms:", "an id is a word", ""),
        ("harm: data-theft, asset: records", "harm: data-theft", "needs a 'asset'", ""),
        ("budgets:\n  hospital:", "budgets:\n  ward:", "no party 'ward'", ""),
        ("name: Intensive", "name: &a Intensive", "no anchors", ""),
        ("name: Intensive", "name: !!python/none Intensive", "no tags", ""),
        ("years: 5", "years: 5\nyears: 6", "stands here twice", ""),
        ("zones:\n", "zones: [\n", "m.yaml:", ""),
        ("years: 5", "years: many", "Expected `int`".replace("`", ""), ""),
    ],
)
def test_a_mistake_is_told_with_its_line_and_the_nearest_name(
    old: str, new: str, words: str, hint: str
) -> None:
    assert old in HOSPITAL
    with pytest.raises(InputError) as raised:
        read_model(HOSPITAL.replace(old, new, 1).encode(), name="m.yaml")
    assert words in str(raised.value)
    assert str(raised.value).startswith("m.yaml:")
    assert hint in raised.value.hint


def test_the_line_is_the_right_one() -> None:
    line = (
        HOSPITAL.splitlines().index(
            "  office: {text: the hospital's office network, reaches: [bedside, imaging]}"
        )
        + 1
    )
    with pytest.raises(InputError, match=rf"^m.yaml:{line}: zones.office.reaches"):
        read_model(
            HOSPITAL.replace("reaches: [bedside, imaging]", "reaches: [x]").encode(), name="m.yaml"
        )


@pytest.mark.parametrize(
    "raw",
    [b"a: " + b"[" * 40 + b"]" * 40, b"a: " + b"x" * 5000, b" " * (MODEL_BYTES_MAX + 1)],
    ids=["deep", "long", "large"],
)
def test_limits_hold(raw: bytes) -> None:
    with pytest.raises(LimitExceeded):
        read_text(raw, name="m.yaml")


@pytest.mark.parametrize("raw", [b"", b"- a", b"a: *b", b"\xff", b"a: 1\n---\nb: 2", b"? [a]\n: 1"])
def test_what_is_no_model_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        read_model(raw, name="m.yaml")


def test_words_keep_their_meaning() -> None:
    text = read_text(
        b"a: yes\nb: '1'\nc: 1\nd: 1.5\ne: true\nf: ~\ng: 1_0\nh: 2020-01-01\n", name="m"
    )
    assert text.content == {
        "a": "yes", "b": "1", "c": 1, "d": 1.5, "e": True, "f": None, "g": "1_0", "h": "2020-01-01",
    }  # fmt: skip


def test_examples_keep_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    for text in (HOSPITAL, *(file.read_text("utf-8") for file in sorted(CASES.glob("*.yaml")))):
        validator.validate(read_text(text.encode(), name="m").content)
    broken = read_text(HOSPITAL.replace("kind: pump", "kind: pomp").encode(), name="m").content
    assert list(validator.iter_errors(broken))


def test_the_hospital_has_paths_in_plain_sentences_worst_first(hospital: Study) -> None:
    paths = hospital.paths({})
    assert [path.loss for path in paths][:2] == ["all-beds", "alarms"]
    assert len(paths) == 6
    worst = paths[1]
    assert worst.sentences[0].text.startswith("a worm on a stick")
    assert "starts by itself" in worst.sentences[2].text
    assert worst.sentences[2].evidence == ("monitor: inventory 2026-09-01",)
    assert worst.exploitability == "easy"
    assert worst.columns == pytest.approx({"money": 291600, "hours": 4.6656, "patients": 0.3888})
    for path in paths:
        assert path.at_most == pytest.approx(path.probability)
        assert path.expected is not None
        assert path.expected.low <= path.expected.high
        assert path.probability <= path.expected.high
        assert json.dumps(path.to_document())


def test_the_hospitals_plan_is_proven_and_better_than_the_ranked_one(hospital: Study) -> None:
    planned = hospital.plan(Objective.PATIENTS)
    document = plan_document(hospital, planned)
    assert planned.best.proven
    assert "password-at-pumps" not in planned.best.plan  # A rule says never.
    left = [planned.risks[name]["patients"] for name in ("best", "ranked", "nothing")]
    assert left == sorted(set(left))
    assert left[0] == pytest.approx(float(planned.best.risk))
    for name, limit in document["budgets"].items():
        assert document["costs"][name] <= limit
    assert set(document["risks"]["best"]) == {"money", "hours", "patients"}
    assert document["risks"]["best"]["patients"] <= min(planned.alone.values())
    assert json.dumps(document)


def test_more_money_buys_less_risk_on_the_front(hospital: Study) -> None:
    points = hospital.front(Objective.PATIENTS, "vendor money")
    assert points[0].costs["vendor money"] == 0
    assert [p.risk for p in points] == sorted((p.risk for p in points), reverse=True)
    assert all(point.proven for point in points)
    with pytest.raises(InputError, match="no budget"):
        hospital.front(Objective.MONEY, "ward money")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# An intensive", "# A small intensive"),
        ("text: bedside monitors", "text: monitors at the bed"),
        ("zones: [bedside, office], kind: gateway", "kind: gateway, zones: [office, bedside]"),
        ('evidence: ["inventory 2026-09-01"]', "evidence: []"),
        ("years: 5", "years: 5  # as the hospital writes off"),
    ],
)
def test_a_cosmetic_change_means_nothing(old: str, new: str, hospital: Study) -> None:
    other = study(HOSPITAL.replace(old, new, 1))
    assert meaning(other.graph) == meaning(hospital.graph)
    assert difference(hospital.graph, other.graph).nothing


@pytest.mark.parametrize(
    ("old", "new", "opened", "closed"),
    [
        ("autorun: true\n    local_login", "autorun: false\n    local_login", "", "MED-AUTORUN"),
        ("none, clear: true, grants: [shell", "mutual, grants: [shell", "", "AUTH-NONE"),
        ("reaches: [bedside, imaging]", "reaches: [bedside, imaging, vendor]", "NET-REACH", ""),
        ("system: unsupported\n    ports", "system: supported\n    ports", "", "OLD-SYSTEM"),
    ],
    ids=["autorun", "authentication", "reach", "system"],
)  # fmt: skip
def test_a_real_change_is_told(
    old: str, new: str, opened: str, closed: str, hospital: Study
) -> None:
    found = difference(hospital.graph, study(HOSPITAL.replace(old, new, 1)).graph)
    assert not found.nothing
    assert any(line.startswith(opened) for line in found.opened) == bool(opened)
    assert any(line.startswith(closed) for line in found.closed) == bool(closed)


def test_an_accepted_risk_is_a_ceiling_that_money_must_keep() -> None:
    tight = HOSPITAL.replace(
        "function: infusion, severity", "function: infusion, accept: 0.001, severity"
    )
    with pytest.raises(Conflict) as raised:
        study(tight).plan(Objective.PATIENTS)
    assert raised.value.hint


def test_an_estimate_replaces_a_default_and_own_names_are_checked() -> None:
    told = HOSPITAL + "\nestimates:\n  MED-AUTORUN: {probability: 0.1, reason: measured in 2025}\n"
    paths = {path.loss: path for path in study(told).paths({})}
    assert paths["exams"].probability < 0.1944
    with pytest.raises(InputError, match="no such rule"):
        study(told.replace("MED-AUTORUN", "MED-MAGIC"))
    with pytest.raises(InputError, match="tagged 'magic'"):
        study(HOSPITAL.replace("steps: [phishing]", "steps: [magic]"))
    with pytest.raises(InputError, match="countermeasure 'moat'"):
        parse_plan(study(HOSPITAL).model, ["moat"])


def test_nobody_reaches_anything_in_an_empty_model() -> None:
    empty = study("asepsis: threats/1\nname: n\ncurrency: EUR\n")
    assert empty.paths({}) == []
    assert empty.objectives() == []
    assert empty.graph.steps == compile_model(empty.model, []).steps
    assert all(not getattr(empty.model, section) for section in SECTIONS)


def test_anti_virus_ranks_last_at_the_bedside_and_the_report_says_why() -> None:
    """Goal: the published order: USB lock-down, fewer defects and signed updates come before it."""
    report = read_analysis(BEDSIDE.encode(), name="b.yaml").report(budget=100_000)
    order = [line["name"] for line in report["cost_effectiveness"]]
    assert order[-1] == "antivirus"
    assert {"usb-lockdown", "defect-reduction", "signed-updates"} < set(order[:-1])
    assert "of usb-worm" in report["cost_effectiveness"][-1]["why"]
    status: dict[str, Any] = report["status"]
    assert status["maximal_risk"] == "895000 EUR a year, 27% of assets"
    assert status["minimal_risk"] == "121500 EUR a year, 4% of assets"


def test_the_exact_pta_plan_is_never_worse_than_the_ranked_one() -> None:
    found = read_analysis(BEDSIDE.encode(), name="b.yaml")
    beaten = 0
    for budget in range(0, 240_000, 12_000):
        report = found.report(budget=budget)
        ranked, exact = (float(report[n]["risk_left"].split()[0]) for n in ("ranked", "exact"))
        assert exact <= ranked
        beaten += exact < ranked
    assert beaten
    assert found.report(budget=None)["ranked"]["risk_left"] == "121500 EUR a year"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("plan: {encryption: 0.6", "plan: {antivirus: 0.6", "mitigates none"),
        ("segregation: 0.4", "segregation: 0.5", "more than 1"),
        ("damages: {confidentiality", "damages: {confidence", "no 'confidence'"),
        ("cost: 8000 EUR", "cost: 8000 CHF", "not in EUR"),
        ("asepsis: pta/1", "asepsis: pta/2", "pta/1"),
        ("mitigates: [usb-ports]", "mitigates: [usb]", "no 'usb'"),
        ("currency: EUR\n", "", "'currency' is missing"),
    ],
)
def test_a_mistake_in_a_pta_is_told(old: str, new: str, words: str) -> None:
    assert old in BEDSIDE
    with pytest.raises(InputError, match=words):
        read_analysis(BEDSIDE.replace(old, new, 1).encode(), name="b.yaml")
