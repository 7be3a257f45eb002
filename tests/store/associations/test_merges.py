"""Two numbers that are one patient, and visits booked on the wrong one, on a real database."""

from typing import Any

from asepsis.core.model.association import AssociationState, Basis
from asepsis.core.model.patient import PatientId
from asepsis.hub.audit import log as audit_log

from .conftest import ADA, BED_A, BED_B, BEN, MONITOR, PUMP, Ward, adt
from .hubs import NURSE

CEM = PatientId("3", "MRN")


def merge(ward: Ward, into: PatientId, old: PatientId, *, trigger: str = "A40") -> None:
    ward.say(adt(trigger, into, None, entered_ns=ward.clock(), merged=old))


def actions(ward: Ward) -> list[str]:
    with ward.store.reading() as connection:
        return [entry.action for entry in audit_log.page(connection, after=-1)]


def of_patient(ward: Ward, patient: PatientId, **how: Any) -> list[PatientId]:
    return [one.patient for one in ward.run(ward.service.history(patient=patient, **how))]


def test_bed_and_devices_go_on_under_the_number_that_stays(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    ward.run(ward.service.associate(PUMP, ADA, actor=NURSE))
    ward.clock.advance_s(60)
    merge(ward, BEN, ADA)
    first, second = ward.held(MONITOR)
    assert (first.patient, second.patient) == (ADA, BEN)
    assert first.end_ns == second.start_ns
    assert first.end_reason == "goes on under the identifier that it was merged into"
    now = ward.book.now(PUMP)
    assert now is not None
    assert (now.patient, now.basis, now.confirmed_by) == (BEN, Basis.PERSON, NURSE)
    (occupant,) = [bed.patient for bed in ward.book.beds() if bed.place == BED_A]
    assert occupant is not None
    assert occupant.id == BEN
    # What is over keeps its number; asked for with all numbers of the person, it is found.
    assert of_patient(ward, BEN) == [BEN, BEN]
    assert sorted(of_patient(ward, BEN, merged=True)) == sorted([ADA, ADA, BEN, BEN])
    assert "merge-patients" in actions(ward)
    before = ward.held(MONITOR)
    merge(ward, BEN, ADA)
    assert ward.held(MONITOR) == before


def test_a_merge_that_comes_before_its_patient_is_remembered(ward: Ward) -> None:
    merge(ward, BEN, ADA)
    ward.restart()
    ward.admit(ADA, BED_A)  # Under way since before: it is Ben's, and a person decides.
    assert ward.book.now(MONITOR) is None
    assert {one.patient for one in ward.book.proposals()} == {BEN}
    ward.clock.advance_s(60)
    ward.run(ward.service.associate(MONITOR, BEN, actor=NURSE))
    ward.clock.advance_s(60)
    ward.say(adt("A03", ADA, BED_A, entered_ns=ward.clock()))
    assert ward.book.now(MONITOR) is None


def test_a_patient_in_two_beds_at_once_is_no_one_patient(ward: Ward) -> None:
    """Goal: a merge of two people who lie side by side charts nobody's values to the other."""
    other = "urn:dev:mac:00000000000000ff"
    ward.place(other, BED_B, fixed=True)
    ward.clock.advance_s(10)
    ward.admit(ADA, BED_A)
    ward.admit(BEN, BED_B)
    ward.clock.advance_s(60)
    merge(ward, BEN, ADA)
    assert ward.book.now(MONITOR) is None
    now = ward.book.now(other)
    assert now is not None
    assert now.patient == BEN
    assert {(one.device, one.patient) for one in ward.book.proposals()} >= {(MONITOR, BEN)}


def test_chains_of_merges_lead_to_the_last_and_contradictions_to_nobody(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    merge(ward, CEM, BEN)
    merge(ward, BEN, ADA)  # Ben is Cem by then.
    now = ward.book.now(MONITOR)
    assert now is not None
    assert now.patient == CEM
    merge(ward, PatientId("9", "MRN"), ADA)  # She is one already.
    assert ward.book.now(MONITOR) == now
    assert len(of_patient(ward, ADA, merged=True)) == 2


def test_a_corrected_number_goes_on_and_the_wrong_one_only_proposes(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    merge(ward, BEN, ADA, trigger="A47")
    now = ward.book.now(MONITOR)
    assert now is not None
    assert now.patient == BEN
    ward.clock.advance_s(60)
    ward.say(adt("A03", BEN, BED_A, entered_ns=ward.clock()))
    ward.clock.advance_s(60)
    ward.admit(ADA, BED_A)
    assert ward.book.now(MONITOR) is None


def test_a_moved_visit_never_was_the_other_patients(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    ward.run(ward.service.associate(PUMP, ADA, actor=NURSE))
    ward.clock.advance_s(60)
    ward.say(adt("A45", BEN, BED_A, entered_ns=ward.clock(), merged=ADA))
    assert ward.held(MONITOR) == []  # By the ward's rule: it never held.
    (seen,) = ward.held(PUMP)
    assert (seen.patient, seen.state) == (ADA, AssociationState.ENDED)  # A person saw it.
    proposed = {(one.device, one.patient) for one in ward.book.proposals()}
    assert proposed == {(MONITOR, BEN), (PUMP, BEN)}
    assert "move-visit" in actions(ward)
    # The admission that it corrects comes after it: it opens nothing.
    ward.say(adt("A01", ADA, BED_A, entered_ns=ward.clock() - 60 * 10**9))
    assert ward.held(MONITOR) == []


def test_a_moved_visit_takes_the_beds_before_it_too(ward: Ward) -> None:
    other = "urn:dev:mac:00000000000000ff"
    ward.place(other, BED_B, fixed=True)
    ward.clock.advance_s(10)
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(300)
    ward.say(adt("A02", ADA, BED_B, entered_ns=ward.clock()))
    ward.clock.advance_s(300)
    assert len(ward.held(MONITOR)) == len(ward.held(other)) == 1
    ward.say(adt("A45", BEN, BED_B, entered_ns=ward.clock(), merged=ADA))
    assert ward.held(MONITOR) == ward.held(other) == []


def test_an_identifier_in_both_lists_is_not_merged(ward: Ward) -> None:
    body = adt("A47", BEN, None, entered_ns=ward.clock(), merged=ADA)
    same = body.replace(b"2^^^MRN", b"2^^^MRN~9^^^SSN").replace(
        b"MRG|1^^^MRN", b"MRG|1^^^MRN~9^^^SSN"
    )
    ward.say(same)
    ssn = PatientId("9", "SSN")
    ward.admit(ssn, BED_A)
    now = ward.book.now(MONITOR)
    assert now is not None
    assert now.patient == ssn
