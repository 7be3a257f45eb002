"""What follows from a model, found by clingo from the rules' text: shares nothing with our engine.

Many models are asked at once, each a world of its own, because starting clingo costs most.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import clingo

from asepsis.analysis.threats.language import Atom, Rule, is_variable

Document: TypeAlias = Mapping[str, Any]
"""A model as plain values."""
Step: TypeAlias = tuple[str, frozenset[str], tuple[Atom, ...], Atom]
SILENT = {"text", "evidence", "money", "value"}
SAID = (
    "zones", "places", "roles", "devices", "services", "flows", "updates", "media", "remotes",
    "credentials", "functions", "assets", "attackers",
)  # fmt: skip


def what_follows(rules: Sequence[Rule], worlds: Sequence[Document]) -> list[frozenset[Step]]:
    """Return, for each model, every step that an attacker can come to."""
    control = clingo.Control(["--warn=none"])
    lines = [line for number, rule in enumerate(rules) for line in _program(number, rule)]
    lines.append('h(W, "attacks", A) :- f(W, "attackers", A).')
    for world, document in enumerate(worlds):
        lines += [f"{_words('f', atom, str(world))}." for atom in _facts(document)]
    control.add("base", [], "\n".join(lines))
    control.ground([("base", [])])
    found: list[set[Step]] = [
        {("attempt", frozenset((name,)), (), ("attacks", name)) for name in document["attackers"]}
        for document in worlds
    ]
    names = [_variables(rule) for rule in rules]
    for number, rule in enumerate(rules):
        arity = len(names[number]) + 1
        for atom in control.symbolic_atoms.by_signature(f"s{number}", arity):
            first, *rest = atom.symbol.arguments
            things = dict(zip(names[number], (a.string for a in rest), strict=True))
            step = _step(rule, things)
            if step[3] not in step[2]:
                found[first.number].add(step)
    return [frozenset(steps) for steps in found]


def _facts(document: Document) -> Iterator[Atom]:
    """Yield what the reference says is a fact, from plain values."""
    for section in SAID:
        for name, thing in document[section].items():
            yield (section, name)
            for field, value in thing.items():
                if field in SILENT or value is None or value is False:
                    continue
                fact = f"{section}.{field}"
                if value is True or (isinstance(value, int | float) and value > 1):
                    yield (fact, name)
                elif isinstance(value, str):
                    yield (fact, name, value)
                elif not isinstance(value, int | float):
                    yield from ((fact, name, item) for item in value)


def _program(number: int, rule: Rule) -> Iterator[str]:
    names = _variables(rule)
    body = [_words("f", atom, "W") for atom in rule.when]
    body += [_words("h", atom, "W") for atom in rule.after]
    for index, atom in enumerate(rule.unless):
        kept = ["W", *(w for w in atom[1:] if w in names)]
        head = f"x{number}_{index}({', '.join(kept)})"
        yield f"{head} :- {_words('f', atom, 'W')}."
        body.append(f"not {head}")
    body += [f"{left} != {right}" for left, right in rule.unequal]
    head = f"s{number}({', '.join(['W', *names])})"
    yield f"{head} :- {', '.join(body)}."
    yield f"{_words('h', rule.then, 'W')} :- {head}."


def _variables(rule: Rule) -> list[str]:
    return sorted({w for atom in rule.when for w in atom[1:] if is_variable(w)})


def _words(kind: str, atom: Atom, world: str) -> str:
    inner = (w if is_variable(w) else f'"{w}"' for w in atom[1:])
    return f'{kind}({world}, "{atom[0]}", {", ".join(inner)})'


def _step(rule: Rule, things: Mapping[str, str]) -> Step:
    def put(atom: Atom) -> Atom:
        return (atom[0], *(things.get(word, word) for word in atom[1:]))

    after = tuple(put(atom) for atom in rule.after)
    return rule.id, frozenset(things.values()), after, put(rule.then)
