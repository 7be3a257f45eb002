"""What changed between two models in what it means: paths, losses and plans, not letters. Pure.

Texts, comments, order and evidence are no difference: both models are compared as facts, steps and
outcomes. A change that moves nothing is said to move nothing.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from asepsis.analysis.plans.planner import Outcome
from asepsis.analysis.threats.compiled import Graph, Objective, amount, budgets
from asepsis.analysis.threats.file import money
from asepsis.analysis.threats.language import Atom
from asepsis.analysis.threats.model import Countermeasure, Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Between two graphs.

    Attributes:
        opened: Steps that are possible now, as rule and what is gained.
        closed: Steps that were.
        changed: Steps whose probability or countermeasures changed.
        reached: What attackers can have now and could not.
        safe: What they could have.
        weighed: What a loss that can be reached, a countermeasure or a budget counts differently.
    """

    opened: tuple[str, ...]
    closed: tuple[str, ...]
    changed: tuple[str, ...]
    reached: tuple[str, ...]
    safe: tuple[str, ...]
    weighed: tuple[str, ...]

    @property
    def nothing(self) -> bool:
        """Whether the two mean the same to attackers."""
        return not (self.opened or self.closed or self.changed or self.weighed)


def meaning(graph: Graph) -> str:
    """Return a hash of what a model means: equal for models that differ in letters only."""
    lines = sorted(f"{key}={value}" for key, value in _steps(graph).items())
    lines += sorted(f"{key}: {value}" for key, value in _weights(graph))
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def difference(before: Graph, after: Graph) -> Difference:
    """Return what became possible, impossible or differently likely."""
    old, new = _steps(before), _steps(after)
    had, have = set(before.nodes), set(after.nodes)
    was, is_ = dict(_weights(before)), dict(_weights(after))
    return Difference(
        opened=tuple(sorted(new.keys() - old.keys())),
        closed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(key for key in old.keys() & new.keys() if old[key] != new[key])),
        reached=tuple(sorted(_words(atom) for atom in have - had)),
        safe=tuple(sorted(_words(atom) for atom in had - have)),
        weighed=tuple(
            f"{key}: {was.get(key, 'nothing')} -> {is_.get(key, 'nothing')}"
            for key in sorted(was.keys() | is_.keys())
            if was.get(key) != is_.get(key)
        ),
    )


def moved(before: Outcome, after: Outcome) -> Mapping[str, tuple[int, int]]:
    """Return what a plan takes differently: level before and after, 0 for not at all."""
    names = before.plan.keys() | after.plan.keys()
    return {
        name: (before.plan.get(name, 0), after.plan.get(name, 0))
        for name in sorted(names)
        if before.plan.get(name, 0) != after.plan.get(name, 0)
    }


def _steps(graph: Graph) -> dict[str, str]:
    """Return each step by what it is, with what it weighs."""
    found: dict[str, str] = {}
    for step, instance in zip(graph.steps, graph.instances, strict=True):
        premises = " & ".join(sorted(_words(graph.nodes[node]) for node in step.premises))
        rule = "attempt" if instance is None and step.name != "damage" else step.name
        things = " ".join(sorted(set(instance.things.values()))) if instance else ""
        key = f"{rule}: {premises or 'nothing'} -> {_words(graph.nodes[step.target])} [{things}]"
        effects = sorted((name, tuple(map(str, f))) for name, f in step.effects.items())
        weight = f"{step.probability} {effects}"
        found[key] = weight  # Rule and things are the identity of a step (`ground.py`).
    return found


def _weights(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield what plans weigh beside steps: path in the model, and its value in one form."""
    model = graph.model
    yield "currency", model.currency
    for name in graph.losses:
        loss = model.losses[name]
        for objective in Objective:
            yield f"losses.{name}.{objective}", str(amount(loss, objective))
        yield f"losses.{name}.severity", loss.severity
        yield f"losses.{name}.accept", str(loss.accept)
    for name, control in model.countermeasures.items():
        yield from _control(model, f"countermeasures.{name}", control)
    for name, limit in budgets(model).items():
        yield f"budgets.{name.replace(' ', '.')}", str(limit)


def _control(model: Model, path: str, control: Countermeasure) -> Iterator[tuple[str, str]]:
    yield f"{path}.pays", control.pays
    yield f"{path}.decides", control.decides
    yield f"{path}.never", str(control.never)
    yield f"{path}.conflicts", ", ".join(sorted(set(control.conflicts)))
    yield f"{path}.needs", ", ".join(sorted(set(control.needs)))
    for number, level in enumerate(control.levels, 1):
        here = f"{path}.levels.{number}"
        yield f"{here}.a_year", str(money(level.yearly) + money(level.once) / model.years)
        yield f"{here}.harm_money", str(money(level.harm_money))
        for field in ("downtime_h", "effort_h", "harm_hours", "harm_patients"):
            yield f"{here}.{field}", str(float(getattr(level, field)))


def _words(atom: Atom) -> str:
    return f"{atom[0]}({', '.join(atom[1:])})"
