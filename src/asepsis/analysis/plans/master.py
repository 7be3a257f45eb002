"""The master of path generation: the best plan against those proofs that are known so far.

With countermeasures as binaries x, a proof succeeds with exp(-n0 - sum(n * x)), n in nats. For one
goal the master minimises the largest exponent: logarithms, because published optima lie far below a
solver's tolerances. For several goals it minimises the sum of losses; the exponential is convex, so
its tangents at plans that were tried are valid everywhere and exact at those plans. What the solver
says is never believed as a figure: the bound is computed again from the plan it chose, outside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import exp, fsum, inf
from typing import Final

from asepsis.analysis.plans.milp import Milp
from asepsis.analysis.plans.problem import Plan, Problem
from asepsis.analysis.plans.proofs import nats

BLOCK_NATS: Final = 60.0
"""What the master takes for a factor of 0: e^-60. Where an optimum lies below it, nothing is
claimed to be proven unless it is 0 itself."""
LOWEST_NATS: Final = -1e5


@dataclass(frozen=True, slots=True)
class Cut:
    """A proof as the master sees it.

    Attributes:
        goal: Index.
        base: Nats without any countermeasure.
        gains: (Countermeasure, level) -> nats that it adds.
    """

    goal: int
    base: float
    gains: Mapping[tuple[str, int], float]

    def exponent(self, plan: Plan) -> float:
        """Return the log probability of the proof under a plan."""
        return -fsum((self.base, *(self.gains.get(item, 0.0) for item in plan.items())))


@dataclass(frozen=True, slots=True)
class Tangent:
    """A linear function that no point of the exponential lies below: at + slope * (e - where)."""

    cut: Cut
    where: float

    def value(self, plan: Plan) -> float:
        """Return the tangent's probability under a plan; may be below 0."""
        return exp(self.where) * (1 + self.cut.exponent(plan) - self.where)


