"""How much a plan hangs on figures that nobody knows well: tornado, draws, price of a budget.

Likelihoods, what a countermeasure leaves of them, the harm it adds and what a loss counts are
estimates. Each may be too low or too high by a factor; a plan that stays the best one under that is
worth more than one that does not. Nothing here is a promise about figures outside the range.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from asepsis.analysis.plans.planner import Outcome, Planner
from asepsis.analysis.plans.problem import Control, Goal, Plan, Problem, Step
from asepsis.analysis.threats.compiled import budgets
from asepsis.analysis.threats.difference import moved
from asepsis.analysis.threats.study import Planned, Study
from asepsis.core.errors import Conflict, InputError

FACTOR: Final = 2.0
FACTOR_MAX: Final = 100.0
DRAWS_MAX: Final = 10_000
REPLANNED: Final = 8
"""Inputs of the widest swing for which the best plan is looked for again."""
SAME: Final = 1e-9
_PARTS: Final = 1_000_000
_RIVALS: Final = ("effect", "harm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """What one input does to a plan.

    Attributes:
        input: Such as `attacker worm`, `rule MED-AUTORUN`, `effect usb-lock`, `harm disconnect`,
            `loss alarms`.
        low: What the plan leaves a year if the input is too high by the factor.
        high: If it is too low by it.
        changes: Countermeasure -> level in the plan and in the best plan there; of both ends, and
            only for the widest swings, and for what is not taken at its low end.
        impossible: Whether no plan keeps the accepted risks at one of those ends.
    """

    input: str
    low: float
    high: float
    changes: Mapping[str, tuple[int, int]]
    impossible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """How a plan does where all inputs are off at once, each by a drawn factor.

    Attributes:
        draws: How many.
        same: Share of them in which it stays the best plan.
        as_good: Share in which it leaves at most 1 % more than the best one.
        regret: The most that it leaves above the best one, relative.
        left: What it leaves a year: at 5, 50 and 95 % of the draws.
        taken: Countermeasure -> share of best plans that take it.
        impossible: Share of draws in which no plan keeps budgets and accepted risks; all other
            shares are of the rest.
    """

    draws: int
    same: float
    as_good: float
    regret: float
    left: tuple[float, float, float]
    taken: Mapping[str, float]
    impossible: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a budget is worth at its limit (the discrete shadow price).

    Attributes:
        budget: Such as `hospital money`.
        limit: Of the model.
        needed: The least of it that leaves as little risk.
        more: The amount above the limit that spares most for each unit; None if nothing helps.
        spares: What that spares a year.
        less: The next smaller amount at which anything changes; None if nothing is taken of it.
        costs: What giving back down to it adds a year.
    """

    budget: str
    limit: float
    needed: float
    more: float | None
    spares: float
    less: float | None
    costs: float

    @property
    def for_each(self) -> float:
        """What a further unit spares a year, at best; 0 if no amount helps."""
        return 0.0 if self.more is None else self.spares / (self.more - self.limit)


def tornado(study: Study, planned: Planned, *, factor: float = FACTOR) -> list[Swing]:
    """Return what each input does to a plan by itself, the widest swing first.

    Args:
        study: Of the model.
        planned: The plan.
        factor: By which inputs may be off, above 1, at most 100.

    Raises:
        InputError: A factor out of its range.
    """
    by = _checked(factor)
    problem = study.graph.problem(planned.objective)
    swings: dict[str, Swing] = {}
    for name in _inputs(problem):
        low, high = (
            _left(study, planned, varied(problem, {name: f}), rising=f > 1) for f in (1 / by, by)
        )
        swings[name] = Swing(input=name, low=low, high=high, changes={})
    order = sorted(swings, key=lambda name: (swings[name].low - swings[name].high, name))
    for name in dict.fromkeys([*order[:REPLANNED], *_rivals(problem, planned.best.plan)]):
        ends = (1 / by, by) if name in order[:REPLANNED] else (1 / by,)
        others = [_best(study, planned, varied(problem, {name: end})) for end in ends]
        changes: dict[str, tuple[int, int]] = {}
        for other in others:
            changes |= {} if other is None else moved(planned.best, other)
        swings[name] = replace(swings[name], changes=changes, impossible=None in others)
    least = SAME * float(planned.best.risk)
    return [
        swing
        for swing in (swings[name] for name in order)
        if swing.high - swing.low > least or swing.changes or swing.impossible
    ]


