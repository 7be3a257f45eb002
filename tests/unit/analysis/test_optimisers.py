"""Optimisers against brute force on random problems, and what a plan must never do."""

import time
from fractions import Fraction

import pytest
import threat_brute as brute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asepsis.analysis.plans.expected import Expectation, brackets
from asepsis.analysis.plans.planner import Planner
from asepsis.analysis.plans.problem import Control, Goal, Level, Problem, Step
from asepsis.analysis.plans.search import best_plan
from asepsis.core.errors import Conflict, InputError

SETTINGS = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
BUDGETS = st.fixed_dictionaries(
    {"money": st.integers(0, 8).map(Fraction), "hours": st.integers(0, 4).map(Fraction)}
)


def planner(problem: Problem) -> Planner:
    return Planner(problem, clock=time.monotonic)


@SETTINGS
@given(problem=brute.problems(), budgets=BUDGETS)
def test_the_best_plan_is_that_of_brute_force(
    problem: Problem, budgets: dict[str, Fraction]
) -> None:
    known = brute.ways(problem)
    found = planner(problem).best(budgets)
    risks = [brute.best_path(problem, plan, known) for plan in brute.plans(problem, budgets)]
    assert found.proven
    assert not problem.broken(found.plan, budgets)
    assert found.risk == brute.best_path(problem, found.plan, known)
    assert float(found.risk) == pytest.approx(float(min(risks)), rel=1e-6)
    assert found.bound <= float(min(risks)) * (1 + 1e-9)


@SETTINGS
@given(problem=brute.problems(goals=1, harm=False), budgets=BUDGETS)
def test_so_it_is_for_one_goal_in_logarithms(
    problem: Problem, budgets: dict[str, Fraction]
) -> None:
    known = brute.ways(problem)
    found = planner(problem).best(budgets)
    risks = [brute.best_path(problem, plan, known) for plan in brute.plans(problem, budgets)]
    assert found.proven
    assert found.risk == min(risks)


@SETTINGS
@given(problem=brute.problems(ceiling=True), budgets=BUDGETS)
def test_ceilings_are_kept_or_it_says_what_is_missing(
    problem: Problem, budgets: dict[str, Fraction]
) -> None:
    known = brute.ways(problem)

    def kept(plan: brute.Plan) -> bool:
        return all(
            goal.ceiling is None
            or brute.best_path(_only(problem, goal), plan, known) - problem.harm(plan)
            <= goal.ceiling * goal.loss
            for goal in problem.goals
        )

    fits = [plan for plan in brute.plans(problem, budgets) if kept(plan)]
    if not fits:
        with pytest.raises(Conflict, match="ceilings"):
            planner(problem).best(budgets)
        return
    found = planner(problem).best(budgets)
    assert kept(found.plan)
    best = min(brute.best_path(problem, plan, known) for plan in fits)
    assert float(found.risk) == pytest.approx(float(best), rel=1e-6)
    cheapest = min(problem.cost(plan, "money") for plan in fits)
    least = planner(problem).least("money", budgets=budgets)
    assert least is not None
    assert least <= cheapest


def _only(problem: Problem, goal: Goal) -> Problem:
    return Problem(
        nodes=problem.nodes, steps=problem.steps, controls=problem.controls, goals=(goal,)
    )


@SETTINGS
@given(problem=brute.problems(), budget=st.integers(0, 8))
def test_more_money_never_buys_more_risk_and_a_longer_catalogue_never_harms(
    problem: Problem, budget: int
) -> None:
    little = planner(problem).best({"money": Fraction(budget)})
    much = planner(problem).best({"money": Fraction(budget + 2)})
    assert float(much.risk) <= float(little.risk) * (1 + 1e-6)
    fewer = _without(problem, max(problem.controls))
    assert float(little.risk) <= float(planner(fewer).best({"money": Fraction(budget)}).risk) * (
        1 + 1e-6
    )


def _without(problem: Problem, name: str) -> Problem:
    """Return the problem without a countermeasure; what needs it can no more be taken."""
    controls = {
        n: Control(
            name=n,
            levels=c.levels,
            conflicts=c.conflicts - {name},
            needs=c.needs - {name},
            never=c.never or name in c.needs,
        )
        for n, c in problem.controls.items()
        if n != name
    }
    steps = tuple(
        Step(
            target=s.target,
            premises=s.premises,
            probability=s.probability,
            effects={n: f for n, f in s.effects.items() if n != name},
        )
        for s in problem.steps
    )
    return Problem(nodes=problem.nodes, steps=steps, controls=controls, goals=problem.goals)


