"""From a model and rules to a problem of the optimisers, in one objective at a time.

Money, hours and patients are three problems over one graph, never one sum (IEC 80001-1): a plan is
optimal in one of them and is evaluated in the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Final

from asepsis.analysis.plans.problem import Control, Goal, Level, Problem, Step
from asepsis.analysis.threats.facts import facts
from asepsis.analysis.threats.file import money
from asepsis.analysis.threats.ground import Instance, instances
from asepsis.analysis.threats.language import CHANCES, Atom, Rule
from asepsis.analysis.threats.model import Countermeasure, Effect, LevelOf, Loss, Model
from asepsis.core.errors import InputError


class Objective(StrEnum):
    """What a plan is optimal in."""

    MONEY = "money"
    HOURS = "hours"
    PATIENTS = "patients"


UNITS: Final[Mapping[Objective, str]] = {
    Objective.MONEY: "a year",
    Objective.HOURS: "hours a year",
    Objective.PATIENTS: "patients a year",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A model as an attack graph.

    Attributes:
        model: Where it comes from.
        nodes: What an attacker can have; the last ones are losses.
        instances: One for each step of `steps`; None for attempts and for damage.
        steps: For the optimisers.
        losses: Loss -> node; only those that can be reached.
    """

    model: Model
    nodes: tuple[Atom, ...]
    instances: tuple[Instance | None, ...]
    steps: tuple[Step, ...]
    losses: Mapping[str, int]

    def problem(self, objective: Objective | None) -> Problem:
        """Return the problem in one objective; for None each loss counts 1, for its paths only.

        Raises:
            InputError: No loss of the model can be reached, or none counts in this objective.
        """
        goals = [
            Goal(
                name=name,
                node=node,
                loss=weight,
                ceiling=None if loss.accept is None else Fraction(str(loss.accept)),
            )
            for name, node in self.losses.items()
            for loss in [self.model.losses[name]]
            if (weight := amount(loss, objective))
        ]
        if not goals:
            raise InputError(
                f"nothing that costs {objective or 'anything'} can be reached by any attacker",
                hint="`asepsis threats explain` shows what can",
            )
        return Problem(
            nodes=tuple(" ".join(atom) for atom in self.nodes),
            steps=self.steps,
            controls={
                name: _control(name, control, self.model, objective)
                for name, control in self.model.countermeasures.items()
            },
            goals=tuple(goals),
        )


def amount(loss: Loss, objective: Objective | None) -> Fraction:
    """Return what a loss counts in an objective, a year, if it surely happens."""
    if objective is None:
        return Fraction(1)
    if objective is Objective.MONEY:
        return money(loss.money)
    return Fraction(str(loss.hours if objective is Objective.HOURS else loss.patients))


def budgets(model: Model) -> dict[str, Fraction]:
    """Return the limits of all parties, such as `hospital money`."""
    found: dict[str, Fraction] = {}
    for party, budget in model.budgets.items():
        if budget.money is not None:
            found[f"{party} money"] = money(budget.money)
        if budget.downtime_h is not None:
            found[f"{party} downtime_h"] = Fraction(str(budget.downtime_h))
        if budget.effort_h is not None:
            found[f"{party} effort_h"] = Fraction(str(budget.effort_h))
    return found


