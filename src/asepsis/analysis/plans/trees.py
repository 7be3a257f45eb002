"""Attack-defence trees: what each defence budget makes an attacker pay at least. Exact, pure.

Actions may stand in several places of a tree; they are one action and are paid once. The decision
diagram tests defences before attacks: below the defences an attacker's cheapest way is a shortest
path, above them a Pareto front is a merge.

Source: Kordy et al., "Attack-defense trees" (2014); Copae, Soltani, Lopuhaä-Zwakenberg, "Attack-
defense trees with offensive and defensive attributes" (arXiv 2504.12748, 2025).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

from asepsis.analysis.plans.diagrams import FALSE, TRUE, Diagrams
from asepsis.core.errors import InputError, LimitExceeded

DEPTH_MAX: Final = 100
POINTS_MAX: Final = 10_000


class Gate(StrEnum):
    """How the parts of a node make it true."""

    ALL = "and"
    ANY = "or"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A node: an action, or a gate over parts; and what the other side does against it.

    Attributes:
        name: Of an action its identity; elsewhere for people.
        cost: Of an action, 0 or more.
        gate: None for an action.
        parts: Of the same side; at least one for a gate.
        counters: Of the other side; any of them undoes the node.
    """

    name: str
    cost: float = 0.0
    gate: Gate | None = None
    parts: tuple["Tree", ...] = ()
    counters: tuple["Tree", ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """What a defender pays, and what an attacker must pay at least then; inf if he cannot."""

    defence: float
    attack: float


def front(root: Tree) -> list[Point]:
    """Return the Pareto front, from no defence up; the root is the attacker's goal.

    Raises:
        InputError: An action on both sides, with two costs, or a gate without parts.
        LimitExceeded: Too deep or too large.
    """
    costs: dict[str, tuple[bool, float]] = {}
    order: dict[str, None] = {}
    for node, defence, depth in _actions(root, False, 0):
        if depth > DEPTH_MAX:
            raise LimitExceeded(f"a tree deeper than {DEPTH_MAX}")
        if costs.setdefault(node.name, (defence, node.cost)) != (defence, node.cost):
            raise InputError(f"action {node.name!r} has two costs or two sides")
        order[node.name] = None
    names = sorted(order, key=lambda name: not costs[name][0])  # Stable: defences first.
    diagrams = Diagrams(len(names))
    function = _function(root, diagrams, {name: i for i, name in enumerate(names)})
    return _front(diagrams, function, [costs[name] for name in names])


def _actions(node: Tree, defence: bool, depth: int) -> Iterator[tuple[Tree, bool, int]]:  # noqa: FBT001
    if depth > DEPTH_MAX:
        raise LimitExceeded(f"a tree deeper than {DEPTH_MAX}")
    if node.gate is None:
        yield node, defence, depth
    elif not node.parts:
        raise InputError(f"{node.name!r} is a gate without parts")
    for part in node.parts:
        yield from _actions(part, defence, depth + 1)
    for counter in node.counters:
        yield from _actions(counter, not defence, depth + 1)


def _function(node: Tree, diagrams: Diagrams, index: dict[str, int]) -> int:
    if node.gate is None:
        value = diagrams.variable(index[node.name])
    elif node.gate is Gate.ALL:
        value = TRUE
        for part in node.parts:
            value = diagrams.both(value, _function(part, diagrams, index))
    else:
        value = FALSE
        for part in node.parts:
            value = diagrams.either(value, _function(part, diagrams, index))
    for counter in node.counters:
        undone = diagrams.negation(_function(counter, diagrams, index))
        value = diagrams.both(value, undone)
    return value


def _front(diagrams: Diagrams, root: int, costs: list[tuple[bool, float]]) -> list[Point]:
    """Return the front of a function: attack variables take the cheaper branch, defences both."""
    known: dict[int, list[Point]] = {FALSE: [Point(0.0, inf)], TRUE: [Point(0.0, 0.0)]}

    def visit(function: int) -> list[Point]:
        if function not in known:
            variable, low, high = diagrams.parts(function)
            defence, cost = costs[variable]
            without, taken = visit(low), visit(high)
            if defence:
                dearer = [Point(p.defence + cost, p.attack) for p in taken]
                known[function] = _undominated([*without, *dearer])
            else:
                known[function] = [Point(0.0, min(without[0].attack, taken[0].attack + cost))]
        return known[function]

    return visit(root)


def _undominated(points: list[Point]) -> list[Point]:
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.defence, -p.attack)):
        if not kept or point.attack > kept[-1].attack:
            kept.append(point)
    if len(kept) > POINTS_MAX:
        raise LimitExceeded(f"over {POINTS_MAX} points on the front")
    return kept
