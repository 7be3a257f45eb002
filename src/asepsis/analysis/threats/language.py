"""The language of rules: what must hold in the model, what an attacker must have, what he gains.

A rule is a table of texts. `when` and `unless` are patterns over facts of the model, such as
`services.auth(S, none)`: words that begin with a capital are variables. `after` and `then` are
things an attacker can have, such as `runs(D, C)`. A fact that is asked for under `unless` must not
be there, whatever stands for variables that occur nowhere else. `X != Y` tells two apart.

Source: Ceri, Gottlob, Tanca, "What you always wanted to know about Datalog" (1989): rules are
range-restricted, negation is over facts of the model only, so that there is one least model.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import msgspec

from asepsis.core.errors import InputError, LimitExceeded

Atom: TypeAlias = tuple[str, ...]
"""Name, then arguments. An argument that begins with a capital is a variable."""
RULES_MAX: Final = 1_000
ATOMS_MAX: Final = 16
CAPABILITIES: Final[Mapping[str, int]] = {
    "attacks": 1,
    "at": 1,
    "present": 1,
    "acts": 1,
    "talks": 1,
    "enters": 1,
    "breaks": 1,
    "runs": 2,
    "owns": 1,
    "sets": 1,
    "screen": 1,
    "holds": 1,
    "infects": 1,
    "updates": 1,
    "sees": 1,
    "alters": 1,
    "silences": 1,
    "stops": 1,
    "reads": 1,
    "harms": 2,
    "steals": 1,
}
"""What an attacker can have -> how many arguments it has."""
Difficulty: TypeAlias = Literal["trivial", "easy", "moderate", "hard", "very-hard"]
CHANCES: Final[Mapping[str, float]] = {
    "trivial": 0.9,
    "easy": 0.6,
    "moderate": 0.3,
    "hard": 0.1,
    "very-hard": 0.03,
}
"""Default probability of a difficulty. The order is the fact (exploitability, AAMI SW96); the
figures are ours, and a model can say better ones for each rule."""
_ATOM: Final = re.compile(r"^([a-z_]+(?:\.[a-z_]+)?)\(([^()]*)\)$")
_WORD: Final = re.compile(r"^(?:[A-Z][A-Za-z0-9]*|[a-z0-9][a-z0-9_-]*)$")


class RuleText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule as it is written."""

    id: str
    title: str
    says: str
    stride: Literal["S", "T", "R", "I", "D", "E"]
    cwe: tuple[int, ...]
    attack: tuple[str, ...]
    mds2: str
    difficulty: Difficulty
    reason: str
    tags: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    then: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule that was read.

    Attributes:
        text: As written.
        when: Facts that must be there.
        unless: Facts that must not.
        unequal: Variables that must differ.
        after: What the attacker must have.
        then: What he gains.
    """

    text: RuleText
    when: tuple[Atom, ...]
    unless: tuple[Atom, ...]
    unequal: tuple[tuple[str, str], ...]
    after: tuple[Atom, ...]
    then: Atom

    @property
    def id(self) -> str:
        """The rule's id, for ever."""
        return self.text.id

    @property
    def tags(self) -> frozenset[str]:
        """By what a countermeasure may name its steps."""
        return frozenset({self.text.id, *self.text.tags})


def is_variable(word: str) -> bool:
    """Return whether a word stands for any thing."""
    return word[:1].isupper()


def rule(document: Mapping[str, Any], *, facts: Mapping[str, int], where: str) -> Rule:
    """Return one rule.

    Args:
        document: Its table.
        facts: Fact -> number of arguments, that models can have.
        where: File, for people.

    Raises:
        InputError: Not a rule; says why.
    """
    try:
        text = msgspec.convert(document, RuleText)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {document.get('id', 'a rule')}: {error}") from error
    here = f"{where}: {text.id}"
    patterns = [line for line in text.when if "!=" not in line]
    found = Rule(
        text=text,
        when=tuple(_atom(line, facts, here) for line in patterns),
        unless=tuple(_atom(line, facts, here) for line in text.unless),
        unequal=tuple(_unequal(line, here) for line in text.when if "!=" in line),
        after=tuple(_atom(line, CAPABILITIES, here) for line in text.after),
        then=_atom(text.then, CAPABILITIES, here),
    )
    for problem in _problems(found):
        raise InputError(f"{here}: {problem}")
    return found


def _atom(line: str, known: Mapping[str, int], where: str) -> Atom:
    match = _ATOM.match(line.strip())
    if not match:
        raise InputError(f"{where}: {line!r} is no pattern such as name(X, y)")
    words = tuple(word.strip() for word in match[2].split(","))
    if match[1] not in known or len(words) != known[match[1]]:
        raise InputError(f"{where}: nothing is called {match[1]!r} with {len(words)} arguments")
    if not all(_WORD.match(word) for word in words):
        raise InputError(f"{where}: {line!r}: an argument is a word")
    return (match[1], *words)


def _unequal(line: str, where: str) -> tuple[str, str]:
    left, _, right = (word.strip() for word in line.partition("!="))
    if not (is_variable(left) and is_variable(right)):
        raise InputError(f"{where}: {line!r} compares two variables")
    return left, right


def _problems(found: Rule) -> Iterator[str]:
    bound = {word for atom in found.when for word in atom[1:] if is_variable(word)}
    used = {word for atom in (*found.after, found.then) for word in atom[1:] if is_variable(word)}
    used |= {word for pair in found.unequal for word in pair}
    for word in sorted(used - bound):
        yield f"{word} is bound by nothing under `when`"
    for word in re.findall(r"\{(\w+)\}", found.text.says):
        if word not in bound:
            yield f"the sentence names {word}, which is bound by nothing"
    if not found.when:
        yield "`when` is empty"
    if len(found.when) + len(found.after) + len(found.unless) > ATOMS_MAX:
        raise LimitExceeded(f"{found.id}: over {ATOMS_MAX} patterns")
