"""An AND/OR attack graph, the countermeasures against it, and what may be spent. Values only.

A node is something an attacker has reached; a step leads from all of its premises to one node with
a probability; a node is reached by any step. Cycles are allowed. A countermeasure has levels, of
which a plan takes none or one; each level multiplies the probability of the steps it works on.

Source: Khouzani, Liu, Malacaria, "Scalable min-max multi-objective cyber-security optimisation over
probabilistic attack graphs" (EJOR 2019), extended to steps with several premises.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, TypeAlias

from asepsis.core.errors import InputError, LimitExceeded

NODES_MAX: Final = 1_000_000
STEPS_MAX: Final = 4_000_000
PREMISES_MAX: Final = 16
CONTROLS_MAX: Final = 1_000
LEVELS_MAX: Final = 16
Plan: TypeAlias = Mapping[str, int]
"""Countermeasure -> level, from 1; one that is not named is not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One way to implement a countermeasure.

    Attributes:
        costs: Budget -> what it takes of it, 0 or more; unnamed budgets are not touched.
        harm: Expected loss a year that the countermeasure itself adds, in the unit of the goals
            (ISO 14971:2019, 7.5), 0 or more.
    """

    costs: Mapping[str, Fraction]
    harm: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A countermeasure.

    Attributes:
        name: Unique.
        levels: In the order of their numbers, from 1.
        conflicts: Names of which none may be taken beside it.
        needs: Names of which all must be taken with it.
        never: Whether a rule forbids it.
    """

    name: str
    levels: tuple[Level, ...]
    conflicts: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    never: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing an attacker does.

    Attributes:
        target: Node that is reached, index.
        premises: Nodes that must have been reached, indices; none for what anybody can do.
        probability: That it succeeds, 0 to 1.
        effects: Countermeasure -> factor of each of its levels, 0 to 1.
        name: For people.
    """

    target: int
    premises: tuple[int, ...]
    probability: Fraction
    effects: Mapping[str, tuple[Fraction, ...]] = field(default_factory=dict[str, tuple[Fraction]])
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What must not happen.

    Attributes:
        name: For people; unique.
        node: Index.
        loss: Expected loss a year if it is reached for certain, above 0.
        ceiling: Largest probability that is accepted; a constraint that nothing outweighs.
    """

    name: str
    node: int
    loss: Fraction = Fraction(1)
    ceiling: Fraction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Graph, countermeasures and goals.

    Attributes:
        nodes: Names.
        steps: In any order.
        controls: By name.
        goals: At least one.

    Raises:
        InputError: Something contradicts itself, is out of its range or names what is not there.
        LimitExceeded: Too large.
    """

    nodes: tuple[str, ...]
    steps: tuple[Step, ...]
    controls: Mapping[str, Control]
    goals: tuple[Goal, ...]

    def __post_init__(self) -> None:
        """Check everything once, so that no optimiser has to."""
        _check_sizes(self)
        for problem in (*_bad_steps(self), *_bad_controls(self), *_bad_goals(self)):
            raise InputError(problem)

    def check(self, plan: Plan) -> None:
        """Refuse a plan that names what is not there.

        Raises:
            InputError: Unknown countermeasure, or a level that it has not.
        """
        for name, level in plan.items():
            control = self.controls.get(name)
            if control is None or not 1 <= level <= len(control.levels):
                raise InputError(f"no countermeasure {name!r} with a level {level}")

    def probability(self, step: Step, plan: Plan) -> Fraction:
        """Return the probability of a step under a plan, exactly."""
        value = step.probability
        for name, factors in step.effects.items():
            if level := plan.get(name, 0):
                value *= factors[level - 1]
        return value

    def cost(self, plan: Plan, budget: str) -> Fraction:
        """Return what a plan takes of a budget, exactly."""
        return sum(
            (
                self.controls[name].levels[level - 1].costs.get(budget, Fraction(0))
                for name, level in plan.items()
            ),
            Fraction(0),
        )

    def harm(self, plan: Plan) -> Fraction:
        """Return the loss a year that a plan itself adds, exactly."""
        return sum(
            (self.controls[name].levels[level - 1].harm for name, level in plan.items()),
            Fraction(0),
        )

    def broken(self, plan: Plan, budgets: Mapping[str, Fraction]) -> list[str]:
        """Return what a plan breaks of budgets and rules, in words; empty if nothing."""
        found = [
            f"{budget}: {float(self.cost(plan, budget)):g} of {float(limit):g}"
            for budget, limit in budgets.items()
            if self.cost(plan, budget) > limit
        ]
        for name in plan:
            control = self.controls[name]
            found += [f"{name} is ruled out"] * control.never
            found += [f"{name} conflicts with {other}" for other in control.conflicts & plan.keys()]
            found += [f"{name} needs {other}" for other in control.needs - plan.keys()]
        return found


def _check_sizes(problem: Problem) -> None:
    for what, size, limit in (
        ("nodes", len(problem.nodes), NODES_MAX),
        ("steps", len(problem.steps), STEPS_MAX),
        ("countermeasures", len(problem.controls), CONTROLS_MAX),
    ):
        if size > limit:
            raise LimitExceeded(f"{size} {what}; at most {limit}")


def _bad_steps(problem: Problem) -> Iterator[str]:
    known = range(len(problem.nodes))
    for step in problem.steps:
        if step.target not in known or any(node not in known for node in step.premises):
            yield f"step {step.name!r} names a node that is not there"
        if len(step.premises) > PREMISES_MAX:
            yield f"step {step.name!r} has over {PREMISES_MAX} premises"
        if not 0 <= step.probability <= 1:
            yield f"step {step.name!r} has a probability outside 0 to 1"
        for name, factors in step.effects.items():
            control = problem.controls.get(name)
            if control is None or len(factors) != len(control.levels):
                yield f"step {step.name!r}: {name!r} has not {len(factors)} levels, or is not there"
            if not all(0 <= factor <= 1 for factor in factors):
                yield f"step {step.name!r}: a factor of {name!r} is outside 0 to 1"


def _bad_controls(problem: Problem) -> Iterator[str]:
    for name, control in problem.controls.items():
        if name != control.name or not 1 <= len(control.levels) <= LEVELS_MAX:
            yield f"countermeasure {name!r} must bear its name and have 1 to {LEVELS_MAX} levels"
        for other in (control.conflicts | control.needs) - problem.controls.keys():
            yield f"countermeasure {name!r} names {other!r}, which is none"
        if name in control.conflicts:
            yield f"countermeasure {name!r} conflicts with itself"
        for level in control.levels:
            if level.harm < 0 or any(cost < 0 for cost in level.costs.values()):
                yield f"countermeasure {name!r} has a cost or harm below 0"


def _bad_goals(problem: Problem) -> Iterator[str]:
    if not problem.goals:
        yield "no goal: name what must not happen"
    for goal in problem.goals:
        if not 0 <= goal.node < len(problem.nodes) or goal.loss <= 0:
            yield f"goal {goal.name!r} needs a node that is there and a loss above 0"
        if goal.ceiling is not None and not 0 < goal.ceiling <= 1:
            yield f"goal {goal.name!r}: a ceiling is above 0 and at most 1"
    if len({goal.name for goal in problem.goals}) < len(problem.goals):
        yield "two goals have one name"
