"""Where premises share steps and steps go round, the attacker's best proof equals brute force."""

import random
from fractions import Fraction

import pytest
import threat_brute

from asepsis.analysis.plans.attacker import best_proof
from asepsis.analysis.plans.problem import Goal, Problem, Step
from asepsis.analysis.plans.proofs import Graph

NODES = 7
STEPS = 11


def drawn(seed: int) -> Problem:
    """Return a graph whose goal needs two nodes, which often lean on the same steps."""
    rng = random.Random(seed)
    steps = [Step(target=0, premises=(), probability=Fraction(1))]
    for _ in range(STEPS - 2):
        count = rng.choice((1, 1, 2))
        steps.append(
            Step(
                target=rng.randrange(1, NODES - 1),
                premises=tuple(rng.sample(range(NODES - 1), count)),
                probability=Fraction(rng.randint(1, 9), 10),
            )
        )
    ends = tuple(rng.sample(range(1, NODES - 1), 2))
    steps.append(Step(target=NODES - 1, premises=ends, probability=Fraction(9, 10)))
    return Problem(
        nodes=tuple(map(str, range(NODES))),
        steps=tuple(steps),
        controls={},
        goals=(Goal(name="goal", node=NODES - 1),),
    )


def test_the_best_proof_over_shared_steps_and_cycles_is_that_of_brute_force() -> None:
    """Goal: the solver's proof is the best one, and its bracket closes.

    Input: seeded graphs of which the quick search alone proves nothing.
    """
    asked = 0
    for seed in range(600):
        problem = drawn(seed)
        graph = Graph(problem)
        quick = graph.proofs({})[0]
        if quick is None or quick.exact:
            continue
        asked += 1
        found = best_proof(graph, {}, goal=0, seconds_max=20)
        assert found is not None
        truth = threat_brute.best_path(problem, {}, threat_brute.ways(problem))
        assert found.probability == truth, seed
        assert found.at_most == pytest.approx(float(truth))
    assert asked > 20
