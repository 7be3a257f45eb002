"""Says in words what the graph knows: paths as sentences, each with its evidence. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from asepsis.analysis.plans.expected import Bracket
from asepsis.analysis.plans.problem import Plan
from asepsis.analysis.plans.proofs import Proof
from asepsis.analysis.threats.compiled import Graph, Objective, amount
from asepsis.analysis.threats.language import CHANCES
from asepsis.analysis.threats.model import SECTIONS, Loss, Model

ORDINALS: Final = tuple(CHANCES)
"""Exploitability, from trivial to very hard. A path is as hard as its hardest step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One step of a path.

    Attributes:
        text: Such as "from office he reaches bedside".
        rule: Id; "" for an attempt.
        probability: Under the plan.
        difficulty: Ordinal; "" for an attempt.
        reason: Why that difficulty.
        evidence: Of the things in it, as the model names it.
        stride: Letter.
        cwe: Numbers.
        attack: ATT&CK techniques.
        mds2: Section of the manufacturer disclosure statement (ANSI/NEMA HN 1-2019).
        things: Ids of what is in it.
        after: Which sentences of the path it needs, by their places from 0.
        countermeasures: All that make it less likely, taken or not.
    """

    text: str
    rule: str = ""
    probability: float = 1.0
    difficulty: str = ""
    reason: str = ""
    evidence: tuple[str, ...] = ()
    stride: str = ""
    cwe: tuple[int, ...] = ()
    attack: tuple[str, ...] = ()
    mds2: str = ""
    things: tuple[str, ...] = ()
    after: tuple[int, ...] = ()
    countermeasures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The best way to a loss.

    Attributes:
        loss: Id.
        text: What must not happen.
        severity: ISO 14971.
        exploitability: Hardest step of the best path.
        probability: A year, of the best path.
        at_most: No path is likelier; above `probability` only where that is not proven.
        expected: Of any path, a year; a bracket where it is not exact. None if not asked.
        columns: Objective -> expected amount a year on the best path; never added up.
        sentences: In the order in which they happen.
    """

    loss: str
    text: str
    severity: str
    exploitability: str
    probability: float
    at_most: float
    expected: Bracket | None
    columns: Mapping[str, float]
    sentences: tuple[Sentence, ...]

    def to_document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "loss": self.loss,
            "text": self.text,
            "severity": self.severity,
            "exploitability": self.exploitability,
            "best_path": {"probability": self.probability, "at_most": self.at_most},
            "expected": None
            if self.expected is None
            else {"low": self.expected.low, "high": self.expected.high},
            "a_year": dict(self.columns),
            "steps": [
                {name: getattr(step, name) for name in Sentence.__slots__}
                for step in self.sentences
            ],
        }


def path(
    graph: Graph, loss: str, proof: Proof, *, plan: Plan, expected: Bracket | None = None
) -> Path:
    """Return a proof in words."""
    model = graph.model
    sentences = _sentences(graph, proof, plan)
    said = model.losses[loss]
    return Path(
        loss=loss,
        text=said.text or said.harm,
        severity=said.severity,
        exploitability=_hardest(sentences),
        probability=float(proof.probability),
        at_most=proof.at_most,
        expected=expected,
        columns=columns(said, proof.probability),
        sentences=sentences,
    )


def columns(loss: Loss, probability: Fraction) -> dict[str, float]:
    """Return what a loss counts in each objective, times its probability."""
    return {o.value: float(amount(loss, o) * probability) for o in Objective}


def name_of(model: Model, thing: str) -> str:
    """Return a thing in words: its text with its id, or the id alone."""
    for section in SECTIONS:
        found = getattr(model, section).get(thing)
        if found is not None and found.text:
            return f"{found.text} [{thing}]"
    return thing


def _sentences(graph: Graph, proof: Proof, plan: Plan) -> tuple[Sentence, ...]:
    shown = [index for index in proof.steps if graph.steps[index].name != "damage"]
    gained = {graph.steps[index].target: place for place, index in enumerate(shown)}
    return tuple(
        _sentence(
            graph,
            index,
            plan,
            after=tuple(gained[node] for node in graph.steps[index].premises if node in gained),
        )
        for index in shown
    )


def _sentence(graph: Graph, index: int, plan: Plan, *, after: tuple[int, ...]) -> Sentence:
    instance, step = graph.instances[index], graph.steps[index]
    if instance is None:
        attacker = graph.nodes[step.target][1]
        return Sentence(
            text=f"{name_of(graph.model, attacker)} tries ({float(step.probability):g} a year)",
            probability=float(step.probability),
            evidence=_evidence(graph.model, [attacker]),
            things=(attacker,),
        )
    text = instance.rule.text
    words = re.sub(r"\{(\w+)\}", lambda m: name_of(graph.model, instance.things[m[1]]), text.says)
    chance = step.probability
    for name, level in plan.items():
        if name in step.effects:
            chance *= step.effects[name][level - 1]
    return Sentence(
        text=words,
        rule=text.id,
        probability=float(chance),
        difficulty=text.difficulty,
        reason=text.reason,
        evidence=_evidence(graph.model, sorted(set(instance.things.values()))),
        stride=text.stride,
        cwe=text.cwe,
        attack=text.attack,
        mds2=text.mds2,
        things=tuple(sorted(set(instance.things.values()))),
        after=after,
        countermeasures=tuple(sorted(step.effects)),
    )


def _evidence(model: Model, things: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for thing in things:
        for section in SECTIONS:
            said = getattr(model, section).get(thing)
            for line in said.evidence if said is not None else ():
                found[f"{thing}: {line}"] = None
    return tuple(found)


def _hardest(sentences: Sequence[Sentence]) -> str:
    known = [s.difficulty for s in sentences if s.difficulty]
    return max(known, key=ORDINALS.index) if known else ORDINALS[0]
