"""Published cases, modelled from facts, give the path, the fix, the residual and the trade-off."""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from asepsis.analysis.threats.compiled import Objective
from asepsis.analysis.threats.difference import difference, moved
from asepsis.analysis.threats.file import read_model
from asepsis.analysis.threats.library import shipped
from asepsis.analysis.threats.reasons import Reason, reasons
from asepsis.analysis.threats.study import Planned, Study

RULES = shipped()
DATA = Path(__file__).parent / "data"
PATIENTS = Objective.PATIENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of a case: where it leads, by which rules, what ends it, what is left then."""

    loss: str
    path: tuple[str, ...]
    said: str
    fix: frozenset[str]
    before: float
    residual: float


MODULE = 0.4 * 0.9 * 0.9 * 0.3 * 0.9 * 0.9 * 0.9 * 0.3 * 0.9
"""Chance a year that the communication module falls, by way of the washer."""
MAIL = ("START-MAIL", "NET-PIVOT")
CASES = {
    "mdhex": Case(
        loss="all",
        path=(
            "KEY-PUBLISHED", *MAIL, "NET-REACH", "NET-TALK", "AUTH-CREDENTIAL", "GRANT-SHELL",
            "BREAK-MONOLITH", "MULTI-KEY",
        ),
        said="CVE-2020-6961",
        fix=frozenset({"isolate", "unit-keys"}),
        before=10 * 0.5 * 0.9 * 0.6 * 0.9**6 * 0.6 + 0.5 * 0.6 * 0.9**7,
        residual=0.05 * (10 * 0.05**2 * 0.0860934 + 0.143489),
    ),
    "wannacry": Case(
        loss="everywhere",
        path=("START-ZONE", "NET-REACH", "NET-TALK", "FLAW-WORM", "BREAK-MONOLITH", "MULTI-WORM"),
        said="CVE-2017-0144",
        fix=frozenset({"firewall", "backups"}),
        before=4 * 0.5 * 0.9**4 * 0.6 + 0.5 * 0.9**6,
        residual=0.01 * (4 * 0.5 * 0.9**4 * 0.6 + 0.5 * 0.9**6),
    ),
    "conficker": Case(
        loss="closed",
        path=(
            "START-ZONE", "NET-REACH", "NET-TALK", "FLAW-WORM", "BREAK-MONOLITH", "OWN-STOPS",
            "HARM-OUTAGE",
        ),
        said="phoned home",
        fix=frozenset({"deny-out", "stick-lock"}),
        before=0.5 * 0.5 * 0.9**6,
        residual=0.02 * 0.5 * 0.5 * 0.9**6,
    ),
    "hospira": Case(
        loss="overdose",
        path=(
            *MAIL, "NET-TALK", "AUTH-NONE", "GRANT-SHELL", "BREAK-MONOLITH", "OWN-SETS",
            "HARM-SETTING",
        ),
        said="CVE-2015-3459",
        fix=frozenset({"isolate"}),
        before=10 * 0.5 * 0.6 * 0.9**6 * 0.6,
        residual=0.02 * 10 * 0.5 * 0.6 * 0.9**6 * 0.6,
    ),
    "merlin": Case(
        loss="shock",
        path=("START-ZONE", "FLOW-ALTERS-OTHER", "FLOW-SETS", "HARM-SETTING"),
        said="CVE-2017-5149",
        fix=frozenset({"version-8-2-2", "stay-plugged"}),
        before=5 * 0.2 * 0.1 * 0.6 * 0.6,
        residual=0.04 * 5 * 0.2 * 0.1 * 0.6 * 0.6,
    ),
    "urgent11": Case(
        loss="dose",
        path=(
            *MAIL, "NET-REACH", "NET-TALK", "FLAW-CODE", "BREAK-MONOLITH", "OWN-SETS",
            "HARM-SETTING",
        ),
        said="CVE-2019-12255",
        fix=frozenset({"urgent-rule"}),
        before=4 * 0.3 * 0.6 * 0.9**5 * 0.3 * 0.6 + 0.3 * 0.6 * 0.9**4 * 0.6,
        residual=0.2 * 4 * 0.3 * 0.6 * 0.9**5 * 0.3 * 0.6 + 0.3 * 0.6 * 0.9**3 * 0.3,
    ),
    "ripple20": Case(
        loss="dose",
        path=(
            "START-ZONE", "NET-REACH", "NET-TALK", "FLAW-CODE", "BREAK-MONOLITH", "NET-PIVOT",
            "NET-TALK", "FLAW-CODE", "BREAK-COMPARTMENT", "ESCAPE-KERNEL", "OWN-SETS",
            "HARM-SETTING",
        ),
        said="CVE-2020-11897",
        fix=frozenset({"isolate", "version-6-0-1-67"}),
        before=MODULE * (10 * 0.03 * 0.9 * 0.6 + 0.2 * 0.6 * 0.6),
        residual=0.05 * 0.02 * MODULE * (10 * 0.03 * 0.9 * 0.6 + 0.2 * 0.6 * 0.6),
    ),
    "alaris-gateway": Case(
        loss="dose",
        path=(
            *MAIL, "NET-TALK", "AUTH-NONE", "GRANT-UPDATE", "BREAK-MONOLITH", "TRUST-CENTRAL",
            "HARM-SETTING",
        ),
        said="CVE-2019-10959",
        fix=frozenset({"block-smb", "firmware"}),
        before=8 * 0.5 * 0.6**3 * 0.9**5 + 0.2 * 0.5 * 0.6**2 * 0.9**4,
        residual=0.02 * 8 * 0.5 * 0.6**3 * 0.9**5 + 0.05 * 0.2 * 0.5 * 0.6**2 * 0.9**4,
    ),
}  # fmt: skip


def study(name: str, *, old: str = "", new: str = "") -> Study:
    """Return a case, with one thing told differently."""
    text = (DATA / f"{name}.yaml").read_text("utf-8")
    assert old in text
    model, _ = read_model(text.replace(old, new).encode(), name=f"{name}.yaml")
    return Study(model, rules=RULES, clock=time.monotonic)


@cache
def known(name: str) -> tuple[Study, Planned]:
    found = study(name)
    return found, found.plan(PATIENTS)


def why(made: Study, planned: Planned) -> dict[str, Reason]:
    return {reason.countermeasure: reason for reason in reasons(made, planned)}


@pytest.mark.parametrize("name", list(CASES))
def test_a_case_is_found_again(name: str) -> None:
    """Goal: from the facts of a published case follow its path, its fix and what is left."""
    case = CASES[name]
    made, planned = known(name)
    path = next(path for path in made.paths({}) if path.loss == case.loss)
    assert tuple(s.rule for s in path.sentences if s.rule) == case.path
    assert any(case.said in line for s in path.sentences for line in s.evidence)
    assert planned.best.proven
    assert planned.best.plan.keys() == case.fix
    assert planned.risks["nothing"]["patients"] == pytest.approx(case.before, rel=1e-4)
    assert float(planned.best.risk) == pytest.approx(case.residual, rel=1e-4)
    assert float(planned.best.risk) <= planned.risks["ranked"]["patients"]


def test_mdhex_needs_both_parties() -> None:
    """Goal: network alone or keys alone leave much; the sheet says how much to whom."""
    _, planned = known("mdhex")
    both = float(planned.best.risk)
    assert planned.alone["hospital"] > 5 * both
    assert planned.alone["vendor"] > 15 * both


def test_wannacry_was_stopped_by_a_firewall_alone_unless_it_comes_from_inside() -> None:
    made, planned = known("wannacry")
    alone = made.risks({"firewall": 1})["patients"]
    assert alone == pytest.approx(0.02 * planned.risks["nothing"]["patients"])
    text = why(made, planned)["fixes"].text
    assert "hospital money is short by" in text
    inside = study("wannacry", old="zones: [internet]}", new="zones: [trust]}")
    assert inside.risks({"firewall": 1}) == inside.risks({})
    assert inside.plan(PATIENTS).best.plan.keys() == {"fixes"}


def test_conficker_came_by_a_link_that_nobody_knew_and_might_not_be_cleaned() -> None:
    made, planned = known("conficker")
    drawn = study("conficker", old="reaches: [imaging], ", new="")
    found = difference(drawn.graph, made.graph)
    assert any(line.startswith("NET-REACH") for line in found.opened)
    assert not found.closed
    assert "MED-AUTORUN" in {s.rule for s in drawn.paths({})[0].sentences}
    assert "clean-and-fix" not in planned.best.plan
    assert why(made, planned)["clean-and-fix"].forbidden == ("a rule says never to clean-and-fix",)
    allowed = study("conficker", old="never: true", new="never: false").plan(PATIENTS)
    assert "clean-and-fix" in allowed.best.plan
    assert allowed.best.risk < planned.best.risk


def test_hospira_isolation_beats_disconnection_if_its_harm_is_counted() -> None:
    """Goal: the trade-off of the published case comes out, turns without the harm, and is told."""
    made, planned = known("hospira")
    told = why(made, planned)["disconnect"]
    assert told.instead_of == ("isolate",)
    assert (told.paths, told.added) == (0.0, pytest.approx(0.4))
    assert "entered by hand" in told.text
    assert told.text.endswith("0.4 instead of 0.0191")
    blind = study("hospira", old="harm_patients: 0.4, ", new="")
    other = blind.plan(PATIENTS)
    assert moved(planned.best, other.best) == {"isolate": (1, 0), "disconnect": (0, 1)}
    reason = why(blind, other)["isolate"]
    assert (reason.instead_of, reason.added) == (("disconnect",), 0.0)
    assert reason.text.endswith("0.0191 instead of 0")


def test_merlins_update_works_only_while_the_transmitter_stays_plugged_in() -> None:
    made, planned = known("merlin")
    told = why(made, planned)
    assert told["stay-plugged"].instead_of == ("version-8-2-2",)
    assert told["stay-plugged"].left == pytest.approx(planned.risks["nothing"]["patients"])
    assert told["unplug"].added == pytest.approx(0.3)
    assert told["unplug"].left > planned.risks["nothing"]["patients"]
    blind = study("merlin", old="harm_patients: 0.3, ", new="").plan(PATIENTS)
    assert blind.best.plan.keys() == {"unplug"}


def test_urgent11_is_decided_by_the_list_of_parts_and_by_the_radio() -> None:
    made, planned = known("urgent11")
    assert {path.loss for path in made.paths({})} == {"dose", "stop"}
    parts = study("urgent11", old="flaws: [code, crash]\n    evidence", new="evidence")
    assert [path.loss for path in parts.paths({})] == ["stop"]
    assert "hospital downtime_h is short by 76" in why(made, planned)["version-12-1-1"].text
    patient = study("urgent11", old="downtime_h: 24", new="downtime_h: 100")
    roomy = study("urgent11", old="money: 5000 USD", new="money: 5000 USD, downtime_h: 1")
    assert patient.plan(PATIENTS).best.plan.keys() >= {"version-12-1-1"}
    assert roomy.plan(PATIENTS).best.plan == planned.best.plan
    assert why(made, planned)["no-radio"].added == pytest.approx(0.5)


def test_ripple20_stops_at_the_module_and_a_statement_settles_what_is_affected() -> None:
    """Goal: a sandbox buys two orders; "not affected" (VEX) closes the paths that lean on it."""
    made, _ = known("ripple20")
    paths = {path.loss: path for path in made.paths({})}
    one_piece = study(
        "ripple20", old="protocol: stack, auth: mutual, compartment: module", new="protocol: stack"
    )
    whole = {path.loss: path for path in one_piece.paths({})}
    assert paths["dose"].exploitability == "very-hard"
    assert whole["dose"].probability > 20 * paths["dose"].probability
    assert paths["figures"].probability > 20 * paths["dose"].probability
    stated = study("ripple20", old="compartment: module, flaws: [code, crash],", new="")
    assert stated.paths({}) == []


def test_alaris_gateway_without_the_share_still_shows_its_pages() -> None:
    made, planned = known("alaris-gateway")
    told = why(made, planned)
    assert told["firmware"].left > 1.5 * float(planned.best.risk)
    assert told["block-smb"].left > 30 * float(planned.best.risk)
    assert "hospital money is short by 2500" in told["vlan"].text
    assert made.risks({"vlan": 1})["patients"] > made.risks(planned.best.plan)["patients"]
