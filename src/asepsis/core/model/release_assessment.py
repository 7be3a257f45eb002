"""Whether a release document is complete: no complete assessment, no approval, no campaign."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.model.release import Pathway, ReleaseDocument
from asepsis.core.model.release_pathways import PATHWAYS, Leads, Question

RATIONALE_CHARS_MIN: Final = 10
SHOWN_MAX: Final = 5
"""Findings in one message; `findings` has them all."""


class Conclusion(StrEnum):
    """Where the manufacturer's answers lead."""

    NO_SUBMISSION = "no new submission"
    SUBMISSION = "covered by a submission"
    SUBMISSION_MISSING = "a submission is needed first"
    NOT_COVERED = "not covered by this pathway"
    DECIDED = "decided by the manufacturer"


def conclude(pathway: Pathway) -> Conclusion:
    """Return where the answers to a pathway's questions lead; unanswered counts as worst."""
    if pathway.name == "other":
        return Conclusion.DECIDED if pathway.decision else Conclusion.NOT_COVERED
    said = {answer.question: answer.answer for answer in pathway.answers}
    submitted = Conclusion.SUBMISSION if pathway.submission else Conclusion.SUBMISSION_MISSING
    for question in PATHWAYS[pathway.name].questions:
        answer = said.get(question.id, _worst(question))
        if question.yes is Leads.REQUIRED and not answer:
            return Conclusion.NOT_COVERED
        if answer and question.yes is Leads.ENDS:
            return Conclusion.NO_SUBMISSION
        if answer and question.yes is Leads.SUBMIT:
            return submitted
    # A plan covers nothing without the number of the authorisation that holds it.
    return submitted if pathway.name == "pccp" else Conclusion.NO_SUBMISSION


def findings(document: ReleaseDocument) -> tuple[str, ...]:
    """Return everything that keeps a document from being complete; empty if it is."""
    return (
        *_of_parts(document),
        *_of_self_tests(document),
        *(found for one in document.assessment.pathways for found in _of_pathway(one)),
        *_of_assessment(document),
    )


def check(document: ReleaseDocument) -> None:
    """Check that a document is complete.

    Raises:
        InputError: It is not; says why.
    """
    found = findings(document)
    if found:
        more = f" (and {len(found) - SHOWN_MAX} more)" if len(found) > SHOWN_MAX else ""
        raise InputError(
            "the release document is not complete: " + "; ".join(found[:SHOWN_MAX]) + more,
            hint="`asepsis release check` says everything that lacks",
        )


def _worst(question: Question) -> bool:
    return question.yes is Leads.SUBMIT


def _of_parts(document: ReleaseDocument) -> Iterator[str]:
    names = [one.component for one in document.components]
    if len(set(names)) != len(names):
        yield "two artefacts replace one component"
    for one in document.components:
        if one.floor > one.counter:
            yield f"the floor of {one.component} is above its counter"
        if one.reboot == "device" and "in-use" in document.installing.states:
            yield f"{one.component} starts the device anew, which never happens in use"


def _of_self_tests(document: ReleaseDocument) -> Iterator[str]:
    names = [one.name for one in document.self_tests]
    if len(set(names)) != len(names):
        yield "two self-tests have one name"
    for one in document.self_tests:
        if not one.low <= one.high:
            yield f"self-test {one.name} has no tolerance that anything could pass"


def _of_pathway(pathway: Pathway) -> Iterator[str]:
    table = PATHWAYS[pathway.name]
    wanted = {question.id for question in table.questions}
    said = [answer.question for answer in pathway.answers]
    for missing in sorted(wanted - set(said)):
        yield f"{pathway.name}: question {missing} is not answered"
    for strange in sorted(set(said) - wanted):
        yield f"{pathway.name} has no question {strange}"
    if len(set(said)) != len(said):
        yield f"{pathway.name}: a question is answered twice"
    for answer in pathway.answers:
        if len(answer.rationale.strip()) < RATIONALE_CHARS_MIN:
            yield f"{pathway.name}: the answer to {answer.question} has no rationale"
    conclusion = conclude(pathway)
    if conclusion is Conclusion.SUBMISSION_MISSING:
        yield f"{pathway.name}: the answers demand the {table.number}"
    if conclusion is Conclusion.NOT_COVERED:
        needs = "the signed decision" if pathway.name == "other" else "another pathway"
        yield f"{pathway.name} does not cover the change: it needs {needs}"


def _of_assessment(document: ReleaseDocument) -> Iterator[str]:
    said = document.assessment
    names = [one.name for one in said.pathways if one.name != "other"]
    if len(set(names)) != len(names):
        yield "a pathway stands twice"
    if said.schedule == "out-of-cycle" and len(said.schedule_reason.strip()) < RATIONALE_CHARS_MIN:
        yield "an out-of-cycle release says why"
    if said.field_action.kind in ("reported", "fsca") and not said.field_action.number:
        yield f"a field action that is {said.field_action.kind} has a number"
