"""The report for a hospital's committee: what is at stake, what to do, what remains, who accepts.

Source: ANSI/AAMI SW96:2023 (risk table, transfer to safety risk); ISO 14971:2019, 7.4 to 7.6 and 8;
IEC 80001-1:2021, 5.6 (residual risk is accepted by name).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.analysis.plans.planner import Outcome
from asepsis.analysis.plans.problem import Plan
from asepsis.analysis.threats.compiled import UNITS, Objective, budgets
from asepsis.analysis.threats.difference import meaning
from asepsis.analysis.threats.file import money
from asepsis.analysis.threats.library import shipped
from asepsis.analysis.threats.model import Model
from asepsis.analysis.threats.reports.blocks import Block, Document, Heading, Table, Words
from asepsis.analysis.threats.reports.figures import figure, front_figure, path_figure
from asepsis.analysis.threats.study import Planned, Study
from asepsis.analysis.threats.telling import Path, Sentence

PATHS_DRAWN: Final = 3
NOBODY: Final = "nobody yet"
_METHOD: Final = (
    "A risk is what attackers' best paths to the losses are expected to cost in a year, with the "
    "harm that the plan itself adds. Patients, money and hours are never added up. Likelihoods are "
    "estimates of people: their order is the statement, and the model can replace each of them. "
    '"Proven" is said only of the risk by best paths in the objective that was optimised: no plan '
    "within the budgets leaves less. All other figures are evaluated on that plan."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a report is made from.

    Attributes:
        study: Model and graph.
        planned: The plan.
        before: Best paths with nothing done, worst first.
        after: Best paths under the plan, by loss; none where a loss cannot be reached any more.
        budget: Of the curve, such as `hospital money`.
        front: What each amount of it buys.
        made: Day, YYYY-MM-DD.
    """

    study: Study
    planned: Planned
    before: Sequence[Path]
    after: Mapping[str, Path]
    budget: str
    front: Sequence[Outcome]
    made: str


def findings(
    study: Study, objective: Objective, *, made: str, budget: str | None = None
) -> Findings:
    """Compute what a report shows.

    Args:
        study: Model and graph.
        objective: In what the plan is to be best.
        made: Day, YYYY-MM-DD.
        budget: For the curve, such as `hospital money`; None for no curve.

    Raises:
        Conflict: Nothing keeps budgets and accepted risks.
        InputError: No such budget, or nothing that counts can be reached.
    """
    planned = study.plan(objective)
    return Findings(
        study=study,
        planned=planned,
        before=study.paths({}),
        after={p.loss: p for p in study.paths(planned.best.plan, expected=False)},
        budget=budget or "",
        front=() if budget is None else study.front(objective, budget),
        made=made,
    )


def committee(found: Findings) -> Document:
    """Return the report."""
    model = found.study.model
    return Document(
        title=f"Security risks to patients: {model.name}",
        subtitle=f"Made {found.made}; meaning of the model {meaning(found.study.graph)[:16]}",
        blocks=(
            *_summary(found),
            *_plan(found),
            *_curve(found),
            *_paths(found),
            *accepted(found),
            *_risks(found),
            *_traces(found),
            Heading(text="How to read the figures"),
            Words(text=_METHOD),
        ),
    )


def accepted(found: Findings) -> Iterator[Block]:
    """Yield what remains under the plan and who has accepted it."""
    yield Heading(text="What remains, and who accepts it")
    rows: list[tuple[str, ...]] = []
    for path in found.before:
        loss = found.study.model.losses[path.loss]
        left = left_of(found, path.loss)
        ceiling = "none said" if loss.accept is None else f"{loss.accept:g}"
        who = f"{loss.accepted_by}, {loss.accepted_on or 'no day'}" if loss.accepted_by else NOBODY
        if loss.accept is not None and left > loss.accept:
            who = f"OVER what is accepted ({who})"
        rows.append((path.text, path.severity, f"{left:.3g}", ceiling, who))
    head = ("loss", "severity", "a year, at most", "accepted up to", "accepted by, on")
    yield Table(head=head, rows=rows, widths=(4, 1.5, 1.5, 1.5, 3))
    open_ = sum(row[-1] == NOBODY for row in rows)
    if open_:
        yield Words(text=f"{open_} of {len(rows)} residual risks have no name yet.", strong=True)


def plan_rows(model: Model, plan: Plan) -> list[tuple[str, ...]]:
    """Return a line for each countermeasure: what, pays, decides, money, downtime, effort, harm."""
    rows: list[tuple[str, ...]] = []
    for name, number in plan.items():
        control = model.countermeasures[name]
        level = control.levels[number - 1]
        words = level.text or control.text or name
        rows.append(
            (
                f"{words} [{name}{f'={number}' if len(control.levels) > 1 else ''}]",
                control.pays,
                control.decides,
                f"{level.once or '-'} / {level.yearly or '-'}",
                f"{level.downtime_h:g} / {level.effort_h:g}",
                added_harm(model, name, number) or "none",
            )
        )
    return rows