@SETTINGS
@given(problem=brute.problems())
def test_probabilities_are_those_over_all_worlds(problem: Problem) -> None:
    known = brute.ways(problem)
    expectation = Expectation(problem)
    for plan in brute.plans(problem, {}):
        assert expectation.probabilities(plan) == brute.expected(problem, plan, known)


@SETTINGS
@given(problem=brute.problems(), budgets=BUDGETS)
def test_the_least_expected_loss_is_that_of_brute_force(
    problem: Problem, budgets: dict[str, Fraction]
) -> None:
    expectation = Expectation(problem)
    found = best_plan(problem, loss=expectation.loss, budgets=budgets)
    risks = [
        float(problem.harm(plan))
        + sum(
            float(goal.loss * p)
            for goal, p in zip(problem.goals, expectation.probabilities(plan), strict=True)
        )
        for plan in brute.plans(problem, budgets)
    ]
    assert found.risk == pytest.approx(min(risks), rel=1e-9)


@settings(SETTINGS, max_examples=15)
@given(problem=brute.problems(), extra=st.integers(301, 310))
def test_where_it_is_too_large_for_exactness_it_is_bracketed(problem: Problem, extra: int) -> None:
    """Goal: 300 steps that change nothing push it over the limit; the truth lies between."""
    padding = tuple(Step(target=0, premises=(), probability=Fraction(1, 2)) for _ in range(extra))
    large = Problem(
        nodes=problem.nodes,
        steps=problem.steps + padding,
        controls=problem.controls,
        goals=problem.goals,
    )
    exact = Expectation(problem).probabilities({})
    for bracket, truth in zip(brackets(large, {}), exact, strict=True):
        assert not bracket.exact or truth in {0, 1}
        assert bracket.low <= float(truth) * (1 + 1e-9)
        assert float(truth) <= bracket.high * (1 + 1e-9)


def test_a_plan_that_is_impossible_says_which_budget_and_by_how_much() -> None:
    wall = Control(name="wall", levels=(Level(costs={"money": Fraction(70)}),))
    problem = Problem(
        nodes=("ward", "pump"),
        steps=(
            Step(target=0, premises=(), probability=Fraction(1)),
            Step(
                target=1,
                premises=(0,),
                probability=Fraction(1, 2),
                effects={"wall": (Fraction(1, 100),)},
            ),
        ),
        controls={"wall": wall},
        goals=(Goal(name="pump", node=1, ceiling=Fraction(1, 10)),),
    )
    with pytest.raises(Conflict) as raised:
        planner(problem).best({"money": Fraction(50)})
    assert "money: 50, needs 70" in raised.value.hint
    assert planner(problem).best({"money": Fraction(70)}).plan == {"wall": 1}
    with pytest.raises(InputError, match="no countermeasure"):
        planner(problem).evaluate({"moat": 1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"goals": ()}, "no goal"),
        ({"goals": (Goal(name="x", node=7),)}, "node that is there"),
        ({"goals": (Goal(name="x", node=0, ceiling=Fraction(2)),)}, "ceiling"),
        ({"goals": (Goal(name="x", node=0), Goal(name="x", node=0))}, "one name"),
        ({"steps": (Step(target=9, premises=(), probability=Fraction(1)),)}, "not there"),
        ({"steps": (Step(target=0, premises=(), probability=Fraction(2)),)}, "probability"),
        ({"controls": {"a": Control(name="a", levels=())}}, "levels"),
        (
            {"controls": {"a": Control(name="a", levels=(Level(costs={}),), needs=frozenset("b"))}},
            "names 'b'",
        ),
        (
            {"controls": {"a": Control(name="a", levels=(Level(costs={"money": Fraction(-1)}),))}},
            "below 0",
        ),
    ],
    ids=["goals", "node", "ceiling", "names", "target", "probability", "levels", "needs", "cost"],
)
def test_a_problem_that_contradicts_itself_is_refused(
    change: dict[str, object], words: str
) -> None:
    whole: dict[str, object] = {
        "nodes": ("start",),
        "steps": (),
        "controls": {},
        "goals": (Goal(name="x", node=0),),
    }
    with pytest.raises(InputError, match=words):
        Problem(**{**whole, **change})  # pyright: ignore[reportArgumentType]