def compile_model(model: Model, rules: Sequence[Rule]) -> Graph:
    """Return the graph of a model.

    Raises:
        InputError: An estimate or an effect names a rule that is not there.
        LimitExceeded: Too large.
    """
    _check_names(model, rules)
    made = instances(rules, facts(model))
    atoms: dict[Atom, int] = {}

    def node(atom: Atom) -> int:
        return atoms.setdefault(atom, len(atoms))

    steps: list[Step] = []
    origins: list[Instance | None] = []
    for name, attacker in sorted(model.attackers.items()):
        chance = Fraction(str(attacker.per_year))
        steps.append(Step(target=node(("attacks", name)), premises=(), probability=chance))
        origins.append(None)
    for instance in made:
        steps.append(
            Step(
                target=node(instance.then),
                premises=tuple(node(atom) for atom in instance.after),
                probability=_chance(model, instance.rule),
                effects=dict(_effects(model, instance)),
                name=instance.rule.id,
            )
        )
        origins.append(instance)
    losses: dict[str, int] = {}
    for name, loss in sorted(model.losses.items()):
        source = loss_atom(loss)
        if source in atoms:
            losses[name] = node(("loss", name))
            steps.append(
                Step(
                    target=losses[name],
                    premises=(atoms[source],),
                    probability=Fraction(1),
                    effects=dict(_damage(model, name)),
                    name="damage",
                )
            )
            origins.append(None)
    return Graph(
        model=model,
        nodes=tuple(atoms),
        instances=tuple(origins),
        steps=tuple(steps),
        losses=losses,
    )


def loss_atom(loss: Loss) -> Atom:
    """Return what an attacker must have for a loss."""
    if loss.harm == "data-theft":
        return ("steals", loss.asset or "")
    return ("harms", loss.harm, loss.function or "")


def _check_names(model: Model, rules: Sequence[Rule]) -> None:
    ids = {rule.id for rule in rules}
    tags = {tag for rule in rules for tag in rule.tags}
    for name in model.estimates:
        if name not in ids:
            raise InputError(f"estimates.{name}: there is no such rule")
    for name, control in model.countermeasures.items():
        for effect in control.effects:
            for word in effect.steps:
                if not any(fnmatchcase(tag, word) for tag in tags):
                    raise InputError(
                        f"countermeasures.{name}: no rule is called or tagged {word!r}",
                        hint="`asepsis threats rules` lists ids and tags",
                    )


def _chance(model: Model, rule: Rule) -> Fraction:
    estimate = model.estimates.get(rule.id)
    value = CHANCES[rule.text.difficulty] if estimate is None else estimate.probability
    if estimate is None and "start" in rule.tags and rule.text.difficulty == "trivial":
        return Fraction(1)  # Where an attacker begins is his definition, not an achievement.
    return Fraction(str(value))


def _effects(model: Model, instance: Instance) -> Iterator[tuple[str, tuple[Fraction, ...]]]:
    things = set(instance.things.values())
    for name, control in model.countermeasures.items():
        factors = [
            tuple(Fraction(str(factor)) for factor in effect.factors)
            for effect in control.effects
            if _touches(effect, instance.rule, things)
        ]
        if factors:
            yield name, tuple(min(column) for column in zip(*factors, strict=True))


def _touches(effect: Effect, rule: Rule, things: set[str]) -> bool:
    if effect.on and not things.intersection(effect.on):
        return False
    return any(fnmatchcase(tag, word) for word in effect.steps for tag in rule.tags)


def _damage(model: Model, loss: str) -> Iterator[tuple[str, tuple[Fraction, ...]]]:
    for name, control in model.countermeasures.items():
        for effect in control.effects:
            if effect.loss == loss:
                yield name, tuple(Fraction(str(factor)) for factor in effect.factors)


def _control(
    name: str, control: Countermeasure, model: Model, objective: Objective | None
) -> Control:
    return Control(
        name=name,
        levels=tuple(_level(level, control, model, objective) for level in control.levels),
        conflicts=frozenset(control.conflicts),
        needs=frozenset(control.needs),
        never=control.never,
    )


def _level(
    level: LevelOf, control: Countermeasure, model: Model, objective: Objective | None
) -> Level:
    yearly = money(level.yearly) + money(level.once) / model.years
    harm = {
        None: Fraction(0),
        Objective.MONEY: money(level.harm_money),
        Objective.HOURS: Fraction(str(level.harm_hours)),
        Objective.PATIENTS: Fraction(str(level.harm_patients)),
    }[objective]
    return Level(
        costs={
            f"{control.pays} money": yearly,
            f"{control.decides} downtime_h": Fraction(str(level.downtime_h)),
            f"{control.decides} effort_h": Fraction(str(level.effort_h)),
        },
        harm=harm,
    )