PLAN_HEAD: Final = (
    "what",
    "pays",
    "decides",
    "once / yearly",
    "hours of downtime / work",
    "harm it adds a year",
)
PLAN_WIDTHS: Final = (4.5, 1.2, 1.2, 2, 1.6, 3)


def unit_of(model: Model, objective: Objective) -> str:
    """Return in what an objective counts, such as "EUR a year"."""
    return f"{model.currency} a year" if objective is Objective.MONEY else UNITS[objective]


def added_harm(model: Model, name: str, number: int) -> str:
    """Return in words what harm a level itself adds a year; empty if none."""
    level = model.countermeasures[name].levels[number - 1]
    parts = [
        f"{level.harm_patients:g} patients" if level.harm_patients else "",
        f"{level.harm_hours:g} h" if level.harm_hours else "",
        level.harm_money or "",
    ]
    words = ", ".join(part for part in parts if part)
    return f"{words}: {level.harm_why}" if words and level.harm_why else words


def proof_words(best: Outcome) -> str:
    """Return how sure it is that nothing is better."""
    if best.proven:
        return "proven: no plan within the budgets leaves less"
    return f"not proven: no plan leaves less than {figure(best.bound)} (gap {best.gap:.1%})"


def _summary(found: Findings) -> Iterator[Block]:
    planned, study = found.planned, found.study
    of, unit = planned.objective.value, unit_of(study.model, planned.objective)
    nothing, best = planned.risks["nothing"][of], planned.risks["best"][of]
    less = f"{1 - best / nothing:.0%} less" if nothing else "as before"
    yield Heading(text="In short")
    if study.model.text:
        yield Words(text=study.model.text)
    yield Words(
        text=f"If nothing is done, attacks are expected to cost {figure(nothing)} {unit} by their "
        f"best paths. The plan leaves {figure(best)}, {less} ({proof_words(planned.best)}). "
        f"It has {len(planned.best.plan)} measures; a list that takes each measure by its own "
        f"worth leaves {figure(planned.risks['ranked'][of])}.",
        strong=True,
    )
    objectives = list(planned.risks["nothing"])
    names = {"nothing": "nothing is done", "best": "this plan", "ranked": "the ranked list"}
    rows = [
        (names.get(name, name), *(figure(risks[o]) for o in objectives))
        for name, risks in planned.risks.items()
    ]
    for party, risk in planned.alone.items():
        cells = (figure(risk) if o == of else "-" for o in objectives)
        rows.append((f"only the {party} does its part", *cells))
    head = ("a year, by best paths", *(unit_of(study.model, Objective(o)) for o in objectives))
    yield Table(head=head, rows=rows)


def _plan(found: Findings) -> Iterator[Block]:
    yield Heading(text="What to decide")
    model, best = found.study.model, found.planned.best
    yield Table(
        head=PLAN_HEAD,
        rows=plan_rows(model, best.plan),
        widths=PLAN_WIDTHS,
        none="No measure is worth its cost within the budgets.",
    )
    limits = budgets(model)
    yield Table(
        head=("budget", "this plan takes", "limit"),
        rows=[
            (name, f"{float(cost):,.0f}", f"{float(limits[name]):,.0f}" if name in limits else "-")
            for name, cost in best.costs.items()
            if cost or name in limits
        ],
        none="No budget is used.",
    )


def _curve(found: Findings) -> Iterator[Block]:
    planned, unit = found.planned, unit_of(found.study.model, found.planned.objective)
    of = planned.objective.value
    yield Heading(text=f"What {found.budget} buys")
    limit = budgets(found.study.model).get(found.budget)
    best = planned.best
    ranked = sum(
        float(_cost(found.study.model, name, level, found.budget))
        for name, level in planned.ranked.items()
    )
    yield front_figure(
        [(float(p.costs.get(found.budget, 0)), float(p.risk)) for p in found.front],
        marks=[
            ("this plan", float(best.costs.get(found.budget, 0)), float(best.risk)),
            ("ranked list", ranked, planned.risks["ranked"][of]),
        ],
        axes=(f"{found.budget} a year", f"{of} left ({unit})"),
        caption=f"Least risk in {of} that each amount of {found.budget} leaves, with all other "
        "budgets as they are. Between two steps more of it buys nothing.",
        limit=None if limit is None else float(limit),
    )
    yield Table(
        head=(found.budget, f"{of} left", "", "measures"),
        rows=[
            (
                f"{float(p.costs.get(found.budget, 0)):,.0f}",
                figure(float(p.risk)),
                "proven" if p.proven else "not proven",
                ", ".join(p.plan) or "none",
            )
            for p in found.front
        ],
        widths=(1.5, 1.2, 1.2, 6),
    )


