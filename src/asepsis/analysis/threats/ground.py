"""Puts the things of a model into the rules: every step that an attacker could take. Pure.

Conditions on the model are joined over its facts; what an attacker has is then followed from where
attackers begin, and what can never be reached is left out. Cycles stay.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.analysis.threats.language import Atom, Rule, is_variable
from asepsis.core.errors import LimitExceeded

INSTANCES_MAX: Final = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A rule with things in it.

    Attributes:
        rule: Which.
        things: Variable -> thing.
        after: What the attacker must have.
        then: What he gains.
    """

    rule: Rule
    things: Mapping[str, str]
    after: tuple[Atom, ...]
    then: Atom


class _Facts:
    """Facts by name, and by name, position and argument."""

    def __init__(self, facts: Iterable[Atom]) -> None:
        self.all = frozenset(facts)
        self._by: dict[tuple[str, int, str], list[Atom]] = {}
        self._named: dict[str, list[Atom]] = {}
        for atom in sorted(self.all):
            self._named.setdefault(atom[0], []).append(atom)
            for place, word in enumerate(atom[1:], 1):
                self._by.setdefault((atom[0], place, word), []).append(atom)

    def matching(self, pattern: Atom, things: Mapping[str, str]) -> Sequence[Atom]:
        """Return the facts that may fit: those of the rarest argument that is known."""
        best: Sequence[Atom] = self._named.get(pattern[0], ())
        for place, word in enumerate(pattern[1:], 1):
            known = things.get(word) if is_variable(word) else word
            if known is not None:
                found = self._by.get((pattern[0], place, known), ())
                if len(found) < len(best):
                    best = found
        return best


def instances(
    rules: Sequence[Rule], facts: Iterable[Atom], *, have: frozenset[Atom] = frozenset()
) -> list[Instance]:
    """Return every step that an attacker can come to, in the order of the rules.

    Args:
        rules: What is possible at all.
        facts: What the model says.
        have: What the attacker has from the beginning, beside his attempts.

    Raises:
        LimitExceeded: Over two million.
    """
    known = _Facts(facts)
    found: list[Instance] = []
    seen: set[tuple[str, frozenset[str], tuple[Atom, ...], Atom]] = set()
    for rule in rules:
        for things in _joined(rule, known):
            made = Instance(
                rule=rule,
                things=things,
                after=tuple(filled(atom, things) for atom in rule.after),
                then=filled(rule.then, things),
            )
            key = (rule.id, frozenset(things.values()), made.after, made.then)
            if key not in seen and made.then not in made.after:
                seen.add(key)
                found.append(made)
            if len(found) > INSTANCES_MAX:
                raise LimitExceeded(f"over {INSTANCES_MAX} steps")
    return _reachable(found, known.all, have)


def filled(atom: Atom, things: Mapping[str, str]) -> Atom:
    """Return a pattern with things in place of its variables."""
    return (atom[0], *(things.get(word, word) for word in atom[1:]))


def _joined(rule: Rule, facts: _Facts) -> Iterator[dict[str, str]]:
    """Yield the things that fulfil all conditions of a rule on the model."""
    stack: list[tuple[int, dict[str, str]]] = [(0, {})]
    while stack:
        place, things = stack.pop()
        if place == len(rule.when):
            if _allowed(rule, things, facts):
                yield things
            continue
        pattern = rule.when[place]
        for fact in reversed(facts.matching(pattern, things)):
            after = _match(pattern, fact, things)
            if after is not None:
                stack.append((place + 1, after))


def _match(pattern: Atom, fact: Atom, things: dict[str, str]) -> dict[str, str] | None:
    if len(pattern) != len(fact):
        return None
    found = things
    for word, value in zip(pattern[1:], fact[1:], strict=True):
        if not is_variable(word):
            if word != value:
                return None
        elif found.get(word, value) != value:
            return None
        elif word not in found:
            found = {**found, word: value}
    return found


def _allowed(rule: Rule, things: dict[str, str], facts: _Facts) -> bool:
    if any(things[left] == things[right] for left, right in rule.unequal):
        return False
    return not any(
        _match(pattern, fact, things) is not None
        for pattern in rule.unless
        for fact in facts.matching(pattern, things)
    )


def _reachable(
    found: Sequence[Instance], facts: frozenset[Atom], given: frozenset[Atom]
) -> list[Instance]:
    """Return those whose premises can be had; an attack begins with every attacker there is."""
    have = given | {("attacks", fact[1]) for fact in facts if fact[0] == "attackers"}
    reached: set[Atom] = set(have)
    missing = [len(set(made.after)) for made in found]
    uses: dict[Atom, list[int]] = {}
    for index, made in enumerate(found):
        for atom in set(made.after):
            uses.setdefault(atom, []).append(index)
    kept = {index for index, count in enumerate(missing) if not count}
    open_ = sorted(have | {found[index].then for index in kept})
    reached |= set(open_)
    while open_:
        for index in uses.get(open_.pop(), ()):
            missing[index] -= 1
            if not missing[index]:
                kept.add(index)
                if found[index].then not in reached:
                    reached.add(found[index].then)
                    open_.append(found[index].then)
    return [found[index] for index in sorted(kept)]
