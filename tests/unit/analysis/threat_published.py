"""The published examples as problems; their data stand beside this file with their sources."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from asepsis.analysis.plans.problem import Control, Goal, Level, Problem, Step
from asepsis.analysis.plans.trees import Gate, Tree

DATA = Path(__file__).parent / "data"


def read(name: str) -> dict[str, Any]:
    return json.loads((DATA / name).read_text("utf-8"))


def exact(value: float) -> Fraction:
    """Return the decimal fraction that was printed."""
    return Fraction(repr(value))


def nist() -> tuple[Problem, list[dict[str, Any]]]:
    """Return the NIST network and its optima."""
    data = read("nist_network.json")
    controls = {
        name: Control(
            name=name,
            levels=tuple(
                Level(costs={"direct": exact(v["direct"]), "indirect": exact(v["indirect"])})
                for v in control["levels"]
            ),
        )
        for name, control in data["controls"].items()
    }
    factors = {
        name: tuple(exact(level["factor"]) for level in control["levels"])
        for name, control in data["controls"].items()
    }
    steps = [Step(target=data["source_node"], premises=(), probability=Fraction(1))]
    steps += [
        Step(
            target=edge["dst"],
            premises=(edge["src"],),
            probability=exact(edge["p"]),
            effects={name: factors[name] for name in edge["controls"]},
        )
        for edge in data["edges"]
    ]
    goals = tuple(Goal(name=str(node), node=node) for node in data["targets"])
    problem = Problem(
        nodes=tuple(data["nodes"]), steps=tuple(steps), controls=controls, goals=goals
    )
    return problem, data["expected"]


def bag13() -> tuple[Problem, list[dict[str, Any]]]:
    """Return the Bayesian graph: a node is reached by its own exploit after any parent."""
    data = read("bag13.json")
    names = ["attacker", *(f"{kind}{n}" for n in data["nodes"] for kind in ("beside", "on"))]
    index = {name: i for i, name in enumerate(names)}
    coverage: dict[str, dict[str, tuple[Fraction, ...]]] = {}
    for control in data["controls"]:
        for cve in control["cves"]:
            factor = (1 - exact(control["coverage"]),)
            coverage.setdefault(cve, {})[str(control["id"])] = factor
    steps = [Step(target=0, premises=(), probability=Fraction(1))]
    for source, target in data["edges"]:
        at = index[f"on{source}"] if source else 0
        steps.append(Step(target=index[f"beside{target}"], premises=(at,), probability=Fraction(1)))
    for number, node in data["nodes"].items():
        steps.append(
            Step(
                target=index[f"on{number}"],
                premises=(index[f"beside{number}"],),
                probability=exact(node["p"]),
                effects=coverage.get(node["cve"], {}),
            )
        )
    controls = {
        str(c["id"]): Control(name=str(c["id"]), levels=(Level(costs={"money": exact(c["cost"])}),))
        for c in data["controls"]
    }
    goals = tuple(Goal(name=f"goal {n}", node=index[f"on{n}"]) for n in data["goals"])
    problem = Problem(nodes=tuple(names), steps=tuple(steps), controls=controls, goals=goals)
    return problem, data["answers"]


def poolsappasit() -> tuple[Problem, dict[str, float]]:
    """Return figure 3: each edge succeeds by itself."""
    data = read("poolsappasit_fig3.json")
    names = ("A", "B", "C", "D")
    steps = [
        Step(target=names.index(name), premises=(), probability=exact(p))
        for name, p in data["prior"].items()
    ]
    steps += [
        Step(target=names.index(b), premises=(names.index(a),), probability=exact(p))
        for a, b, p in data["edges"]
    ]
    goals = tuple(Goal(name=name, node=i) for i, name in enumerate(names))
    return Problem(nodes=names, steps=tuple(steps), controls={}, goals=goals), data["answers"]


def tree(document: dict[str, Any]) -> Tree:
    """Return an attack-defence tree."""
    return Tree(
        name=document["name"],
        cost=document.get("cost", 0),
        gate=Gate(document["gate"]) if "gate" in document else None,
        parts=tuple(tree(part) for part in document.get("parts", [])),
        counters=tuple(tree(part) for part in document.get("counters", [])),
    )
