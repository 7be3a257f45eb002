"""Why this and not that: what a plan leaves without each thing it takes, and with each it does not.

Every sentence is computed by putting the thing in or taking it out and looking at the paths again,
so that harm a countermeasure itself adds (ISO 14971:2019, 7.5) stands beside the harm it spares.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from asepsis.analysis.plans.problem import Plan, Problem
from asepsis.analysis.threats.compiled import UNITS, budgets
from asepsis.analysis.threats.study import Planned, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a countermeasure is in a plan or is not.

    Attributes:
        countermeasure: Id.
        level: Taken, or the one that would leave least.
        taken: Whether the plan has it.
        instead_of: What would have to go for it.
        paths: What attackers' best paths would leave a year if it were the other way round.
        added: Harm a year that the countermeasures themselves would add then.
        left: Both together; the plan's own figure is never above it unless limits forbid it.
        forbidden: What forbids it: a rule, or by how much which budget; empty if nothing.
        text: All this in a sentence.
    """

    countermeasure: str
    level: int
    taken: bool
    instead_of: tuple[str, ...]
    paths: float
    added: float
    left: float
    forbidden: tuple[str, ...]
    text: str


def reasons(study: Study, planned: Planned) -> list[Reason]:
    """Return a reason for each countermeasure, those that are taken first.

    Args:
        study: Of the model.
        planned: Its plan.
    """
    problem = study.graph.problem(planned.objective)
    plan = planned.best.plan
    found = [_taken(study, planned, problem, name) for name in plan]
    found += [_other(study, planned, problem, n) for n in problem.controls if n not in plan]
    return found


def _taken(study: Study, planned: Planned, problem: Problem, name: str) -> Reason:
    plan = planned.best.plan
    gone = {name, *_needing(problem, plan, {name})}
    trial = {other: level for other, level in plan.items() if other not in gone}
    paths, added = _left(study, planned, problem, trial)
    others = tuple(sorted(gone - {name}))
    also = f" (and without {', '.join(others)}, which needs it)" if others else ""
    now = float(planned.best.risk)
    unit = UNITS[planned.objective]
    return Reason(
        countermeasure=name,
        level=plan[name],
        taken=True,
        instead_of=others,
        paths=paths,
        added=added,
        left=paths + added,
        forbidden=(),
        text=f"without {name}{also} {paths + added:.3g} {unit} are left instead of {now:.3g}",
    )


def _other(study: Study, planned: Planned, problem: Problem, name: str) -> Reason:
    control = problem.controls[name]
    tried = [
        _tried(study, planned, problem, name, level) for level in range(1, len(control.levels) + 1)
    ]
    allowed = [reason for reason in tried if not reason.forbidden]
    return min(allowed or tried, key=lambda reason: (reason.left, reason.level))


def _tried(study: Study, planned: Planned, problem: Problem, name: str, level: int) -> Reason:
    plan = planned.best.plan
    wanted = {name: level, **dict.fromkeys(_needs(problem, name) - plan.keys() - {name}, 1)}
    gone = {other for other in plan for new in wanted if _conflict(problem, other, new)}
    gone |= _needing(problem, plan, gone)
    trial = {**{n: at for n, at in plan.items() if n not in gone}, **wanted}
    limits = budgets(study.model)
    paths, added = _left(study, planned, problem, trial)
    forbidden = tuple(_forbidden(problem, trial, limits.items()))
    instead = tuple(sorted(gone))
    return Reason(
        countermeasure=name,
        level=level,
        taken=False,
        instead_of=instead,
        paths=paths,
        added=added,
        left=paths + added,
        forbidden=forbidden,
        text=_said(study, planned, name, level, (instead, forbidden, paths, added)),
    )


def _said(
    study: Study,
    planned: Planned,
    name: str,
    level: int,
    found: tuple[tuple[str, ...], tuple[str, ...], float, float],
) -> str:
    instead, forbidden, paths, added = found
    words = f"{name} instead of {', '.join(instead)}" if instead else f"{name} as well"
    if forbidden:
        words += f" is not possible: {'; '.join(forbidden)}"
    unit, now = UNITS[planned.objective], float(planned.best.risk)
    words += f": paths leave {paths:.3g} {unit}"
    if added:
        why = study.model.countermeasures[name].levels[level - 1].harm_why
        words += f", countermeasures themselves add {added:.3g}" + (f" ({why})" if why else "")
    return f"{words}: {paths + added:.3g} instead of {now:.3g}"


def _left(study: Study, planned: Planned, problem: Problem, plan: Plan) -> tuple[float, float]:
    harm = problem.harm(plan)
    total = study.risk(planned.objective, plan)
    return float(total - harm), float(harm)


def _forbidden(
    problem: Problem, plan: Plan, limits: Iterable[tuple[str, Fraction]]
) -> Iterator[str]:
    for name in sorted(plan):
        if problem.controls[name].never:
            yield f"a rule says never to {name}"
    for budget, limit in limits:
        over = problem.cost(plan, budget) - limit
        if over > 0:
            yield f"{budget} is short by {float(over):g}"


def _needs(problem: Problem, name: str) -> set[str]:
    found: set[str] = set()
    open_ = [name]
    while open_:
        for other in problem.controls[open_.pop()].needs - found:
            found.add(other)
            open_.append(other)
    return found


def _needing(problem: Problem, plan: Plan, gone: set[str]) -> set[str]:
    return {name for name in plan if _needs(problem, name) & gone} - gone


def _conflict(problem: Problem, one: str, other: str) -> bool:
    return one != other and (
        other in problem.controls[one].conflicts or one in problem.controls[other].conflicts
    )
