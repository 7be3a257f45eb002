"""What changed between two models in what it means: paths, losses and plans, not letters. Pure.

Texts, comments, order and evidence are no difference: both models are compared as facts, steps and
outcomes. A change that moves nothing is said to move nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from asepsis.analysis.plans.planner import Outcome
from asepsis.analysis.threats.compiled import Graph
from asepsis.analysis.threats.language import Atom


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Between two graphs.

    Attributes:
        opened: Steps that are possible now, as rule and what is gained.
        closed: Steps that were.
        changed: Steps whose probability or countermeasures changed.
        reached: What attackers can have now and could not.
        safe: What they could have.
    """

    opened: tuple[str, ...]
    closed: tuple[str, ...]
    changed: tuple[str, ...]
    reached: tuple[str, ...]
    safe: tuple[str, ...]

    @property
    def nothing(self) -> bool:
        """Whether the two mean the same to attackers."""
        return not (self.opened or self.closed or self.changed)


def meaning(graph: Graph) -> str:
    """Return a hash of what a model means: equal for models that differ in letters only."""
    lines = sorted(f"{key}={value}" for key, value in _steps(graph).items())
    lines += [f"{name}: {graph.model.losses[name].accept}" for name in sorted(graph.losses)]
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def difference(before: Graph, after: Graph) -> Difference:
    """Return what became possible, impossible or differently likely."""
    old, new = _steps(before), _steps(after)
    had, have = set(before.nodes), set(after.nodes)
    return Difference(
        opened=tuple(sorted(new.keys() - old.keys())),
        closed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(key for key in old.keys() & new.keys() if old[key] != new[key])),
        reached=tuple(sorted(_words(atom) for atom in have - had)),
        safe=tuple(sorted(_words(atom) for atom in had - have)),
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


def _words(atom: Atom) -> str:
    return f"{atom[0]}({', '.join(atom[1:])})"