def _best(study: Study, planned: Planned, problem: Problem) -> Outcome | None:
    """Return the best plan under other figures; None if none keeps budgets and accepted risks."""
    try:
        return study.planner_of(problem, planned.objective).best(budgets(study.model))
    except Conflict:
        return None


def _rivals(problem: Problem, plan: Plan) -> list[str]:
    """Return what would speak for another plan if it were better than thought."""
    others = {
        f"{kind} {name}" for name in problem.controls.keys() - plan.keys() for kind in _RIVALS
    }
    return [name for name in _inputs(problem) if name in others]


def stability(
    study: Study, planned: Planned, *, rng: random.Random, draws: int, factor: float = FACTOR
) -> Stability:
    """Return how a plan does under inputs that are drawn, log-uniformly and independently.

    Args:
        study: Of the model.
        planned: The plan.
        rng: Seeded by whoever wants the same draws again.
        draws: 1 to 10,000; each is a search for the best plan.
        factor: By which inputs may be off, above 1, at most 100.

    Raises:
        InputError: An argument out of its range.
    """
    by = _checked(factor)
    if not 1 <= draws <= DRAWS_MAX:
        raise InputError(f"{draws} draws; 1 to {DRAWS_MAX}")
    problem = study.graph.problem(planned.objective)
    names = _inputs(problem)
    pairs: list[tuple[float, Outcome]] = []
    for _ in range(draws):
        factors = {name: _fraction(float(by) ** rng.uniform(-1, 1)) for name in names}
        drawn = varied(problem, factors)
        best = _best(study, planned, drawn)
        if best is not None:
            planner = study.planner_of(drawn, planned.objective)
            kept = float(planner.evaluate(planned.best.plan).risk)
            pairs.append((max(kept, float(best.risk)), best))
    return _summed(planned, pairs, list(problem.controls), draws=draws)


def prices(study: Study, planned: Planned) -> list[Price]:
    """Return what each budget that the model limits is worth, those that are worth most first."""
    found = [
        _price(study.front(planned.objective, name), name, limit)
        for name, limit in budgets(study.model).items()
    ]
    return sorted(found, key=lambda price: (-price.spares, price.budget))


def varied(problem: Problem, factors: Mapping[str, Fraction]) -> Problem:
    """Return a problem whose inputs are multiplied; what is a probability stays at most 1."""
    return replace(
        problem,
        steps=tuple(_step(problem, step, factors) for step in problem.steps),
        controls={name: _control(c, factors) for name, c in problem.controls.items()},
        goals=tuple(_goal(goal, factors) for goal in problem.goals),
    )


def _inputs(problem: Problem) -> list[str]:
    """Return all inputs; a step that is certain by definition is none."""
    found: dict[str, None] = {}
    for step in problem.steps:
        if step.probability < 1:
            found[_input_of(problem, step)] = None
        for name, factors in step.effects.items():
            if any(0 < factor < 1 for factor in factors):
                found[f"effect {name}"] = None
    for name, control in problem.controls.items():
        if any(level.harm for level in control.levels):
            found[f"harm {name}"] = None
    return [*found, *(f"loss {goal.name}" for goal in problem.goals)]


def _input_of(problem: Problem, step: Step) -> str:
    if step.name:
        return f"rule {step.name}"
    return f"attacker {problem.nodes[step.target].partition(' ')[2]}"


