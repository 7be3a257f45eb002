"""The attacker's best proof where steps are shared: each step is paid once. Exact, by HiGHS.

Needed only where premises of one step lead back to the same step; without that Knuth's algorithm is
exact (`proofs.py`). Over AND/OR graphs this is the Steiner problem: nobody knows a fast way for all
cases, so it has a time limit, and what it did not prove stays a bracket.
"""

import heapq
from collections.abc import Sequence
from fractions import Fraction
from math import exp, inf, isfinite
from typing import Final

from asepsis.analysis.plans.milp import Milp
from asepsis.analysis.plans.problem import Plan, Problem, Step
from asepsis.analysis.plans.proofs import ROUNDING, Graph, Proof, nats, unfold
from asepsis.core.errors import LimitExceeded

STEPS_EXACT_MAX: Final = 20_000
"""Relevant steps up to which the exact proof is looked for."""


def best_proof(graph: Graph, plan: Plan, *, goal: int, seconds_max: float) -> Proof | None:
    """Return the best proof of a goal, or the one at hand with its bracket if time is over.

    Args:
        graph: Steps.
        plan: Countermeasures that are taken.
        goal: Index of the problem's goal.
        seconds_max: Time for the solver, above 0.
    """
    found = graph.proofs(plan)[goal]
    if found is None or found.exact:
        return found
    problem = graph.problem
    weights = graph.weights(plan)
    node = problem.goals[goal].node
    relevant = _relevant(graph, weights, node, nats(found.probability))
    if len(relevant) > STEPS_EXACT_MAX:
        return found
    try:
        chosen, bound = _solve(problem, relevant, weights, node, seconds_max)
    except LimitExceeded:
        return found
    steps = _in_order(problem.steps, chosen, node)
    value = Fraction(1)
    for index in steps:
        value *= problem.probability(problem.steps[index], plan)
    if value < found.probability:
        steps, value = found.steps, found.probability
    at_most = min(found.at_most, max(float(value), exp(-bound) * (1 + ROUNDING / 2)))
    return Proof(steps=steps, probability=value, at_most=at_most)


def _relevant(graph: Graph, weights: Sequence[float], goal: int, most: float) -> list[int]:
    """Return the steps that a proof of at most some cost can contain.

    Such a proof pays for a step, for the dearest of its premises, and for a chain of steps from it
    to the goal.
    """
    steps = graph.problem.steps
    before = graph.at_least(weights)
    into = _possible(steps, weights)
    after = {goal: 0.0}
    heap = [(0.0, goal)]
    found: list[int] = []
    while heap:
        paid, node = heapq.heappop(heap)
        if paid > after[node]:
            continue
        for index in into.get(node, ()):
            chain = paid + weights[index]
            dearest = max((before[premise] for premise in steps[index].premises), default=0.0)
            if chain + dearest > most + ROUNDING * (1 + most):
                continue
            found.append(index)
            for premise in steps[index].premises:
                if chain < after.get(premise, inf):
                    after[premise] = chain
                    heapq.heappush(heap, (chain, premise))
    return sorted(set(found))


def _possible(steps: Sequence[Step], weights: Sequence[float]) -> dict[int, list[int]]:
    """Return for each node the steps that can lead to it."""
    into: dict[int, list[int]] = {}
    for index, step in enumerate(steps):
        if isfinite(weights[index]) and step.target not in step.premises:
            into.setdefault(step.target, []).append(index)
    return into


def _solve(
    problem: Problem,
    relevant: Sequence[int],
    weights: Sequence[float],
    goal: int,
    seconds_max: float,
) -> tuple[list[int], float]:
    """Return the chosen steps and a lower bound of their cost, nats."""
    milp = Milp()
    steps = problem.steps
    nodes = {node for index in relevant for node in (steps[index].target, *steps[index].premises)}
    uses = {index: milp.binary(weights[index]) for index in relevant}
    round_ = _on_cycles(steps, relevant)
    turn = {node: milp.continuous(lower=0, upper=len(round_)) for node in sorted(round_)}
    into: dict[int, list[int]] = {node: [] for node in nodes}
    for index in relevant:
        into[steps[index].target].append(index)
    milp.row({uses[index]: 1 for index in into[goal]}, at_least=1)
    for index in relevant:
        for node in set(steps[index].premises):
            milp.row({**{uses[i]: 1 for i in into[node]}, uses[index]: -1}, at_least=0)
            if node in round_ and steps[index].target in round_:
                milp.row(
                    {turn[steps[index].target]: 1, turn[node]: -1, uses[index]: -len(round_) - 1},
                    at_least=-len(round_),
                )
    answer = milp.solve(seconds_max=seconds_max)
    if answer is None:
        return [], inf
    return [i for i in relevant if answer.values[uses[i]] > 0.5], answer.bound


def _on_cycles(steps: Sequence[Step], relevant: Sequence[int]) -> set[int]:
    """Return the nodes that lie on a cycle or between cycles: only these need turns."""
    edges = {(p, steps[index].target) for index in relevant for p in steps[index].premises}
    for _ in range(2):  # From the beginnings, then from the ends.
        edges = {(target, source) for source, target in _without_beginnings(edges)}
    return {node for edge in edges for node in edge}


def _without_beginnings(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the edges that are left when nodes to which nothing leads are taken away in turn."""
    onward: dict[int, list[int]] = {}
    missing: dict[int, int] = {}
    for source, target in edges:
        onward.setdefault(source, []).append(target)
        missing[target] = missing.get(target, 0) + 1
    open_ = [node for node in onward if node not in missing]
    gone = set(open_)
    while open_:
        for target in onward.get(open_.pop(), ()):
            missing[target] -= 1
            if not missing[target]:
                gone.add(target)
                open_.append(target)
    return {edge for edge in edges if edge[0] not in gone}


def _in_order(steps: Sequence[Step], chosen: Sequence[int], goal: int) -> tuple[int, ...]:
    """Return those of the chosen steps that the goal leans on, in an order that can be done."""
    by: dict[int, int] = {}
    while goal not in by:
        ready = [
            index
            for index in chosen
            if steps[index].target not in by and all(node in by for node in steps[index].premises)
        ]
        for index in ready:
            by.setdefault(steps[index].target, index)
        if not ready:
            raise LimitExceeded("the solver's proof does not hold")
    return unfold(steps, [by.get(node, -1) for node in range(max(by) + 1)], goal)
