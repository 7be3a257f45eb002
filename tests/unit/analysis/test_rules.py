"""Every shipped rule fires on what it names and on nothing less; Datalog by others agrees."""

import re
from itertools import product

import clingo
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asepsis.analysis.threats.facts import vocabulary
from asepsis.analysis.threats.ground import filled, instances
from asepsis.analysis.threats.language import Atom, Rule, is_variable
from asepsis.analysis.threats.library import read_rules, shipped, together
from asepsis.core.errors import InputError

RULES = shipped()
BY_ID = {rule.id: rule for rule in RULES}
TOPICS = {
    "update medium": "UPD-MEDIUM",
    "update server": "UPD-SERVER",
    "unsigned update": "UPD-UNSIGNED",
    "shared keys": "AUTH-SHARED",
    "clear-text HL7": "FLOW-SEES-HL7",
    "clear-text DICOM": "FLOW-SEES-DICOM",
    "missing authentication": "AUTH-NONE",
    "vendor remote service": "REM-SHARED",
    "unsupported system": "OLD-SYSTEM",
    "alarm loss": "HARM-ALARM",
    "setting change": "HARM-SETTING",
    "forged reports": "FLOW-FORGES-HL7",
    "multi-patient harm": "MULTI-KEY",
    "ransomware spread": "OWN-STOPS",
    "PHI theft": "STEAL-STORED",
    "flooding": "NET-FLOOD",
    "physical keyboard": "MED-KEYBOARD",
    "insider": "INS-USES",
    "infected service notebook": "NET-NOTEBOOK",
    "supply chain": "START-SUPPLIER",
}
OWN = """
[[rules]]
id = "OWN-1"
title = "t"
says = "through {S} he sets {D}"
stride = "T"
cwe = [306]
attack = ["T0836"]
mds2 = "NAUT"
difficulty = "easy"
reason = "r"
when = ["services.device(S, D)"]
after = ["talks(S)"]
then = "sets(D)"
"""


def things(rule: Rule) -> dict[str, str]:
    atoms = (*rule.when, *rule.unless)
    return {w: w.lower() for atom in atoms for w in atom[1:] if is_variable(w)}


@pytest.mark.parametrize("name", list(BY_ID))
def test_a_rule_needs_all_that_it_names_and_nothing_that_it_excludes(name: str) -> None:
    rule = BY_ID[name]
    inside = things(rule)
    facts = [filled(atom, inside) for atom in rule.when]
    have = frozenset(filled(atom, inside) for atom in rule.after)
    fired = instances([rule], facts, have=have)
    assert filled(rule.then, inside) in {made.then for made in fired}
    assert all(made.things.keys() <= inside.keys() for made in fired)
    for index in range(len(facts)):
        if len(set(facts)) == len(facts):
            assert not instances([rule], facts[:index] + facts[index + 1 :], have=have)
    for atom in rule.unless:
        assert not instances([rule], [*facts, filled(atom, inside)], have=have)
    for atom in have - {("attacks", "a")}:
        assert not instances([rule], facts, have=have - {atom})


def test_there_are_rules_for_every_topic_and_each_is_tied_to_the_catalogues() -> None:
    assert len(RULES) >= 60
    assert TOPICS.keys()
    assert set(TOPICS.values()) <= BY_ID.keys()
    for rule in RULES:
        text = rule.text
        assert text.cwe
        assert text.attack
        assert text.reason
        assert text.title
        assert all(re.fullmatch(r"T\d{4}", technique) for technique in text.attack)
        assert re.fullmatch(r"[A-Z]{4}", text.mds2)