def _step(problem: Problem, step: Step, factors: Mapping[str, Fraction]) -> Step:
    probability = step.probability
    if probability < 1:
        probability = min(
            Fraction(1), probability * factors.get(_input_of(problem, step), Fraction(1))
        )
    effects = {
        name: tuple(min(Fraction(1), value * factors[f"effect {name}"]) for value in values)
        if f"effect {name}" in factors
        else values
        for name, values in step.effects.items()
    }
    return replace(step, probability=probability, effects=effects)


def _control(control: Control, factors: Mapping[str, Fraction]) -> Control:
    by = factors.get(f"harm {control.name}")
    if by is None:
        return control
    levels = tuple(replace(level, harm=level.harm * by) for level in control.levels)
    return replace(control, levels=levels)


def _goal(goal: Goal, factors: Mapping[str, Fraction]) -> Goal:
    return replace(goal, loss=goal.loss * factors.get(f"loss {goal.name}", Fraction(1)))


def _left(study: Study, planned: Planned, problem: Problem, *, rising: bool) -> float:
    """Return what a plan leaves under other figures.

    Where figures only fall and none of the plan's best proofs is touched, other proofs only got
    worse: there is nothing to look for.
    """
    plan = planned.best.plan
    before = study.graph.problem(planned.objective)
    if not rising and problem.goals == before.goals and problem.harm(plan) == before.harm(plan):
        steps = {index for proof in planned.best.proofs if proof for index in proof.steps}
        same = all(
            before.probability(before.steps[i], plan) == problem.probability(problem.steps[i], plan)
            for i in steps
        )
        if same:
            return float(planned.best.risk)
    planner: Planner = study.planner_of(problem, planned.objective)
    return float(planner.evaluate(plan).risk)


def _summed(
    planned: Planned,
    pairs: Sequence[tuple[float, Outcome]],
    controls: Sequence[str],
    *,
    draws: int,
) -> Stability:
    regrets = [
        kept / float(best.risk) - 1 if best.risk else float(kept > 0) for kept, best in pairs
    ]
    left = sorted(kept for kept, _ in pairs)

    def share(true: Callable[[int], bool]) -> float:
        return sum(true(index) for index in range(len(pairs))) / max(1, len(pairs))

    def at(part: float) -> float:
        return left[min(len(left) - 1, int(part * len(left)))] if left else 0.0

    return Stability(
        draws=draws,
        same=share(lambda index: pairs[index][1].plan == planned.best.plan),
        as_good=share(lambda index: regrets[index] <= 0.01),
        regret=max(regrets, default=0.0),
        left=(at(0.05), at(0.5), at(0.95)),
        taken={
            name: part
            for name in controls
            if (part := share(lambda index, name=name: name in pairs[index][1].plan))
        },
        impossible=1 - len(pairs) / draws,
    )


def _price(front: Sequence[Outcome], budget: str, limit: Fraction) -> Price:
    here = max(n for n, point in enumerate(front) if point.costs.get(budget, 0) <= limit)
    now = front[here]
    needed = now.costs.get(budget, Fraction(0))
    further = list(_further(front[here + 1 :], now, budget, limit))
    more = max(further, default=None, key=lambda pair: pair[1] / (pair[0] - limit))
    before = front[here - 1] if here else None
    return Price(
        budget=budget,
        limit=float(limit),
        needed=float(needed),
        more=None if more is None else float(more[0]),
        spares=0.0 if more is None else float(more[1]),
        less=None if before is None else float(before.costs.get(budget, Fraction(0))),
        costs=0.0 if before is None else float(before.risk - now.risk),
    )


def _further(
    points: Sequence[Outcome], now: Outcome, budget: str, limit: Fraction
) -> Iterator[tuple[Fraction, Fraction]]:
    for point in points:
        cost = point.costs.get(budget, Fraction(0))
        if cost > limit and point.risk < now.risk:
            yield cost, now.risk - point.risk


def _checked(factor: float) -> Fraction:
    if not 1 < factor <= FACTOR_MAX:
        raise InputError(f"a factor of {factor:g}; above 1, at most {FACTOR_MAX:g}")
    return _fraction(factor)


def _fraction(value: float) -> Fraction:
    return Fraction(value).limit_denominator(_PARTS)