class Master:
    """The programme over countermeasures.

    Args:
        problem: Countermeasures and goals.
        budgets: Budget -> limit; what is not named is unlimited.
        scale: Loss a year that counts as 1 in the objective, above 0.
    """

    def __init__(
        self, problem: Problem, *, budgets: Mapping[str, Fraction], scale: float = 1.0
    ) -> None:
        self.problem: Final = problem
        self.single: Final = len(problem.goals) == 1 and not any(
            level.harm for control in problem.controls.values() for level in control.levels
        )
        self._milp = Milp()
        self._scale = scale
        self._items: dict[tuple[str, int], int] = {}
        self._cuts: list[Cut] = []
        self._tangents: list[list[Tangent]] = [[] for _ in problem.goals]
        self._countermeasures()
        self._rules()
        for budget, limit in budgets.items():
            self._milp.row(self._costs(budget), at_most=float(limit))
        lower = LOWEST_NATS if self.single else 0.0
        self._goals = [
            self._milp.continuous(self._weight(index), lower=lower)
            for index in range(len(problem.goals))
        ]

    def add(self, goal: int, steps: tuple[int, ...], plan: Plan) -> bool:
        """Add a proof and its tangent at a plan; return whether either is new."""
        cut = self._cut(goal, steps)
        fresh = cut not in self._cuts
        if fresh:
            self._cuts.append(cut)
            self._ceiling(cut)
            if self.single:
                terms = {self._items[item]: gain for item, gain in cut.gains.items()}
                self._milp.row({self._goals[goal]: 1, **terms}, at_least=-cut.base)
        if self.single:
            return fresh
        tangent = Tangent(cut, cut.exponent(plan))
        if tangent in self._tangents[goal]:
            return fresh
        self._tangents[goal].append(tangent)
        self._touch(goal, tangent)
        return True

    def solve(self, *, seconds_max: float) -> tuple[Plan, bool] | None:
        """Return the best plan against what is known and whether that is certain; None if none."""
        answer = self._milp.solve(seconds_max=seconds_max)
        if answer is None:
            return None
        chosen = [item for item, index in self._items.items() if answer.values[index] > 0.5]
        return dict(sorted(chosen)), answer.optimal

    def value(self, plan: Plan) -> float:
        """Return the master's objective at a plan, computed outside the solver, in losses a year.

        At a plan that is the master's optimum no plan has a lower risk.
        """
        if self.single:
            worst = max((cut.exponent(plan) for cut in self._cuts), default=-inf)
            return exp(worst) * float(self.problem.goals[0].loss)
        losses = [
            float(goal.loss) * max((t.value(plan) for t in tangents), default=0.0)
            for goal, tangents in zip(self.problem.goals, self._tangents, strict=True)
        ]
        return fsum((float(self.problem.harm(plan)), *(max(0.0, loss) for loss in losses)))

    def prefer_cheap(self, budgets: Mapping[str, Fraction], *, risk_at_most: float | None) -> None:
        """From now on look for the cheapest plan whose risk is not above a limit.

        Args:
            budgets: Budget -> what one unit of it counts for.
            risk_at_most: Loss a year; None for no limit but the ceilings of the goals.
        """
        for (name, level), index in self._items.items():
            costs = self.problem.controls[name].levels[level - 1].costs
            self._milp.price(index, fsum(float(costs.get(b, 0) * w) for b, w in budgets.items()))
        for index in self._goals:
            self._milp.price(index, 0.0)
        if risk_at_most is None:
            return
        if self.single:
            value = Fraction(risk_at_most) / self.problem.goals[0].loss
            self._milp.row({self._goals[0]: 1}, at_most=-nats(value) if value < 1 else 0.0)
            return
        terms = {index: self._weight(goal) for goal, index in enumerate(self._goals)}
        for (name, level), index in self._items.items():
            terms[index] = float(self.problem.controls[name].levels[level - 1].harm) / self._scale
        self._milp.row(terms, at_most=risk_at_most / self._scale)

    def _weight(self, goal: int) -> float:
        return 1.0 if self.single else float(self.problem.goals[goal].loss) / self._scale

    def _countermeasures(self) -> None:
        for name, control in self.problem.controls.items():
            for number, level in enumerate(control.levels, 1):
                self._items[name, number] = self._milp.binary(
                    float(level.harm) / self._scale, may_be=0 if control.never else 1
                )
            if len(control.levels) > 1:
                self._milp.row(self._taken(name), at_most=1)

    def _rules(self) -> None:
        for name, control in self.problem.controls.items():
            for other in sorted(control.conflicts):
                self._milp.row({**self._taken(name), **self._taken(other)}, at_most=1)
            for other in sorted(control.needs - {name}):
                others = dict.fromkeys(self._taken(other), -1.0)
                self._milp.row({**self._taken(name), **others}, at_most=0)

    def _taken(self, name: str) -> dict[int, float]:
        levels = len(self.problem.controls[name].levels)
        return {self._items[name, level]: 1.0 for level in range(1, levels + 1)}

    def _costs(self, budget: str) -> dict[int, float]:
        return {
            index: float(self.problem.controls[name].levels[level - 1].costs.get(budget, 0))
            for (name, level), index in self._items.items()
        }

    def _cut(self, goal: int, steps: tuple[int, ...]) -> Cut:
        base: list[float] = []
        gains: dict[tuple[str, int], float] = {}
        for index in steps:
            step = self.problem.steps[index]
            base.append(nats(step.probability))
            for name, factors in step.effects.items():
                for level, factor in enumerate(factors, 1):
                    gain = min(BLOCK_NATS, nats(factor))
                    gains[name, level] = gains.get((name, level), 0.0) + gain
        return Cut(goal, fsum(base), dict(sorted(gains.items())))

    def _ceiling(self, cut: Cut) -> None:
        ceiling = self.problem.goals[cut.goal].ceiling
        if ceiling is not None:
            terms = {self._items[item]: gain for item, gain in cut.gains.items()}
            self._milp.row(terms, at_least=nats(ceiling) - cut.base)

    def _touch(self, goal: int, tangent: Tangent) -> None:
        """Add r >= e^where * (1 - where + exponent(x)), divided by e^where where that is large."""
        slope = exp(tangent.where)
        terms = {self._items[item]: slope * gain for item, gain in tangent.cut.gains.items()}
        self._milp.row(
            {self._goals[goal]: 1, **terms},
            at_least=slope * (1 - tangent.where - tangent.cut.base),
        )
