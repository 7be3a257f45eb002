"""The attacker's best way to a node: cheapest proofs over AND/OR graphs with cycles. Pure.

A proof is a set of steps that together reach a node. Its probability is the product over its
steps, each counted once, however often the proof leans on it. Knuth's algorithm finds the proof
that is cheapest if shared steps are paid each time they are used; without shared steps that is the
best one. Where a premise counts as the dearest of its siblings only, the same algorithm gives a
bound that no proof exceeds.

Source: Knuth, "A generalization of Dijkstra's algorithm" (IPL 1977).
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import exp, inf, log
from typing import Final

from asepsis.analysis.plans.problem import Plan, Problem, Step

ROUNDING: Final = 1e-9
"""Relative difference of two sums of logarithms below which they count as equal."""

DEARER_NATS: Final = 1.0
"""How much dearer a proof becomes once it was found, when others are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How a node is reached.

    Attributes:
        steps: Indices of the problem's steps, in the order in which they can be done.
        probability: That all succeed, exactly.
        at_most: No proof of this node has a probability above it; float, rounded up.
    """

    steps: tuple[int, ...]
    probability: Fraction
    at_most: float

    @property
    def exact(self) -> bool:
        """Whether this proof is known to be a best one."""
        return self.at_most <= float(self.probability) * (1 + ROUNDING)


class Graph:
    """The steps of a problem, arranged so that many plans can be tried on them.

    Args:
        problem: Whose steps.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem: Final = problem
        self._uses: list[list[int]] = [[] for _ in problem.nodes]
        self._free: list[int] = []
        self._plain = True
        for index, step in enumerate(problem.steps):
            distinct = set(step.premises)
            self._plain &= len(distinct) <= 1
            for node in distinct:
                self._uses[node].append(index)
            if not distinct:
                self._free.append(index)
        self._counts: list[int] = [len(set(step.premises)) for step in problem.steps]
        self._base: list[float] = [nats(step.probability) for step in problem.steps]
        self._touched: dict[str, list[int]] = {name: [] for name in problem.controls}
        for index, step in enumerate(problem.steps):
            for name in step.effects:
                self._touched[name].append(index)

    def weights(self, plan: Plan) -> list[float]:
        """Return -log of each step's probability under a plan; inf for an impossible one."""
        found = self._base.copy()
        for name in plan:
            for index in self._touched[name]:
                found[index] = nats(self.problem.probability(self.problem.steps[index], plan))
        return found

    def proofs(self, plan: Plan) -> list[Proof | None]:
        """Return for each goal a proof, or None if it cannot be reached under the plan.

        Raises:
            InputError: A plan that names what is not there.
        """
        self.problem.check(plan)
        weights = self.weights(plan)
        cost, by = self._cheapest(weights, shared=False)
        bound = cost if self._plain else self._cheapest(weights, shared=True)[0]
        return [
            None if cost[goal.node] == inf else self._proof(goal.node, by, plan, bound[goal.node])
            for goal in self.problem.goals
        ]

    def other_ways(self, plan: Plan, *, count: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return further good proofs under a plan, as index of the goal and steps; perhaps fewer.

        Each search makes the steps of the proofs before it dearer, so that the next one differs.
        """
        weights = self.weights(plan)
        found: dict[tuple[int, tuple[int, ...]], None] = {}
        for _ in range(count):
            cost, by = self._cheapest(weights, shared=False)
            for index, goal in enumerate(self.problem.goals):
                if cost[goal.node] < inf:
                    steps = unfold(self.problem.steps, by, goal.node)
                    found[index, steps] = None
                    for step in steps:
                        weights[step] += DEARER_NATS / len(steps)
        return list(found)

    def at_least(self, weights: Sequence[float]) -> list[float]:
        """Return for each node what any proof of it costs at least, nats; inf if there is none."""
        return self._cheapest(weights, shared=True)[0]

    def _proof(self, node: int, by: Sequence[int], plan: Plan, bound: float) -> Proof:
        steps = unfold(self.problem.steps, by, node)
        value = Fraction(1)
        for index in steps:
            value *= self.problem.probability(self.problem.steps[index], plan)
        at_most = min(1.0, max(exp(-bound) * (1 + ROUNDING / 2), float(value)))
        return Proof(steps=steps, probability=value, at_most=at_most)

    def _cheapest(self, weights: Sequence[float], *, shared: bool) -> tuple[list[float], list[int]]:
        """Return the cost of every node and the step by which it is reached, -1 for none.

        Args:
            weights: Of each step, 0 or more.
            shared: Whether premises cost only as much as the dearest of them (the bound).
        """
        steps = self.problem.steps
        cost, by = [inf] * len(self._uses), [-1] * len(self._uses)
        missing, paid = self._counts.copy(), list(weights)
        heap = [(paid[index], steps[index].target, index) for index in self._free]
        heapq.heapify(heap)
        while heap:
            value, node, index = heapq.heappop(heap)
            if cost[node] <= value:
                continue
            cost[node], by[node] = value, index
            for use in self._uses[node]:
                missing[use] -= 1
                paid[use] = weights[use] + value if shared else paid[use] + value
                if not missing[use] and paid[use] < cost[steps[use].target]:
                    heapq.heappush(heap, (paid[use], steps[use].target, use))
        return cost, by


def nats(probability: Fraction) -> float:
    """Return -log of a probability, 0 or more; inf for 0. Exact fractions may be tiny."""
    if not probability:
        return inf
    return max(0.0, log(probability.denominator) - log(probability.numerator))


def unfold(steps: Sequence[Step], by: Sequence[int], goal: int) -> tuple[int, ...]:
    """Return the steps behind a node, premises first, each once."""
    done: set[int] = set()
    order: list[int] = []
    stack = [(goal, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(by[node])
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack += [(premise, False) for premise in steps[by[node]].premises]
    return tuple(order)
