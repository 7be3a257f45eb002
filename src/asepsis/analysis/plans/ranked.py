"""The ranked plan, as practice makes it: each countermeasure alone, the best for its money first.

It stands beside the exact plan so that people see what the ranking costs them. A countermeasure's
effect is what it takes away by itself, at its strongest level; the list is walked once and what
fits is taken.

Source: Practical Threat Analysis, "Optimized Risk Reduction Plan".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from asepsis.analysis.plans.problem import Plan, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """A line of the ranking.

    Attributes:
        control: Countermeasure.
        level: Which of its levels.
        gained: Loss a year that it takes away alone; below 0 where it harms more than it helps.
        cost: Its share of the budgets: sum over those that are limited.
        taken: Whether it still fitted.
    """

    control: str
    level: int
    gained: float
    cost: Fraction
    taken: bool

    @property
    def effectiveness(self) -> float:
        """Loss a year that is taken away for each unit of cost."""
        return self.gained / float(self.cost) if self.cost else float("inf")


def ranked_plan(
    problem: Problem, *, risk: Callable[[Plan], float], budgets: Mapping[str, Fraction]
) -> list[Rank]:
    """Return the ranking, best first, and what of it fits into the budgets.

    Args:
        problem: Countermeasures.
        risk: Loss a year under a plan.
        budgets: Budget -> limit.
    """
    nothing = risk({})
    lines: list[Rank] = []
    for name, control in sorted(problem.controls.items()):
        alone = {name: len(control.levels)}
        cost = sum((problem.cost(alone, budget) for budget in budgets), Fraction(0))
        gained = nothing - risk(alone)
        lines.append(
            Rank(control=name, level=len(control.levels), gained=gained, cost=cost, taken=False)
        )
    plan: dict[str, int] = {}
    ranked: list[Rank] = []
    for line in sorted(lines, key=lambda line: (-line.effectiveness, line.control)):
        after = {**plan, line.control: line.level}
        taken = line.gained > 0 and not problem.broken(after, budgets)
        if taken:
            plan = after
        ranked.append(
            Rank(
                control=line.control,
                level=line.level,
                gained=line.gained,
                cost=line.cost,
                taken=taken,
            )
        )
    return ranked
