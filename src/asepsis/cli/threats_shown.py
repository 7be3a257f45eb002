"""What `asepsis threats` prints for people."""

from collections.abc import Sequence
from typing import Any

from asepsis.analysis.plans.planner import Outcome
from asepsis.analysis.threats.compiled import UNITS, Objective
from asepsis.analysis.threats.study import Planned, Study
from asepsis.analysis.threats.telling import Path as AttackPath
from asepsis.cli.output import console, show_facts, show_json, show_table


def show_check(study: Study, document: dict[str, Any]) -> None:
    """Print what was read and what is over its limit."""
    things = ", ".join(f"{count} {name}" for name, count in document["things"].items() if count)
    console.print(f"{study.model.name}: {things}", markup=False)
    console.print(f"  {document['steps']} steps of attackers", markup=False)
    for name, risk in document["risks"].items():
        console.print(f"  {figure(risk)} {UNITS[Objective(name)]} ({name})", markup=False)
    for line in document["over"]:
        console.print(f"  OVER {line['objective']}: {line['limit']:g} allowed", markup=False)
    for line in document["not_accepted"]:
        words = f"{line['probability']:.3g} a year, accepted {line['accepted']:g}"
        console.print(f"  NOT ACCEPTED {line['loss']}: {words}", markup=False)


def show_path(path: AttackPath, currency: str) -> None:
    """Print one path, step by step."""
    amounts = path.columns
    console.print(f"{path.text} [{path.loss}] ({path.severity})", markup=False, style="bold")
    console.print(
        f"  a year: {amounts['patients']:.3g} patients | {amounts['money']:,.0f} {currency} | "
        f"{amounts['hours']:.3g} h | exploitability: {path.exploitability}",
        markup=False,
    )
    words = f"  best path: {path.probability:.3g} a year"
    if path.expected is not None:
        low, high = path.expected.low, path.expected.high
        words += f"; any path: {low:.3g}" if path.expected.exact else (
            f"; any path: between {low:.3g} and {high:.3g}"
        )  # fmt: skip
    console.print(words, markup=False)
    for number, step in enumerate(path.sentences, 1):
        tail = f" ({step.difficulty}, {step.probability:.3g}; {step.rule})" if step.rule else ""
        console.print(f"  {number}. {step.text}{tail}", markup=False, soft_wrap=True)
        for line in step.evidence:
            console.print(f"     seen: {line}", markup=False)
    console.print()


def show_plan(study: Study, planned: Planned) -> None:
    """Print the plan and what stands beside it."""
    best, unit = planned.best, UNITS[planned.objective]
    nothing = planned.risks["nothing"][planned.objective.value]
    bound = f"no plan is below {figure(best.bound)}, gap {best.gap:.2%}"
    console.print(
        f"Best plan for {planned.objective.value}: {figure(nothing)} -> "
        f"{figure(float(best.risk))} {unit} ({_proof(best.proven)}; {bound}; metric: best path)",
        markup=False,
        soft_wrap=True,
    )
    measures = study.model.countermeasures
    rows = [
        (name, level, measures[name].pays, measures[name].decides,
         measures[name].levels[level - 1].text or measures[name].text)
        for name, level in best.plan.items()
    ]  # fmt: skip
    show_table("What to do", ("", "level", "pays", "decides", ""), rows)
    show_facts("What it takes", {k: f"{float(v):,.0f}" for k, v in best.costs.items() if v})
    objectives = list(planned.risks["nothing"])
    left = [
        (name, *(figure(risks[o]) for o in objectives)) for name, risks in planned.risks.items()
    ]
    show_table("What is left a year (best paths)", ("plan", *objectives), left)
    _show_difference(planned)
    alone = [(f"only the {party} acts", figure(risk)) for party, risk in planned.alone.items()]
    show_table(f"If one party does nothing: {planned.objective.value} left", ("", unit), alone)


def show_front(points: Sequence[Outcome], objective: Objective, budget: str, *, json: bool) -> None:
    """Print what each amount of a budget buys."""
    if json:
        rows = [
            {
                "cost": float(point.costs.get(budget, 0)),
                "risk": float(point.risk),
                "proven": point.proven,
                "plan": dict(point.plan),
            }
            for point in points
        ]
        show_json(rows)
        return
    cells = [
        (
            f"{float(point.costs.get(budget, 0)):,.0f}",
            figure(float(point.risk)),
            _proof(point.proven),
            _words(point.plan),
        )
        for point in points
    ]
    show_table(f"What {budget} buys", (budget, UNITS[objective], "", "plan"), cells)


def _show_difference(planned: Planned) -> None:
    only_best = {n: v for n, v in planned.best.plan.items() if planned.ranked.get(n) != v}
    only_ranked = {n: v for n, v in planned.ranked.items() if planned.best.plan.get(n) != v}
    of = planned.objective.value
    more = planned.risks["ranked"][of] - planned.risks["best"][of]
    console.print(
        f"The ranked plan leaves {figure(more)} more: it takes "
        f"{_words(only_ranked) or 'nothing'} instead of {_words(only_best) or 'nothing'}.",
        markup=False,
        soft_wrap=True,
    )


def _words(plan: Any) -> str:
    return ", ".join(f"{name}={level}" if level > 1 else name for name, level in plan.items())


def figure(value: float) -> str:
    """Return a figure for people."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _proof(proven: bool) -> str:  # noqa: FBT001 - says it in a word
    return "proven" if proven else "not proven"
