"""The exact plan for any risk that never grows with a countermeasure: branch and bound. Pure.

For the metric "expected loss" and for small catalogues; the solver has no part in it. Each subtree
is bounded by the risk that remains if every countermeasure that is still open and affordable were
taken at its strongest for nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeAlias

from asepsis.analysis.plans.problem import Control, Plan, Problem
from asepsis.core.errors import Conflict, LimitExceeded

Loss: TypeAlias = Callable[[Sequence[float]], float]
"""Probabilities of all steps -> loss a year; must not fall where a probability rises."""

TRIES_MAX: Final = 200_000
EQUAL: Final = 1e-12
"""Relative difference below which two risks are one, and the cheaper plan is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An optimum.

    Attributes:
        plan: Countermeasure -> level.
        risk: Loss a year, with what the plan itself adds.
        tries: Plans and bounds that were computed.
    """

    plan: Plan
    risk: float
    tries: int


class _Search:
    def __init__(self, problem: Problem, loss: Loss, budgets: Mapping[str, Fraction]) -> None:
        self.problem = problem
        self.loss = loss
        self.budgets = budgets
        self.tries = 0
        self.best: dict[str, int] | None = None
        self.risk = float("inf")
        self.cost = Fraction(0)
        self.order = sorted(
            (c for c in problem.controls.values() if not c.never), key=self._promise, reverse=True
        )

    def value(self, plan: Plan, open_: Sequence[Control]) -> float:
        """Return the loss under a plan if all of `open_` that still fits were free."""
        self.tries += 1
        if self.tries > TRIES_MAX:
            raise LimitExceeded(f"over {TRIES_MAX} plans tried")
        fits = {
            control.name: [
                number
                for number in range(1, len(control.levels) + 1)
                if self.affordable({**plan, control.name: number})
            ]
            for control in open_
        }
        chances: list[float] = []
        for step in self.problem.steps:
            chance = float(self.problem.probability(step, plan))
            for name, factors in step.effects.items():
                levels = fits.get(name, [])
                chance *= min((float(factors[n - 1]) for n in levels), default=1.0)
            chances.append(chance)
        return self.loss(chances) + float(self.problem.harm(plan))

    def affordable(self, plan: Plan) -> bool:
        return all(self.problem.cost(plan, name) <= limit for name, limit in self.budgets.items())

    def visit(self, plan: dict[str, int], depth: int) -> None:
        if self.value(plan, self.order[depth:]) > self.risk * (1 + EQUAL):
            return
        if depth == len(self.order):
            self.offer(plan)
            return
        control = self.order[depth]
        for level in (*range(len(control.levels), 0, -1), 0):
            after = {**plan, control.name: level} if level else plan
            if self.affordable(after):
                self.visit(after, depth + 1)

    def offer(self, plan: dict[str, int]) -> None:
        if self.problem.broken(plan, self.budgets):
            return
        risk = self.value(plan, ())
        cost = sum((self.problem.cost(plan, name) for name in self.budgets), Fraction(0))
        tied = risk <= self.risk * (1 + EQUAL) and cost < self.cost
        if risk < self.risk * (1 - EQUAL) or self.best is None or tied:
            self.best, self.risk, self.cost = plan, risk, cost

    def _promise(self, control: Control) -> tuple[float, str]:
        """Return what it alone takes away per money, so that good plans come first."""
        alone = {control.name: len(control.levels)}
        gained = self.value({}, ()) - self.value(alone, ())
        cost = sum(float(self.problem.cost(alone, name)) for name in self.budgets)
        return gained / (cost or 1e-9), control.name


def best_plan(problem: Problem, *, loss: Loss, budgets: Mapping[str, Fraction]) -> Found:
    """Return the plan of least loss, and of equal ones the cheapest.

    Args:
        problem: Graph and countermeasures.
        loss: The risk, such as `Expectation.loss`.
        budgets: Budget -> limit.

    Raises:
        Conflict: No plan keeps budgets and rules.
        LimitExceeded: Over 200,000 plans tried.
    """
    search = _Search(problem, loss, budgets)
    search.visit({}, 0)
    if search.best is None:
        raise Conflict("no plan keeps the budgets and rules", hint="raise a budget")
    return Found(plan=dict(sorted(search.best.items())), risk=search.risk, tries=search.tries)