def _paths(found: Findings) -> Iterator[Block]:
    yield Heading(text="The worst paths to patients")
    if not found.before:
        yield Words(text="No attacker of the model gets to any loss.")
    for path in found.before[:PATHS_DRAWN]:
        columns = path.columns
        yield Heading(text=path.text, level=2)
        yield Words(
            text=f"{columns['patients']:.3g} patients, {columns['money']:,.0f} "
            f"{found.study.model.currency} and {columns['hours']:.3g} hours a year by this path; "
            f"exploitability: {path.exploitability}. Under the plan the best path to this loss "
            f"has {left_of(found, path.loss):.3g} a year instead of {path.probability:.3g}."
        )
        yield path_figure(
            path,
            caption=f"Best path to: {path.text}, with nothing done. Each box says how hard the "
            "step is, its probability and its rule; arrows say what a step needs.",
        )
        seen = list(dict.fromkeys(line for step in path.sentences for line in step.evidence))
        if seen:
            yield Words(text="Evidence: " + "; ".join(seen))


def _risks(found: Findings) -> Iterator[Block]:
    """Yield the table of SW96: each threat before and after, and what goes to safety."""
    yield Heading(text="Risk table (in the form of ANSI/AAMI SW96)")
    rows: list[tuple[str, ...]] = []
    for number, path in enumerate(found.before, 1):
        loss = found.study.model.losses[path.loss]
        after = found.after.get(path.loss)
        controls = [c for step in path.sentences for c in step.countermeasures]
        taken = list(dict.fromkeys(c for c in controls if c in found.planned.best.plan))
        rows.append(
            (
                f"R{number}",
                path.sentences[0].text if path.sentences else "",
                f"{path.text} ({loss.harm}, {loss.function or loss.asset})",
                f"{path.exploitability}; {path.probability:.3g}",
                path.severity,
                ", ".join(taken) or "none on this path",
                f"{after.exploitability}; {after.at_most:.3g}" if after else "not reached",
                _judged(found, path.loss),
                "yes" if loss.patients or loss.function else "no",
            )
        )
    yield Table(
        head=(
            "id",
            "threat source",
            "harm",
            "exploitability; a year",
            "severity",
            "controls",
            "after: exploitability; a year",
            "residual",
            "to ISO 14971",
        ),
        rows=rows,
        widths=(0.7, 2.4, 3, 1.9, 1.7, 2.2, 1.9, 1.5, 1.2),
    )
    harms = [
        (name, words)
        for name, level in found.planned.best.plan.items()
        if (words := added_harm(found.study.model, name, level))
    ]
    yield Words(text="Risks that arise from the controls themselves (ISO 14971:2019, 7.5):")
    yield Table(head=("control", "harm it adds a year"), rows=harms, widths=(1, 3))


def _traces(found: Findings) -> Iterator[Block]:
    """Yield which step is met by which control, and what shows that the control works."""
    yield Heading(text="From threat to control to test")
    titles = {rule.id: rule.text.title for rule in shipped()}
    steps: dict[tuple[str, tuple[str, ...]], Sentence] = {}
    for path in found.before:
        for step in path.sentences:
            if step.rule:
                steps.setdefault((step.rule, step.things), step)
    model, plan = found.study.model, found.planned.best.plan
    rows: list[tuple[str, ...]] = []
    for step in steps.values():
        threat = f"{step.rule} {titles.get(step.rule, '')}: {step.text}"
        taken = [name for name in step.countermeasures if name in plan]
        for name in taken:
            tests = "; ".join(model.countermeasures[name].tests)
            rows.append((threat, name, tests or "NO TEST NAMED"))
        if not taken:
            others = ", ".join(step.countermeasures)
            words = f"not in the plan: {others}" if others else "no control in the model"
            rows.append((threat, words, "-"))
    yield Table(head=("step of a best path", "control", "test"), rows=rows, widths=(5, 2.5, 2.5))
    missing = sorted({row[1] for row in rows if row[2] == "NO TEST NAMED"})
    if missing:
        words = f"Controls of the plan without a named test: {', '.join(missing)}."
        yield Words(text=words, strong=True)


def left_of(found: Findings, loss: str) -> float:
    """Return the probability a year of a loss under the plan, by its best path; rounded up."""
    after = found.after.get(loss)
    return after.at_most if after else 0.0


def _judged(found: Findings, loss: str) -> str:
    accept = found.study.model.losses[loss].accept
    if accept is None:
        return "to be judged"
    return "acceptable" if left_of(found, loss) <= accept else "NOT acceptable"


def _cost(model: Model, name: str, number: int, budget: str) -> float:
    control = model.countermeasures[name]
    level = control.levels[number - 1]
    return {
        f"{control.pays} money": float(money(level.yearly) + money(level.once) / model.years),
        f"{control.decides} downtime_h": level.downtime_h,
        f"{control.decides} effort_h": level.effort_h,
    }.get(budget, 0.0)
