"""The plan that leaves the least risk on best paths, proven, by path generation.

Master and attacker take turns: the master chooses the best plan against the proofs it knows, the
attacker answers with the best proof against that plan. When he has no new one, nothing is better.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import exp, gcd, lcm
from typing import Final, TypeAlias

from asepsis.analysis.plans.attacker import best_proof
from asepsis.analysis.plans.master import BLOCK_NATS, Master
from asepsis.analysis.plans.problem import Plan, Problem
from asepsis.analysis.plans.proofs import Graph, Proof
from asepsis.core.errors import Conflict, LimitExceeded

Clock: TypeAlias = Callable[[], float]
"""Seconds, monotonic."""

PROVEN_GAP: Final = 1e-7
"""Relative gap up to which an optimum counts as proven: what float sums of logs can tell apart."""
CHEAPEST_SLACK: Final = 1e-8
ROUNDS_MAX: Final = 10_000
POINTS_MAX: Final = 1_000
OTHER_WAYS: Final = 12
"""Further proofs that the master is told with each new one; they save turns."""
WAYS_EFFORT: Final = 200_000
"""Steps to walk over for them in one turn."""
METRIC: Final = "best path"
ORACLE_SHARE: Final = 0.25
"""Share of the remaining seconds that one search for an exact proof may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A plan and what is known about it.

    Attributes:
        plan: Countermeasure -> level.
        risk: Sum of loss times probability of the best path over the goals, and added harm; loss a
            year, exact for the proofs below.
        risk_at_most: As `risk`, where a best proof was not proven: no path is worse. Rounded up.
        bound: No plan within the limits has a risk below it, by the metric "best path".
        proofs: Of each goal; None where it cannot be reached.
        rounds: How often master and attacker took turns.
        costs: Of each budget, exact.
    """

    plan: Plan
    risk: Fraction
    risk_at_most: float
    bound: float
    proofs: tuple[Proof | None, ...]
    rounds: int
    costs: Mapping[str, Fraction]

    @property
    def gap(self) -> float:
        """Relative distance from the bound, 0 to 1."""
        if self.risk_at_most <= 0:
            return 0.0
        return max(0.0, (self.risk_at_most - self.bound) / self.risk_at_most)

    @property
    def proven(self) -> bool:
        """Whether nothing better exists, by the metric "best path"."""
        return self.gap <= PROVEN_GAP


class Planner:
    """Looks for plans of one problem; what one search learned is kept for the next.

    Args:
        problem: Graph, countermeasures, goals.
        clock: Seconds, monotonic.
        seconds_max: For one search.
        like: A planner of the same steps with other figures, whose proofs are worth knowing here.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        clock: Clock,
        seconds_max: float = 60.0,
        like: "Planner | None" = None,
    ) -> None:
        self._problem = problem
        self._graph = Graph(problem)
        self._clock = clock
        self._seconds_max = seconds_max
        self._known: dict[tuple[int, tuple[int, ...]], None] = {}
        if like is not None:
            self._known.update(dict.fromkeys(like.learned()))

    def learned(self) -> list[tuple[int, tuple[int, ...]]]:
        """Return the proofs that were found so far, as index of the goal and steps."""
        return list(self._known)

    def evaluate(self, plan: Plan) -> Outcome:
        """Return risk and proofs of a plan that somebody else chose; its bound is 0.

        Raises:
            InputError: The plan names what is not there.
        """
        return self._outcome(plan, 0.0, 0, self._clock() + self._seconds_max)

    def best(self, budgets: Mapping[str, Fraction]) -> Outcome:
        """Return a plan of least risk within budgets, and of those one that takes least.

        Args:
            budgets: Budget -> limit; what is not named is unlimited.

        Raises:
            Conflict: No plan keeps budgets, ceilings and rules; says which one and by how much.
            LimitExceeded: The time was over before any plan was found.
        """
        weights = {
            name: 1 / limit if limit else Fraction(1) for name, limit in sorted(budgets.items())
        } or dict.fromkeys(self._budgets(), Fraction(1))
        return self._best(budgets, weights)

    def _best(self, budgets: Mapping[str, Fraction], weights: Mapping[str, Fraction]) -> Outcome:
        end = self._clock() + self._seconds_max
        scale = max(float(self._outcome({}, 0.0, 0, None).risk), 1e-300)
        master = self._master(budgets, scale)
        found = self._search(master, budgets, end)
        if found is None:
            raise self._impossible(budgets)
        if not found.proven:
            return found
        master.prefer_cheap(weights, risk_at_most=float(found.risk) * (1 + CHEAPEST_SLACK))
        cheap = self._cheapest(master, budgets, end)
        if cheap is None or cheap.risk > found.risk:
            return found
        return Outcome(
            plan=cheap.plan,
            risk=cheap.risk,
            risk_at_most=cheap.risk_at_most,
            bound=min(found.bound, float(cheap.risk)),
            proofs=cheap.proofs,
            rounds=found.rounds + cheap.rounds,
            costs=cheap.costs,
        )

    def front(self, budget: str, *, others: Mapping[str, Fraction] | None = None) -> list[Outcome]:
        """Return the Pareto front of what a budget buys, from nothing up; each point proven or not.

        Args:
            budget: Which one varies.
            others: Limits of the others.

        Raises:
            Conflict: No plan keeps ceilings and rules.
            LimitExceeded: Over 1,000 points.
        """
        unit = self._unit(budget)
        limit = sum(
            (
                max(level.costs.get(budget, Fraction(0)) for level in control.levels)
                for control in self._problem.controls.values()
            ),
            Fraction(0),
        )
        points: list[Outcome] = []
        while limit >= 0:
            try:
                point = self._best({**(others or {}), budget: limit}, {budget: Fraction(1)})
            except Conflict:
                if not points:
                    raise
                break
            points.append(point)
            if len(points) > POINTS_MAX:
                raise LimitExceeded(f"over {POINTS_MAX} points on the front")
            limit = point.costs[budget] - unit
        return _undominated(points[::-1], budget)

    def least(self, budget: str, *, budgets: Mapping[str, Fraction]) -> Fraction | None:
        """Return what a budget must at least be so that all ceilings are kept; None if never.

        Args:
            budget: Which one is left open.
            budgets: Limits; that of `budget` is left aside.
        """
        others = {name: limit for name, limit in budgets.items() if name != budget}
        master = self._master(others, 1.0)
        master.prefer_cheap({budget: Fraction(1)}, risk_at_most=None)
        found = self._cheapest(master, others, self._clock() + self._seconds_max)
        return None if found is None else self._problem.cost(found.plan, budget)

    def _master(self, budgets: Mapping[str, Fraction], scale: float) -> Master:
        master = Master(self._problem, budgets=budgets, scale=scale)
        for goal, steps in self._known:
            master.add(goal, steps, {})
        return master

    def _search(
        self, master: Master, budgets: Mapping[str, Fraction], end: float
    ) -> Outcome | None:
        """Take turns until nothing better exists, or the time is over."""
        best: Outcome | None = None
        bound = 0.0
        for rounds in range(1, ROUNDS_MAX + 1):
            left = max(0.01, end - self._clock())
            solved = master.solve(seconds_max=left)
            if solved is None:
                return None
            plan, optimal = solved
            if optimal:
                bound = max(bound, master.value(plan))
            tried, fresh = self._answer(master, plan, rounds, end)
            fits = self._keeps_ceilings(tried) and not self._problem.broken(plan, budgets)
            if fits and (best is None or tried.risk_at_most < best.risk_at_most):
                best = tried
            if best and (not fresh or self._done(best, bound) or self._clock() > end):
                return self._with_bound(best, bound, rounds)
            if not fresh or self._clock() > end + self._seconds_max:
                break
        if best is None:
            raise LimitExceeded("no plan was found in the time", hint="allow more seconds")
        return self._with_bound(best, bound, ROUNDS_MAX)

    def _cheapest(
        self, master: Master, budgets: Mapping[str, Fraction], end: float
    ) -> Outcome | None:
        """Take turns with a master that looks for the cheapest plan; None if none is known."""
        for rounds in range(1, ROUNDS_MAX + 1):
            try:
                solved = master.solve(seconds_max=max(0.01, end - self._clock()))
            except LimitExceeded:
                return None
            if solved is None:
                return None
            tried, fresh = self._answer(master, solved[0], rounds, end)
            if not fresh:
                kept = self._keeps_ceilings(tried) and not self._problem.broken(tried.plan, budgets)
                return tried if kept and solved[1] else None
            if self._clock() > end:
                return None
        return None

    def _answer(self, master: Master, plan: Plan, rounds: int, end: float) -> tuple[Outcome, bool]:
        """Let the attacker answer; what he knows at once first, a long search only if he must."""
        quick = self._outcome(plan, 0.0, rounds, None)
        if self._learn(master, quick):
            affordable = WAYS_EFFORT // (len(self._problem.steps) + 1)
            count = max(2, min(OTHER_WAYS, affordable))
            for goal, steps in self._graph.other_ways(plan, count=count):
                self._known[goal, steps] = None
                master.add(goal, steps, plan)
            return quick, True
        exact = self._outcome(plan, 0.0, rounds, end)
        return exact, self._learn(master, exact)

    def _done(self, best: Outcome, bound: float) -> bool:
        return best.risk_at_most <= bound * (1 + PROVEN_GAP / 10)

    def _with_bound(self, best: Outcome, bound: float, rounds: int) -> Outcome:
        """Return the outcome with its final bound, which is 0 where the master was too coarse."""
        floor = exp(-BLOCK_NATS) * float(max(g.loss for g in self._problem.goals))
        sure = best.risk_at_most > floor or not self._blocks()
        return Outcome(
            plan=best.plan,
            risk=best.risk,
            risk_at_most=best.risk_at_most,
            bound=min(bound, best.risk_at_most) if sure else 0.0,
            proofs=best.proofs,
            rounds=rounds,
            costs=best.costs,
        )

    def _blocks(self) -> bool:
        return any(0 in f for step in self._problem.steps for f in step.effects.values())

    def _keeps_ceilings(self, tried: Outcome) -> bool:
        return all(
            goal.ceiling is None
            or proof is None
            or proof.at_most <= float(goal.ceiling) * (1 + CHEAPEST_SLACK)
            for goal, proof in zip(self._problem.goals, tried.proofs, strict=True)
        )

    def _learn(self, master: Master, tried: Outcome) -> bool:
        fresh = False
        for goal, proof in enumerate(tried.proofs):
            if proof is not None:
                self._known[goal, proof.steps] = None
                fresh |= master.add(goal, proof.steps, tried.plan)
        return fresh

    def _outcome(self, plan: Plan, bound: float, rounds: int, end: float | None) -> Outcome:
        proofs = self._graph.proofs(plan)
        for index, proof in enumerate(proofs):
            if proof is not None and not proof.exact and end is not None:
                left = max(0.05, (end - self._clock()) * ORACLE_SHARE)
                proofs[index] = best_proof(self._graph, plan, goal=index, seconds_max=left)
        harm = self._problem.harm(plan)
        pairs = list(zip(self._problem.goals, proofs, strict=True))
        risk = harm + sum((g.loss * p.probability for g, p in pairs if p), Fraction(0))
        high = float(harm) + sum(
            float(g.loss) * (float(p.probability) if p.exact else p.at_most) for g, p in pairs if p
        )
        return Outcome(
            plan=plan,
            risk=risk,
            risk_at_most=max(high, float(risk)),
            bound=bound,
            proofs=tuple(proofs),
            rounds=rounds,
            costs={name: self._problem.cost(plan, name) for name in self._budgets()},
        )

    def _budgets(self) -> list[str]:
        levels = (level for c in self._problem.controls.values() for level in c.levels)
        return sorted({name for level in levels for name in level.costs})

    def _unit(self, budget: str) -> Fraction:
        """Return the smallest difference that two plans' costs can have."""
        costs = [
            level.costs.get(budget, Fraction(0))
            for control in self._problem.controls.values()
            for level in control.levels
        ]
        bottom = lcm(*(cost.denominator for cost in costs))
        top = gcd(*(int(cost * bottom) for cost in costs))
        return Fraction(top or 1, bottom)

    def _impossible(self, budgets: Mapping[str, Fraction]) -> Conflict:
        """Return the error that says what is missing, and how much of it."""
        for name, limit in budgets.items():
            if limit < 0:
                return Conflict(f"the budget {name!r} is below 0")
        words: list[str] = []
        for name, limit in budgets.items():
            need = self.least(name, budgets=budgets)
            if need is not None and need > limit:
                words.append(f"{name}: {float(limit):g}, needs {float(need):g}")
        if words:
            return Conflict(
                "the ceilings cannot be kept within the budgets",
                hint="enough alone would be one of these: " + "; ".join(words),
            )
        return Conflict(
            "the ceilings cannot be kept at any price of one budget",
            hint="raise a ceiling, raise several budgets, or add countermeasures",
        )


def _undominated(points: list[Outcome], budget: str) -> list[Outcome]:
    """Return those points, from cheap to dear, that have less risk than every cheaper one."""
    kept: list[Outcome] = []
    for point in sorted(points, key=lambda p: (p.costs[budget], p.risk)):
        if not kept or point.risk < kept[-1].risk:
            kept.append(point)
    return kept
