"""Certificate, device, patient and clock must agree before a chart has a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.compliance.binding import (
    is_same_patient,
    judge_chart_patient,
    judge_clock,
    judge_identity,
    judge_patient,
)
from asepsis.core.compliance.dicom import ObjectFacts, judge_object
from asepsis.core.compliance.fhir import FhirJudge
from asepsis.core.compliance.profile import BINDING, Profile, read_profile
from asepsis.core.compliance.verdict import Rule, Severity
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.hl7 import Message

JANE = PatientId("4711", "HOSP")
CLAIMED = read_profile(
    b'format = 1\nname = "b"\nversion = 1\ninterface = "hl7v2"\npatient = "claimed"\n'
)
S = 1_000_000_000


def message(*pids: bytes) -> Message:
    head = b"MSH|^~\\&|A|B|C|D|20261122||ORU^R01|1|P|2.6\r"
    return Message.parse(head + b"".join(b"PID|||" + pid + b"\r" for pid in pids))


@pytest.mark.parametrize(
    ("claimed", "same"),
    [
        (PatientId("4711", "HOSP"), True),
        (PatientId("4711", ""), True),
        (PatientId("4711", "OTHER"), False),
        (PatientId("4712", "HOSP"), False),
        (PatientId("04711", "HOSP"), False),
    ],
)
def test_two_identifiers_are_one_patients_only_without_doubt(
    claimed: PatientId, *, same: bool
) -> None:
    assert is_same_patient(claimed, JANE) is same


@pytest.mark.parametrize(
    ("pids", "held"),
    [
        ((), False),
        ((b"",), False),
        ((b"4711^^^HOSP^MR",), False),
        ((b"A1^^^VISIT~4711^^^HOSP^MR",), False),
        ((b"9^^^HOSP",), True),
        ((b"4711^^^HOSP", b"9^^^HOSP"), True),
        ((b"^^^HOSP",), True),
        ((b"x" * 200,), True),
    ],
)
def test_a_message_of_another_patient_is_held_back(pids: tuple[bytes, ...], *, held: bool) -> None:
    found = judge_patient(BINDING, message(*pids), JANE)
    assert bool(found) is held
    assert all(f.severity is Severity.QUARANTINE for f in found)
    assert not judge_patient(BINDING, message(*pids), None)


@pytest.mark.parametrize(
    ("profile", "pids", "held"),
    [
        (BINDING, (b"4711^^^HOSP",), True),
        (CLAIMED, (b"4711^^^HOSP",), False),
        (CLAIMED, (), True),
        (CLAIMED, (b"1^^^HOSP", b"2^^^HOSP"), True),
    ],
)
def test_without_an_association_a_chart_needs_a_claim_that_somebody_allowed(
    profile: Profile, pids: tuple[bytes, ...], *, held: bool
) -> None:
    assert bool(judge_chart_patient(profile, message(*pids), None)) is held
    assert judge_chart_patient(profile, None, None)
    assert not judge_chart_patient(profile, None, JANE)
    assert judge_chart_patient(profile, message(b"9^^^HOSP"), JANE)


@pytest.mark.parametrize(
    ("off_s", "certainty", "reason"),
    [
        (0, Certainty.OFFSET, ""),
        (9, Certainty.ZONE, ""),
        (-9, Certainty.OFFSET, ""),
        (3_600, Certainty.OFFSET, "3600 s behind"),
        (-60, Certainty.OFFSET, "60 s ahead"),
        (0, Certainty.UNREADABLE, "unreadable"),
        (0, Certainty.COARSE, "coarse"),
    ],
)
def test_a_clock_that_is_off_is_said_with_how_much(
    off_s: int, certainty: Certainty, reason: str
) -> None:
    now_ns = 1_800_000_000 * S
    found = judge_clock(
        BINDING,
        said_ns=now_ns - off_s * S,
        later_by_ns=0,
        certainty=certainty,
        arrived_at_ns=now_ns,
    )
    assert bool(found) is bool(reason)
    assert not found or reason in found[0].reason


def test_in_the_repeated_hour_either_instant_will_do() -> None:
    now_ns = 1_800_000_000 * S
    assert not judge_clock(
        BINDING,
        said_ns=now_ns - 3_600 * S,
        later_by_ns=3_600 * S,
        certainty=Certainty.AMBIGUOUS,
        arrived_at_ns=now_ns,
    )


def test_content_of_a_device_that_the_sender_may_not_speak_for_is_refused() -> None:
    own = judge_identity(BINDING, certified="a", claimed=["a", "b"], spoken_for=frozenset("b"))
    foreign = judge_identity(BINDING, certified="a", claimed=["c"], spoken_for=frozenset("b"))
    assert not own
    assert foreign[0].severity is Severity.BLOCK


IMAGES = read_profile(
    b'format = 1\nname = "ct"\nversion = 1\ninterface = "dicom"\nbytes_max = 10000\n'
    b'[images]\nsop_classes = ["1.2.840.10008.5.1.4.1.1.2"]\n'
    b'transfer_syntaxes = ["1.2.840.10008.1.2.1"]\n[[required]]\nat = "PatientID"\n'
)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, None),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.7"}, Rule.SOP_CLASS),
        ({"transfer_syntax": "1.2.840.10008.1.2.2"}, Rule.TRANSFER_SYNTAX),
        ({"present": frozenset()}, Rule.REQUIRED),
        ({"header_bytes": 10_001}, Rule.SIZE),
    ],
)
def test_an_image_is_judged_by_its_header(change: dict[str, object], rule: Rule | None) -> None:
    facts = {
        "sop_class": "1.2.840.10008.5.1.4.1.1.2",
        "transfer_syntax": "1.2.840.10008.1.2.1",
        "present": frozenset({"PatientID"}),
        "header_bytes": 2_000,
    }
    verdict = judge_object(IMAGES, ObjectFacts(**{**facts, **change}))
    assert [f.rule for f in verdict.findings] == ([rule] if rule else [])


FHIR = read_profile(
    b'format = 1\nname = "f"\nversion = 1\ninterface = "fhir"\ntypes = ["Observation"]\n'
    b'[[required]]\nat = "Observation.device.reference"\n'
    b'[[metrics]]\ncode = 147842\nunit = "/min"\nlow = 0\nhigh = 300\n'
)
GOOD = (
    b'{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":'
    b'"Observation","device":{"reference":"Device/1"},"code":{"coding":[{"system":'
    b'"urn:iso:std:iso:11073:10101","code":"147842"}]},"valueQuantity":{"value":60.5,'
    b'"system":"http://unitsofmeasure.org","code":"/min"}}}]}'
)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (GOOD, None),
        (GOOD.replace(b"60.5", b"301"), Rule.RANGE),
        (GOOD.replace(b'"/min"', b'"mm[Hg]"'), Rule.UNIT),
        (GOOD.replace(b"147842", b"9999999"), Rule.CODE),
        (GOOD.replace(b'"device":{"reference":"Device/1"},', b""), Rule.REQUIRED),
        (GOOD.replace(b'"Observation"', b'"Patient"'), Rule.MESSAGE_TYPE),
        (b"[1]", Rule.FRAMING),
        (b"{", Rule.FRAMING),
        (b"[" * 100_000, Rule.FRAMING),
    ],
)
def test_a_bundle_is_judged_by_its_resources(body: bytes, rule: Rule | None) -> None:
    rules = {f.rule for f in FhirJudge(FHIR).body(body).findings}
    assert rule in rules if rule else not rules


@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
def test_judging_a_bundle_never_raises(noise: bytes, at: int) -> None:
    FhirJudge(FHIR).body(GOOD[:at] + noise + GOOD[at:])
