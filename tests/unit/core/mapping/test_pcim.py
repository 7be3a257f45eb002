"""Goal: the supplement's own examples are read, and what we write is read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.mapping.hl7_envelope import Envelope, device_word
from asepsis.core.mapping.pcim import (
    Standing,
    association_to_message,
    is_association,
    read_association,
)
from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.patient import PatientId, Place
from asepsis.core.wire.hl7 import Message

DEVICE = "urn:dev:mac:231a8456b1cb2366"
TENTH_MS = 100_000


def example(event: str = "198332^MDC_EVT_ASSOCIATION_PATIENT_DEVICE^MDC", *, status: str) -> bytes:
    """Example 1 of appendix A.3, with offsets."""
    device = "MON5588^^231A8456B1CB2366^EUI-64"
    times = "20160726120000+0000|20160726121500+0000"
    return "\r".join(
        (
            r"MSH|^~\&|CritCare||AssocMgr||20160726123002+0000||ORU^R01^ORU_R01|12d15a9|P|2.6|||AL|AL",
            "PID|||AB60001^^^A^PI||Spaniel^C^R^^^^L",
            "PV1||E|3 WEST ICU^3001^1",
            "OBR|||15404652|69136^MDC_OBS_ASSOCIATION_PATIENT_DEVICE^MDC|||20160726120000+0000",
            f"OBX|1|CWE|68487^MDC_ATTR_EVT_COND^MDC||{event}||||||{status}",
            f"PRT|1|UC||EQUIP^EQUIP^HL70912||||||{device}|{times}",
            "PRT|2|UC||AUT^AUT^HL70912|58793^Diesel^N||||3 WEST ICU^3001^1||20160726123000+0000",
            "",
        )
    ).encode()


def test_the_examples_of_the_supplement_are_read() -> None:
    message = Message.parse(example(status="F"))
    assert is_association(message)
    found = read_association(message)
    assert found.patients == (PatientId("AB60001", "A"),)
    assert found.word == b"MON5588^^231A8456B1CB2366^EUI-64"
    assert found.associated
    assert found.standing is Standing.VALIDATED
    assert found.time is not None
    assert found.time.earliest_ns == 1_469_534_400 * 10**9
    off = Message.parse(example("198334^MDC_EVT_DISASSOCIATION_PATIENT_DEVICE^MDC", status="R"))
    found = read_association(off)
    assert (found.associated, found.standing) == (False, Standing.ASSERTED)
    assert found.time is not None
    assert found.time.earliest_ns == 1_469_535_300 * 10**9


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"AB60001^^^A^PI", b""),
        (b"198332", b"198333"),
        (b"|F\r", b"|X\r"),
        (b"EQUIP^EQUIP", b"AUT^AUT"),
        (b"PRT|2|UC||AUT^AUT^HL70912|", b"PRT|2|UC||EQUIP^EQUIP^HL70912||||||OTHER|"),
        (b"PID|||", b"PID|||2^^^A\rPID|||"),
    ],
)
def test_what_does_not_say_one_patient_and_one_device_is_refused(old: bytes, new: bytes) -> None:
    body = example(status="F")
    assert old in body
    with pytest.raises(InputError):
        read_association(Message.parse(body.replace(old, new)))


def test_values_are_no_association() -> None:
    body = example(status="F").replace(b"69136", b"69965")
    assert not is_association(Message.parse(body))
    assert not is_association(Message.parse(example(status="F").replace(b"ORU^R01", b"ORU^R40")))


STATES = {
    AssociationState.PROPOSED: (True, Standing.ASSERTED),
    AssociationState.CONFIRMED: (True, Standing.VALIDATED),
    AssociationState.ENDED: (False, Standing.VALIDATED),
    AssociationState.REJECTED: (True, Standing.WRONG),
}


@given(
    state=st.sampled_from(AssociationState),
    start=st.integers(0, 10**13),
    length=st.integers(0, 10**10),
    value=st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=20),
)
def test_what_is_written_is_read_back(
    state: AssociationState, start: int, length: int, value: str
) -> None:
    association = Association(
        id="5b0c9d5e-0000-4000-8000-000000000001",
        device=DEVICE,
        patient=PatientId(value, "MRN"),
        place=Place("ICU", "4", "B"),
        state=state,
        basis=Basis.PERSON,
        start_ns=start * TENTH_MS,
        end_ns=(start + length) * TENTH_MS if state is AssociationState.ENDED else None,
        proposed_by="person:a",
        confirmed_by=None,
        end_reason=None,
    )
    written = association_to_message(association, Envelope(control_id="1", made_ns=0))
    assert not written.losses
    message = Message.parse(written.value)
    assert is_association(message)
    found = read_association(message)
    assert found.patients == (association.patient,)
    assert found.word == "^".join(device_word(DEVICE)).encode()
    assert (found.associated, found.standing) == STATES[state]
    assert found.time is not None
    assert found.time.earliest_ns == (association.end_ns or association.start_ns)
