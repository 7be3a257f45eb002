"""Brute force beside the optimisers, and small random problems for both."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, combinations, product

from hypothesis import strategies as st

from asepsis.analysis.plans.problem import Control, Goal, Level, Plan, Problem, Step

CHANCES = [Fraction(n, 10) for n in (1, 3, 5, 9, 10)]
FACTORS = [Fraction(n, 10) for n in (0, 1, 4, 7)]


def plans(problem: Problem, budgets: dict[str, Fraction]) -> Iterator[Plan]:
    """Yield every plan that keeps budgets and rules."""
    names = list(problem.controls)
    for levels in product(*(range(len(problem.controls[n].levels) + 1) for n in names)):
        plan = {name: level for name, level in zip(names, levels, strict=True) if level}
        if not problem.broken(plan, budgets):
            yield plan


def reached(problem: Problem, steps: tuple[int, ...]) -> set[int]:
    """Return the nodes that these steps lead to."""
    found: set[int] = set()
    while True:
        fresh = {
            problem.steps[i].target for i in steps if found.issuperset(problem.steps[i].premises)
        } - found
        if not fresh:
            return found
        found |= fresh


def subsets(problem: Problem) -> Iterator[tuple[int, ...]]:
    count = range(len(problem.steps))
    return chain.from_iterable(combinations(count, size) for size in range(len(count) + 1))


def ways(problem: Problem) -> dict[tuple[int, ...], set[int]]:
    """Return every set of steps and what it reaches."""
    return {steps: reached(problem, steps) for steps in subsets(problem)}


def best_path(problem: Problem, plan: Plan, known: dict[tuple[int, ...], set[int]]) -> Fraction:
    """Return the risk by the metric "best path"."""
    chances = [problem.probability(step, plan) for step in problem.steps]
    risk = problem.harm(plan)
    for goal in problem.goals:
        best = Fraction(0)
        for steps, nodes in known.items():
            if goal.node in nodes:
                value = Fraction(1)
                for index in steps:
                    value *= chances[index]
                best = max(best, value)
        risk += goal.loss * best
    return risk


def expected(
    problem: Problem, plan: Plan, known: dict[tuple[int, ...], set[int]]
) -> list[Fraction]:
    """Return the probability of each goal over all worlds."""
    chances = [problem.probability(step, plan) for step in problem.steps]
    found = [Fraction(0)] * len(problem.goals)
    for steps, nodes in known.items():
        world = Fraction(1)
        for index, chance in enumerate(chances):
            world *= chance if index in steps else 1 - chance
        for number, goal in enumerate(problem.goals):
            if goal.node in nodes:
                found[number] += world
    return found


@st.composite
def problems(
    draw: st.DrawFn, *, goals: int = 2, harm: bool = True, ceiling: bool = False
) -> Problem:
    """Draw a problem with shared steps, cycles, levels, conflicts, prerequisites and rules."""
    nodes = draw(st.integers(2, 5))
    names = [f"c{n}" for n in range(draw(st.integers(1, 3)))]
    controls = {name: _control(draw, name, names, harm=harm) for name in names}
    steps = [Step(target=0, premises=(), probability=Fraction(1))]
    for _ in range(draw(st.integers(1, 7))):
        premises = draw(st.lists(st.integers(0, nodes - 1), min_size=1, max_size=2, unique=True))
        touched = draw(st.lists(st.sampled_from(names), unique=True, max_size=2))
        steps.append(
            Step(
                target=draw(st.integers(1, nodes - 1)),
                premises=tuple(premises),
                probability=draw(st.sampled_from(CHANCES)),
                effects={
                    name: tuple(draw(st.sampled_from(FACTORS)) for _ in controls[name].levels)
                    for name in touched
                },
            )
        )
    chosen = draw(st.lists(st.integers(1, nodes - 1), min_size=1, max_size=goals, unique=True))
    limit = st.sampled_from([None, Fraction(1, 5), Fraction(1, 2)]) if ceiling else st.none()
    return Problem(
        nodes=tuple(map(str, range(nodes))),
        steps=tuple(steps),
        controls=controls,
        goals=tuple(
            Goal(name=str(n), node=n, loss=Fraction(draw(st.integers(1, 100))), ceiling=draw(limit))
            for n in chosen
        ),
    )


def _control(draw: st.DrawFn, name: str, names: list[str], *, harm: bool) -> Control:
    levels = tuple(
        Level(
            costs={
                "money": Fraction(draw(st.integers(0, 5))),
                "hours": Fraction(draw(st.integers(0, 2))),
            },
            harm=Fraction(draw(st.integers(0, 5)), 2) if harm else Fraction(0),
        )
        for _ in range(draw(st.integers(1, 2)))
    )
    others = [other for other in names if other != name]
    some = st.lists(st.sampled_from(others), max_size=1) if others else st.just([])
    return Control(
        name=name,
        levels=levels,
        conflicts=frozenset(draw(some)),
        needs=frozenset(draw(some)),
        never=draw(st.sampled_from([False, False, False, True])),
    )
