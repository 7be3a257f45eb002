"""A re-validation is silent when a model only looks different and never when it is different.

What is different is not for our engine to say: clingo says it (`threat_oracle.py`).
"""

import random
from collections import Counter
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
import threat_mutants
import threat_oracle

from asepsis.analysis.threats.compiled import Graph, compile_model
from asepsis.analysis.threats.difference import difference, meaning
from asepsis.analysis.threats.file import read_model
from asepsis.analysis.threats.library import shipped
from asepsis.analysis.threats.model import Model
from asepsis.analysis.threats.reading import read_text

RULES = shipped()
DATA = Path(__file__).parent / "data"
EVERY = (DATA / "every-field.yaml").read_bytes()
HOSPITAL = (files("asepsis.analysis.threats") / "examples" / "hospital.yaml").read_bytes()
READ = sorted({atom[0] for rule in RULES for atom in (*rule.when, *rule.unless)})
"""Every section and every `section.field` that a rule reads."""
REAL = 500
COSMETIC = 500
BATCH = 2 * len(READ)


def graph(raw: bytes) -> Graph:
    return compile_model(read_model(raw, name="m.yaml")[0], RULES)


@cache
def every() -> tuple[Graph, dict[str, Any]]:
    made = graph(EVERY)
    return made, msgspec.to_builtins(made.model)


def changed(seed: int) -> tuple[str, dict[str, Any]] | None:
    """Return the change of a seed: seeds go round over all that rules read."""
    place = READ[seed % len(READ)]
    found = threat_mutants.mutant(every()[1], place, random.Random(seed))
    return None if found is None else (place, found)


def test_the_model_of_the_changes_uses_every_rule_that_its_facts_allow() -> None:
    used = {step.name for step in every()[0].steps}
    assert len(used & {rule.id for rule in RULES}) > 0.7 * len(RULES)


@pytest.mark.slow
def test_no_real_change_is_missed() -> None:
    """Goal: 500 real changes over every field that a rule reads are all told, others are not.

    Input: seeded changes of one field each; clingo says which mean something to an attacker.
    """
    base, document = every()
    real: Counter[str] = Counter()
    seed = 0
    while sum(real.values()) < REAL:
        batch = [made for n in range(seed, seed + BATCH) if (made := changed(n)) is not None]
        seed += BATCH
        first, *others = threat_oracle.what_follows(RULES, [document, *(d for _, d in batch)])
        for (place, said), steps in zip(batch, others, strict=True):
            other = compile_model(msgspec.convert(said, Model), RULES)
            silent = difference(base, other).nothing
            assert silent == (steps == first), place
            if silent:
                assert meaning(base) == meaning(other), place
            real[place] += steps != first
    assert [place for place in READ if not real[place]] == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("patients: 10,", "patients: 11,", "losses.overdose.patients: 10 -> 11"),
        ("catastrophic", "critical", "losses.overdose.severity: catastrophic -> critical"),
        ("money: 4000000 USD}", "money: 4000000 USD, accept: 0.1}", "accept: None -> 0.1"),
        ("once: 10000 USD", "once: 9000 USD", "isolate.levels.1.a_year: 2000 -> 1800"),
        ("years: 5", "years: 10", "isolate.levels.1.a_year: 2000 -> 1000"),
        ("harm_patients: 0.4", "harm_patients: 0.5", "levels.1.harm_patients: 0.4 -> 0.5"),
        ("money: 5000 USD", "money: 6000 USD", "budgets.hospital.money: 5000 -> 6000"),
        ("conflicts: [isolate]", "conflicts: []", "disconnect.conflicts: isolate -> "),
        ("pays: vendor", "pays: hospital", "signed-library.pays: vendor -> hospital"),
        ("levels: [{once: 10", "never: true\n    levels: [{once: 10", "isolate.never"),
        ("factors: [0.02]", "factors: [0.03]", ""),
        ("per_year: 0.5", "per_year: 0.4", ""),
    ],
    ids=[
        "patients", "severity", "accept", "cost", "years", "harm", "budget", "conflict", "payer",
        "never", "factor", "attempts",
    ],
)  # fmt: skip
def test_what_plans_weigh_is_a_difference_too(old: str, new: str, told: str) -> None:
    text = (DATA / "hospira.yaml").read_text("utf-8").replace("currency", "years: 5\ncurrency", 1)
    assert old in text
    before, after = graph(text.encode()), graph(text.replace(old, new, 1).encode())
    found = difference(before, after)
    assert meaning(before) != meaning(after)
    assert [line for line in found.weighed if told and told in line] or found.changed
    assert (found.opened, found.closed) == ((), ())


@pytest.mark.slow
def test_no_alarm_is_raised_by_what_only_looks_different() -> None:
    """Goal: 500 rewritten models (order, style, texts, comments, forms of figures) mean the same.

    Input: seeded, of the published cases and the model above.
    """
    bases = [(DATA / f"{name}.yaml").read_bytes() for name in ("merlin", "hospira")]
    known = [(read_text(raw, name="m").content, graph(raw)) for raw in (*bases, EVERY)]
    texts: set[str] = set()
    for seed in range(COSMETIC):
        content, before = known[2 if seed % 50 == 0 else int(seed % 10 == 1)]
        text = threat_mutants.rewritten(content, random.Random(seed))
        texts.add(text)
        after = graph(text.encode())
        assert difference(before, after).nothing, text
        if seed % 10 == 0:
            assert meaning(before) == meaning(after)
    assert len(texts) == COSMETIC
