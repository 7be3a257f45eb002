"""A model, its graph and its plans together: what the commands show. Pure but for its clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeAlias, get_args

from asepsis.analysis.plans.expected import brackets
from asepsis.analysis.plans.planner import Clock, Outcome, Planner
from asepsis.analysis.plans.problem import Plan, Problem
from asepsis.analysis.plans.proofs import Proof
from asepsis.analysis.plans.ranked import Rank, ranked_plan
from asepsis.analysis.threats.compiled import (
    UNITS,
    Graph,
    Objective,
    amount,
    budgets,
    compile_model,
)
from asepsis.analysis.threats.language import Rule
from asepsis.analysis.threats.model import Model, Party
from asepsis.analysis.threats.telling import Path, path
from asepsis.core.errors import InputError

SECONDS_MAX: Final = 60.0
PARTIES: Final[tuple[str, ...]] = get_args(Party)
Risks: TypeAlias = Mapping[str, float]
"""Objective -> loss a year on best paths, with the harm that a plan itself adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The plan in one objective, and what stands beside it.

    Attributes:
        objective: In which it is optimal.
        best: The exact plan.
        ranking: The ranked plan's list.
        ranked: The ranked plan.
        risks: Plan ("nothing", "best", "ranked") -> objective -> loss a year; only the best plan's
            figure in its own objective is an optimum, the others are evaluated.
        alone: Party -> what is left if only it does its part of the best plan.
    """

    objective: Objective
    best: Outcome
    ranking: Sequence[Rank]
    ranked: Plan
    risks: Mapping[str, Risks]
    alone: Mapping[str, float]


class Study:
    """Compiled once, asked often.

    Args:
        model: What was read.
        rules: Shipped and own.
        clock: Seconds, monotonic.
        seconds_max: For each search.

    Raises:
        InputError: The model names rules that are not there.
        LimitExceeded: Too large.
    """

    def __init__(
        self,
        model: Model,
        *,
        rules: Sequence[Rule],
        clock: Clock,
        seconds_max: float = SECONDS_MAX,
    ) -> None:
        self.model: Final = model
        self.graph: Final[Graph] = compile_model(model, rules)
        self._clock = clock
        self._seconds_max = seconds_max
        self._planners: dict[Objective | None, Planner] = {}
        self._proofs: dict[frozenset[tuple[str, int]], dict[str, Proof]] = {}

    def objectives(self) -> list[Objective]:
        """Return the objectives in which any loss that can be reached counts."""
        found: list[Objective] = []
        for objective in Objective:
            try:
                self.graph.problem(objective)
            except InputError:
                continue
            found.append(objective)
        return found

    def paths(self, plan: Plan, *, expected: bool = True) -> list[Path]:
        """Return the best path to each loss under a plan, worst expected harm first.

        Order: patients, then money, then hours; the columns are not added up.

        Args:
            plan: What is taken.
            expected: Whether to look for the probability of any path too, which takes longer.
        """
        try:
            problem = self.graph.problem(None)
        except InputError:
            return []
        between = brackets(problem, plan) if expected else [None] * len(problem.goals)
        proofs = self._proved(plan)
        found = [
            path(self.graph, goal.name, proofs[goal.name], plan=plan, expected=bracket)
            for goal, bracket in zip(problem.goals, between, strict=True)
            if goal.name in proofs
        ]
        order = (Objective.PATIENTS, Objective.MONEY, Objective.HOURS)
        return sorted(found, key=lambda p: (*(-p.columns[o.value] for o in order), p.loss))

    def risks(self, plan: Plan) -> Risks:
        """Return what a plan leaves in each objective."""
        return {o.value: float(self.risk(o, plan)) for o in self.objectives()}

    def plan(self, objective: Objective) -> Planned:
        """Return the exact plan within the model's budgets, and the ranked one beside it.

        Raises:
            Conflict: Nothing keeps budgets and accepted risks; says by how much.
            InputError: Nothing that counts in this objective can be reached.
        """
        problem = self.graph.problem(objective)
        planner = self._planner(objective)
        limits = budgets(self.model)
        best = planner.best(limits)
        ranking = ranked_plan(
            problem, risk=lambda plan: float(self.risk(objective, plan)), budgets=limits
        )
        ranked = {line.control: line.level for line in ranking if line.taken}
        return Planned(
            objective=objective,
            best=best,
            ranking=ranking,
            ranked=ranked,
            risks={
                "nothing": self.risks({}),
                "best": self.risks(best.plan),
                "ranked": self.risks(ranked),
            },
            alone={
                party: float(self.risk(objective, self._part(best.plan, party)))
                for party in PARTIES
            },
        )

    def front(self, objective: Objective, budget: str) -> list[Outcome]:
        """Return what each amount of one budget buys, within the limits of the others.

        Raises:
            InputError: No such budget.
        """
        limits = budgets(self.model)
        known = {
            f"{party} {what}" for party in PARTIES for what in ("money", "downtime_h", "effort_h")
        }
        if budget not in known:
            raise InputError(f"no budget {budget!r}", hint=f"known: {', '.join(sorted(known))}")
        others: dict[str, Fraction] = {k: v for k, v in limits.items() if k != budget}
        return self._planner(objective).front(budget, others=others)

    def planner_of(self, problem: Problem, objective: Objective) -> Planner:
        """Return a planner of the model's steps with other figures; it knows what ours learned.

        Args:
            problem: As `graph.problem(objective)`, with other probabilities, harms or losses.
            objective: Of which it is.
        """
        return Planner(
            problem,
            clock=self._clock,
            seconds_max=self._seconds_max,
            like=self._planner(objective),
        )

    def risk(self, objective: Objective, plan: Plan) -> Fraction:
        """Return the sum over best paths, and the harm of the plan itself; exact."""
        losses = self.model.losses
        harm = self.graph.problem(objective).harm(plan)
        return harm + sum(
            (amount(losses[n], objective) * p.probability for n, p in self._proved(plan).items()),
            Fraction(0),
        )

    def _proved(self, plan: Plan) -> Mapping[str, Proof]:
        """Return the best proof of each loss; it is the same in every objective."""
        key = frozenset(plan.items())
        if key not in self._proofs:
            outcome = self._planner(None).evaluate(plan)
            pairs = zip(self.graph.problem(None).goals, outcome.proofs, strict=True)
            self._proofs[key] = {g.name: proof for g, proof in pairs if proof is not None}
        return {name: p for name, p in self._proofs[key].items() if p.probability}

    def _part(self, plan: Plan, party: str) -> Plan:
        return {
            name: level
            for name, level in plan.items()
            if self.model.countermeasures[name].decides == party
        }

    def _planner(self, objective: Objective | None) -> Planner:
        if objective not in self._planners:
            self._planners[objective] = Planner(
                self.graph.problem(objective), clock=self._clock, seconds_max=self._seconds_max
            )
        return self._planners[objective]


def parse_plan(model: Model, words: Sequence[str]) -> Plan:
    """Return a plan from words such as `usb-lock` or `segmentation=2`.

    Raises:
        InputError: Not a countermeasure, or no such level.
    """
    plan: dict[str, int] = {}
    for word in words:
        name, _, number = word.partition("=")
        control = model.countermeasures.get(name)
        level = int(number) if number.isdecimal() and len(number) < 4 else 0 if number else 1
        if control is None or not 1 <= level <= len(control.levels):
            raise InputError(
                f"no countermeasure {word!r}",
                hint=f"known: {', '.join(sorted(model.countermeasures))}",
            )
        plan[name] = level
    return plan


def plan_document(study: Study, planned: Planned) -> dict[str, Any]:
    """Return a plan as plain values for JSON."""
    best = planned.best
    return {
        "model": study.model.name,
        "objective": planned.objective.value,
        "unit": UNITS[planned.objective],
        "metric": "best path",
        "plan": dict(best.plan),
        "risk": float(best.risk),
        "bound": best.bound,
        "gap": best.gap,
        "proven": best.proven,
        "costs": {name: float(cost) for name, cost in best.costs.items()},
        "budgets": {name: float(limit) for name, limit in budgets(study.model).items()},
        "ranked": {
            "plan": dict(planned.ranked),
            "risk": planned.risks["ranked"][planned.objective.value],
            "list": [
                {
                    "countermeasure": line.control,
                    "level": line.level,
                    "gained": line.gained,
                    "cost": float(line.cost),
                    "taken": line.taken,
                }
                for line in planned.ranking
            ],
        },
        "risks": {name: dict(risks) for name, risks in planned.risks.items()},
        "alone": dict(planned.alone),
    }
