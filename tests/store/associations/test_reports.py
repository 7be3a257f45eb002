"""Association messages of a named source on a real database."""

import pytest

from asepsis.core.errors import InputError, NotFound
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.hl7 import Message

from .conftest import ADA, BED_A, BEN, PUMP, SECOND_NS, Ward, written

ACTOR = "pcim:critical-care"
ON, OFF = "198332", "198334"


def report(
    patient: PatientId, event: str, status: str, *, at_ns: int, made_ns: int, word: str = "PUMP-2"
) -> bytes:
    times = f"|{written(at_ns)}" if event == ON else f"||{written(at_ns)}"
    return "\r".join(
        (
            rf"MSH|^~\&|CRIT|H|HUB|H|{written(made_ns)}||ORU^R01^ORU_R01|1|P|2.6",
            f"PID|||{patient.value}^^^{patient.authority}",
            f"OBR|||7|69136^MDC_OBS_ASSOCIATION_PATIENT_DEVICE^MDC|||{written(at_ns)}",
            f"OBX|1|CWE|68487^MDC_ATTR_EVT_COND^MDC|0.0.0.0|{event}^X^MDC||||||{status}",
            f"PRT|1|UC||EQUIP^EQUIP^HL70912||||||{word}{times}",
            "",
        )
    ).encode()


def say(
    ward: Ward, patient: PatientId, event: str, status: str, *, ago_s: int = 0, late_s: int = 0
) -> None:
    at_ns = ward.clock() - ago_s * SECOND_NS
    made_ns = ward.clock() - late_s * SECOND_NS
    body = report(patient, event, status, at_ns=at_ns, made_ns=made_ns)
    tell(ward, body)


def tell(ward: Ward, body: bytes) -> None:
    ward.run(
        ward.follower.report(
            Message.parse(body),
            {b"PUMP-2": PUMP},
            actor=ACTOR,
            zone=None,
            arrived_ns=ward.clock(),
        )
    )


def test_a_validated_report_confirms_and_an_asserted_one_proposes(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    say(ward, ADA, ON, "R")
    assert ward.book.now(PUMP) is None
    assert [one.patient for one in ward.book.proposals() if one.device == PUMP] == [ADA]
    ward.clock.advance_s(5)
    say(ward, ADA, ON, "F")
    now = ward.book.now(PUMP)
    assert now is not None
    assert (now.patient, now.confirmed_by) == (ADA, ACTOR)
    say(ward, ADA, ON, "F")
    assert ward.book.now(PUMP) == now


def test_taking_off_ends_at_its_time_and_what_came_before_it_does_not_return(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    put_on = report(ADA, ON, "F", at_ns=ward.clock(), made_ns=ward.clock())
    tell(ward, put_on)
    ward.clock.advance_s(100)
    say(ward, ADA, OFF, "F", ago_s=40)
    (held,) = ward.held(PUMP)
    assert held.end_ns == ward.clock() - 40 * SECOND_NS
    tell(ward, put_on)  # Sent again: it was over by then.
    assert ward.book.now(PUMP) is None
    say(ward, BEN, OFF, "F")
    assert ward.held(PUMP) == [held]


def test_late_news_only_proposes_and_nobody_is_pushed_off_by_a_message(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.admit(BEN, BED_A)
    ward.clock.advance_s(2_000)
    say(ward, ADA, ON, "F", ago_s=1_200, late_s=1_200)
    assert ward.book.now(PUMP) is None
    say(ward, ADA, ON, "F")
    say(ward, BEN, ON, "F")
    now = ward.book.now(PUMP)
    assert now is not None
    assert now.patient == ADA
    assert BEN in [one.patient for one in ward.book.proposals() if one.device == PUMP]


def test_what_its_source_disowns_never_held(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    say(ward, ADA, ON, "F")
    ward.clock.advance_s(60)
    say(ward, ADA, ON, "W")
    assert ward.held(PUMP) == []
    ward.run(ward.service.associate(PUMP, ADA, actor="person:nurse"))
    ward.clock.advance_s(60)
    say(ward, ADA, ON, "D")
    (held,) = ward.held(PUMP)  # A person saw it: it ends now.
    assert held.end_ns == ward.clock()


def test_strangers_and_unknown_patients_are_refused(ward: Ward) -> None:
    with pytest.raises(NotFound):
        say(ward, PatientId("77", "MRN"), ON, "F")
    ward.admit(ADA, BED_A)
    now = ward.clock()
    with pytest.raises(InputError):
        tell(ward, report(ADA, ON, "F", at_ns=now, made_ns=now, word="OTHER"))
