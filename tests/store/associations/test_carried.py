"""A device that carries the patient's identifier confirms what was proposed, on a real database."""

from collections.abc import Callable

import pytest

from asepsis.core.journal.ports import Account, Append, Record
from asepsis.core.model.association import Basis
from asepsis.core.model.lanes import Lane
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.message_record import (
    KIND_GROUP,
    MessageFindings,
    MessagePeer,
    encode_group,
)
from asepsis.hub.registry.associations.adt import AdtFollower

from .conftest import ADA, BED_A, BED_B, BEN, PUMP, SECOND_NS, Ward, adt, written

GATEWAY = "urn:uuid:0b0c7a52-9d1f-4c39-8f6e-2f6f3a1f0c11"
PEER = MessagePeer("bed-a", "UTC", ((b"PUMP-2", PUMP),))


def observed(ward: Ward, patients: str, *, word: str = "PUMP-2") -> bytes:
    """Return an ORU^R01 with PID segments of these identifiers."""
    pids = [f"PID|||{one}" for one in patients.split()]
    return "\r".join(
        (
            rf"MSH|^~\&|PUMP|H|HUB|H|{written(ward.clock())}||ORU^R01^ORU_R01|1|P|2.6",
            *pids,
            f"OBR|1||7|69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|||{written(ward.clock())}",
            f"OBX|1|NM|157993^MDC_FLOW_FLUID_PUMP^MDC|1.1.1.1|2|mL/h|||||R|||||||{word}",
            "",
        )
    ).encode()


def hear(ward: Ward, body: bytes, *, ago_s: float = 0) -> None:
    """Take an observation message as the message lane brings it."""
    arrived_ns = ward.clock() - int(ago_s * SECOND_NS)
    group = encode_group([(MessageFindings(PEER, 0, arrived_ns), body)])
    append = Append(
        lane=Lane.MESSAGE,
        account=Account.MESSAGE,
        producer=GATEWAY,
        epoch=1,
        sequence=1,
        kind=KIND_GROUP,
        body=group,
        received_at_ns=ward.clock(),
    )
    ward.run(ward.follower.take(Record(1, append)))


@pytest.fixture
def entering(ward: Ward) -> Ward:
    """Return a ward whose staff enters the patient at the device; Ada is proposed for the pump."""
    ward.follower = AdtFollower(None, ward.service, entered_at_device=["ICU"])  # type: ignore[arg-type]
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(5)
    return ward


def confirmed(ward: Ward) -> PatientId | None:
    now = ward.book.now(PUMP)
    return now.patient if now is not None else None


def test_what_adt_proposed_and_the_device_says_is_confirmed_from_now(entering: Ward) -> None:
    hear(entering, observed(entering, "1^^^MRN"))
    now = entering.book.now(PUMP)
    assert now is not None
    assert (now.patient, now.basis) == (ADA, Basis.DEVICE)
    assert now.start_ns == entering.clock()
    assert now.confirmed_by == f"device:{PUMP}"
    hear(entering, observed(entering, "1^^^MRN"))
    assert entering.book.now(PUMP) == now


@pytest.mark.parametrize(
    ("patients", "word"),
    [
        ("2^^^MRN", "PUMP-2"),  # The number of the patient before was left in the device.
        ("1^^^OTHER", "PUMP-2"),  # Another authority's number 1 is somebody else.
        ("1^^^MRN 2^^^MRN", "PUMP-2"),
        ("", "PUMP-2"),
        ("1^^^MRN", "PUMP-3"),  # No device that this peer may speak for.
        ("1^^^MRN", "PUMP-2~PUMP-3"),
    ],
)
def test_whatever_does_not_agree_confirms_nobody(entering: Ward, patients: str, word: str) -> None:
    hear(entering, observed(entering, patients, word=word))
    assert confirmed(entering) is None
    assert [one.patient for one in entering.book.proposals() if one.device == PUMP] == [ADA]


def test_an_old_word_confirms_nobody(entering: Ward) -> None:
    """Goal: what waited in a spool says whose the device was."""
    body = observed(entering, "1^^^MRN")
    entering.clock.advance_s(120)
    hear(entering, body, ago_s=61)
    assert confirmed(entering) is None
    hear(entering, body, ago_s=0)
    assert confirmed(entering) == ADA


def test_a_word_from_before_the_proposal_confirms_nobody(entering: Ward) -> None:
    hear(entering, observed(entering, "1^^^MRN"), ago_s=30)
    assert confirmed(entering) is None


def test_of_two_proposals_a_person_chooses(entering: Ward) -> None:
    entering.run(entering.service.propose(PUMP, ADA, actor="person:nurse"))
    entering.admit(BEN, BED_B)
    entering.run(entering.service.propose(PUMP, BEN, actor="person:nurse"))
    hear(entering, observed(entering, "1^^^MRN"))
    assert confirmed(entering) is None


def test_the_next_patient_is_not_confirmed_by_what_the_device_still_says(entering: Ward) -> None:
    """Goal: a pump at the bed of the next patient, whose staff forgot to enter the number."""
    hear(entering, observed(entering, "1^^^MRN"))
    entering.clock.advance_s(600)
    entering.say(adt("A03", ADA, BED_A, entered_ns=entering.clock()))
    entering.clock.advance_s(60)
    entering.admit(BEN, BED_A)
    entering.clock.advance_s(5)
    for _ in range(3):
        hear(entering, observed(entering, "1^^^MRN"))
        entering.clock.advance_s(5)
    assert confirmed(entering) is None
    hear(entering, observed(entering, "2^^^MRN"))
    assert confirmed(entering) == BEN


def test_without_the_setting_a_device_confirms_nobody(
    ward: Ward, other_hub: Callable[[], Ward]
) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(5)
    hear(ward, observed(ward, "1^^^MRN"))
    assert confirmed(ward) is None
    other = other_hub()
    other.follower = AdtFollower(None, other.service, entered_at_device=["WARD-7"])  # type: ignore[arg-type]
    hear(other, observed(other, "1^^^MRN"))
    assert confirmed(other) is None
