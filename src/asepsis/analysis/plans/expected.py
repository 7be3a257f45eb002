"""How probable it is that a goal is reached, shared steps counted once: exact or a bracket. Pure.

Steps succeed independently of each other. A goal is reached if there is any proof of which all
steps succeed; on cyclic graphs that is the least fixed point. Small graphs are exact by decision
diagrams. Large ones get a bracket: the best path below; above, what follows from all events being
increasing functions of the same steps, and so positively associated.

Source: Harris inequality (1960); Muñoz-González et al., "Exact inference techniques for the
analysis of Bayesian attack graphs" (2016), which this agrees with on acyclic graphs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import exp
from typing import Final

from asepsis.analysis.plans.diagrams import FALSE, TRUE, Diagrams, Number
from asepsis.analysis.plans.problem import Plan, Problem, Step
from asepsis.analysis.plans.proofs import Graph, nats
from asepsis.core.errors import InputError, LimitExceeded

ROUNDS_MAX: Final = 200
EXACT_NODES_MAX: Final = 60_000
"""Size of a diagram up to which it is exact: about half a second of work."""
METRIC: Final = "expected loss"


@dataclass(frozen=True, slots=True)
class Bracket:
    """Between which two figures something lies; they are equal where it is exact."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether both ends are one."""
        return self.low == self.high


class Expectation:
    """The goals of a problem as functions of its steps, made once for many plans.

    Args:
        problem: Graph and goals.

    Raises:
        LimitExceeded: Too many steps that can fail, or too large a diagram.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        relevant = _relevant(problem)
        self._events = [i for i in relevant if _may_fail(problem.steps[i])]
        self._diagrams = Diagrams(len(self._events), nodes_max=EXACT_NODES_MAX)
        self._nodes = _fixed_point(self._diagrams, problem, relevant, self._events)

    def probabilities(self, plan: Plan) -> list[Fraction]:
        """Return the exact probability of each goal under a plan."""
        self._problem.check(plan)
        steps = self._problem.steps
        chances = [self._problem.probability(steps[index], plan) for index in self._events]
        return [
            self._diagrams.probability(self._nodes[goal.node], chances)
            for goal in self._problem.goals
        ]

    def loss(self, chances: Sequence[Number]) -> float:
        """Return the expected loss a year for probabilities of all steps of the problem."""
        events = [chances[index] for index in self._events]
        return sum(
            float(goal.loss) * float(self._diagrams.probability(self._nodes[goal.node], events))
            for goal in self._problem.goals
        )

    def posterior(self, node: str, *, given: str) -> Fraction:
        """Return the probability that a node was reached where another one was, exactly.

        Raises:
            InputError: There is no such node, or the condition cannot be.
        """
        names = self._problem.nodes
        if node not in names or given not in names:
            raise InputError(f"no node {node!r} or {given!r}")
        chances = [self._problem.steps[index].probability for index in self._events]
        known = self._nodes[names.index(given)]
        both = self._diagrams.both(self._nodes[names.index(node)], known)
        sure = self._diagrams.probability(known, chances)
        if not sure:
            raise InputError(f"{given!r} cannot be reached")
        return self._diagrams.probability(both, chances) / sure


def brackets(problem: Problem, plan: Plan) -> list[Bracket]:
    """Return for each goal between which figures its probability lies; exact where it can be."""
    try:
        exact = Expectation(problem).probabilities(plan)
    except LimitExceeded:
        lows = [exp(-nats(p.probability)) if p else 0.0 for p in Graph(problem).proofs(plan)]
        highs = _upper(problem, plan)
        return [
            Bracket(low, max(low, highs[goal.node]))
            for low, goal in zip(lows, problem.goals, strict=True)
        ]
    return [Bracket(float(value), float(value)) for value in exact]


def _may_fail(step: Step) -> bool:
    return step.probability < 1 or bool(step.effects)


def _relevant(problem: Problem) -> list[int]:
    """Return the steps that any node needs, in the order in which an attacker can come to them."""
    found: list[int] = []
    reached: set[int] = set()
    waiting = [index for index, step in enumerate(problem.steps) if step.probability]
    while True:
        ready = [i for i in waiting if reached.issuperset(problem.steps[i].premises)]
        if not ready:
            return found
        found += ready
        reached |= {problem.steps[index].target for index in ready}
        done = set(ready)
        waiting = [index for index in waiting if index not in done]


def _fixed_point(
    diagrams: Diagrams, problem: Problem, relevant: Sequence[int], events: Sequence[int]
) -> list[int]:
    """Return the function of each node: reached within ever more rounds, until nothing changes."""
    variable = {index: diagrams.variable(order) for order, index in enumerate(events)}
    nodes = [FALSE] * len(problem.nodes)
    changed = True
    while changed:
        changed = False
        for index in relevant:
            step = problem.steps[index]
            way = variable.get(index, TRUE)
            for premise in step.premises:
                way = diagrams.both(way, nodes[premise])
            reached = diagrams.either(nodes[step.target], way)
            changed |= reached != nodes[step.target]
            nodes[step.target] = reached
    return nodes


def _upper(problem: Problem, plan: Plan) -> list[float]:
    """Return for each node a figure that its probability does not exceed.

    After n rounds it bounds what is reached by proofs of depth n, and no proof is deeper than the
    number of nodes; the iteration rises, so where it stands still it holds for all depths. If it
    does not stand still in time, the figure is 1 for every node that can be reached.
    """
    chances = [float(problem.probability(step, plan)) for step in problem.steps]
    reached = [0.0] * len(problem.nodes)
    for _ in range(min(ROUNDS_MAX, len(reached))):
        missed = [1.0] * len(reached)
        for step, chance in zip(problem.steps, chances, strict=True):
            way = chance * min((reached[node] for node in step.premises), default=1.0)
            missed[step.target] *= 1 - way
        after = [min(1.0, 1 - miss) for miss in missed]
        if after == reached:
            break
        reached = after
    else:
        if len(reached) > ROUNDS_MAX:
            return [1.0 if value else 0.0 for value in reached]
    return [min(1.0, value * (1 + 1e-9)) for value in reached]
