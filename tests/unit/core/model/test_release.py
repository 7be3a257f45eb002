"""A release document: complete or refused, and where a manufacturer's answers lead."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.model.release import (
    DOCUMENT_BYTES_MAX,
    Answer,
    FieldAction,
    FileRef,
    Pathway,
    ReleaseDocument,
    read_document,
    write_document,
)
from asepsis.core.model.release_assessment import Conclusion, check, conclude, findings
from asepsis.core.model.release_pathways import PATHWAYS, Leads
from asepsis.core.trust.metadata.fields import Release
from asepsis.tools.testing.releases import ASSESSMENT, document_for

RELEASE = Release(model="m5", component="vitals", version="1.2", counter=2)
WHY = "It was looked at by the safety board."
SCHEMA = Path(__file__).parents[4] / "standard" / "schemas" / "release.json"


def whole(**changed: Any) -> ReleaseDocument:
    return msgspec.structs.replace(document_for(RELEASE, b"artefact").document, **changed)


def answered(name: Any, *yes: str, **more: Any) -> Pathway:
    answers = tuple(
        Answer(question=one.id, answer=one.id in yes, rationale=WHY)
        for one in PATHWAYS[name].questions
    )
    return Pathway(name=name, answers=answers, **more)


def assessed(*pathways: Pathway, **changed: Any) -> ReleaseDocument:
    return whole(
        assessment=msgspec.structs.replace(ASSESSMENT, pathways=pathways, **changed)
        if pathways
        else msgspec.structs.replace(ASSESSMENT, **changed)
    )


def test_what_is_written_is_read() -> None:
    document = whole()
    assert read_document(write_document(document)) == document
    check(document)
    with pytest.raises(LimitExceeded):
        read_document(b" " * (DOCUMENT_BYTES_MAX + 1))


@given(st.binary(max_size=64))
def test_what_is_no_document_is_refused(content: bytes) -> None:
    with pytest.raises(InputError):
        read_document(content)


@pytest.mark.parametrize(
    ("pathway", "conclusion"),
    [
        (answered("510k", "cybersecurity-only", "new-risk"), Conclusion.NO_SUBMISSION),
        (answered("510k"), Conclusion.NO_SUBMISSION),
        (answered("510k", "new-control"), Conclusion.SUBMISSION_MISSING),
        (answered("510k", "new-control", submission="K261234"), Conclusion.SUBMISSION),
        (answered("pma", "affects-safety"), Conclusion.SUBMISSION_MISSING),
        (answered("hde"), Conclusion.NO_SUBMISSION),
        (answered("pccp", "described", "by-protocol"), Conclusion.NOT_COVERED),
        (
            answered("pccp", "described", "by-protocol", "intended-use"),
            Conclusion.SUBMISSION_MISSING,
        ),
        (answered("eu-mdr", "closed-loop", submission="NB 0123"), Conclusion.SUBMISSION),
        (Pathway(name="other"), Conclusion.NOT_COVERED),
        (
            Pathway(
                name="other", decision=FileRef(name="decision.pdf.p7m", sha256="a" * 64, length=9)
            ),
            Conclusion.DECIDED,
        ),
    ],
)
def test_the_answers_lead_somewhere(pathway: Pathway, conclusion: Conclusion) -> None:
    assert conclude(pathway) is conclusion
    fine = conclusion in (Conclusion.NO_SUBMISSION, Conclusion.SUBMISSION, Conclusion.DECIDED)
    assert (findings(assessed(pathway)) == ()) is fine


@pytest.mark.parametrize("name", sorted(PATHWAYS))
def test_an_unanswered_question_counts_as_the_worst_answer(name: Any) -> None:
    conclusion = conclude(Pathway(name=name))
    assert conclusion in (Conclusion.SUBMISSION_MISSING, Conclusion.NOT_COVERED)
    for question in PATHWAYS[name].questions:
        assert question.yes in Leads


def test_what_is_not_complete_is_named() -> None:
    first = whole().components[0]
    test = whole().self_tests[0]
    mute = Pathway(
        name="510k", answers=(Answer(question="new-risk", answer=False, rationale="no"),) * 2
    )
    for document, word in (
        (whole(components=(first, first)), "one component"),
        (whole(components=(msgspec.structs.replace(first, floor=3),)), "above its counter"),
        (whole(self_tests=(test, test)), "one name"),
        (whole(self_tests=(msgspec.structs.replace(test, low=float("nan")),)), "tolerance"),
        (assessed(mute), "answered twice"),
        (assessed(mute), "no rationale"),
        (assessed(mute), "not answered"),
        (assessed(answered("pma"), answered("pma")), "twice"),
        (assessed(schedule="out-of-cycle"), "says why"),
        (assessed(field_action=FieldAction(kind="fsca", rationale=WHY)), "number"),
    ):
        assert any(word in found for found in findings(document)), word
        with pytest.raises(InputError, match="not complete"):
            check(document)


def test_a_device_in_use_is_never_started_anew() -> None:
    document = whole()
    of_device = msgspec.structs.replace(document.components[0], reboot="device")
    states = msgspec.structs.replace(document.installing, states=("in-use",))
    found = findings(whole(components=(of_device,), installing=states))
    assert found == ("vitals starts the device anew, which never happens in use",)


def test_the_schema_is_the_one_of_the_structures() -> None:
    schema = msgspec.json.schema(ReleaseDocument)
    said = json.loads(SCHEMA.read_bytes())
    for added in ("$schema", "$id", "title", "description"):
        said.pop(added)
    assert said == json.loads(json.dumps(schema))