def test_own_rules_stand_beside_ours() -> None:
    own = read_rules(OWN.encode(), name="own.toml")
    assert {rule.id for rule in together(own)} == BY_ID.keys() | {"OWN-1"}
    with pytest.raises(InputError, match="two rules"):
        together([*own, *own])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"sets(D)"', '"rules(D)"', "nothing is called 'rules'"),
        ('"sets(D)"', '"sets(E)"', "E is bound by nothing"),
        ("services.device(S, D)", "services.colour(S, D)", "services.colour"),
        ("he sets {D}", "he sets {Q}", "names Q"),
        ('"easy"', '"simple"', "difficulty"),
        ("stride =", "strides =", "strides"),
        ("[[rules]]", "[rules]", r"\[\[rules\]\]"),
        ('when = ["services.device(S, D)"]', 'when = ["S != d"]', "two variables"),
        ("cwe = [306]", "cwe = [", "own.toml"),
    ],
    ids=[
        "capability",
        "unbound",
        "fact",
        "sentence",
        "difficulty",
        "key",
        "table",
        "unequal",
        "toml",
    ],
)
def test_a_bad_rule_says_what_is_wrong(old: str, new: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_rules(OWN.replace(old, new).encode(), name="own.toml")


def datalog(rules: list[Rule], facts: set[Atom], have: set[Atom]) -> set[Atom]:
    """Return what follows, found by clingo, which shares nothing with our engine."""

    def words(kind: str, atom: Atom) -> str:
        inner = (w if is_variable(w) else f'"{w}"' for w in atom[1:])
        return f'{kind}("{atom[0]}", {", ".join(inner)})'

    def hidden(atom: Atom, rule: Rule, number: int) -> tuple[str, str]:
        """Return a literal for a negated fact whose other variables are anybody, and its rule."""
        bound = {w for other in rule.when for w in other[1:]}
        kept = [w for w in atom[1:] if is_variable(w) and w in bound]
        head = f'x("{rule.id}", {number}{"".join(", " + w for w in kept)})'
        return head, f"{head} :- {words('f', atom)}."

    lines = [words("f", atom) + "." for atom in facts]
    lines += [words("h", atom) + "." for atom in have]
    for rule in rules:
        body = [words("f", atom) for atom in rule.when] + [words("h", a) for a in rule.after]
        for number, atom in enumerate(rule.unless):
            head, definition = hidden(atom, rule, number)
            body.append(f"not {head}")
            lines.append(definition)
        body += [f"{left} != {right}" for left, right in rule.unequal]
        lines.append(f"{words('h', rule.then)} :- {', '.join(body)}.")
    control = clingo.Control(["--warn=none"])
    control.add("base", [], "\n".join(lines))
    control.ground([("base", [])])
    found: set[Atom] = set()
    with control.solve(yield_=True) as handle:
        for model in handle:
            found = {
                tuple(a.string for a in symbol.arguments)
                for symbol in model.symbols(atoms=True)
                if symbol.name == "h"
            }
    return found


@st.composite
def fact_sets(draw: st.DrawFn) -> set[Atom]:
    """Draw facts that rules ask for, over few things, so that rules meet."""
    facts: set[Atom] = {("attackers", "a1")}
    for rule in draw(st.lists(st.sampled_from(RULES), min_size=3, max_size=14)):
        inside = {w: f"{w.lower()}{draw(st.integers(1, 2))}" for w in things(rule)}
        facts |= {filled(atom, inside) for atom in rule.when}
        for atom in rule.unless:
            if draw(st.integers(0, 3)) == 0:
                facts.add(filled(atom, inside))
    return facts


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(facts=fact_sets(), start=st.sets(st.sampled_from(["at", "present", "infects"]), min_size=1))
def test_the_graph_is_that_of_an_independent_datalog(facts: set[Atom], start: set[str]) -> None:
    have = {(name, f"{letter}{n}") for name, letter, n in product(start, "zpmd", (1, 2))}
    ours = {made.then for made in instances(RULES, facts, have=frozenset(have))}
    begun = have | {("attacks", atom[1]) for atom in facts if atom[0] == "attackers"}
    assert ours | begun == datalog(RULES, facts, begun)


def test_every_fact_that_a_rule_reads_is_one_that_a_model_can_have() -> None:
    known = vocabulary()
    read = {(a[0], len(a) - 1) for rule in RULES for a in (*rule.when, *rule.unless)}
    assert read <= set(known.items())
