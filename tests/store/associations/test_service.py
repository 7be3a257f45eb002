"""Associations on both databases: who confirms, what ends, what is written beside it."""

from collections.abc import Callable

import pytest
from sqlalchemy import select, text

from asepsis.core.errors import Conflict, InputError, NotFound, NotPermitted
from asepsis.core.model.association import AssociationState, Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.patient import PatientId, Place
from asepsis.hub.audit import log as audit_log
from asepsis.hub.registry.associations.unplaced import last_places
from asepsis.hub.store.outbox import EventReader
from asepsis.hub.store.tables import outbox

from .conftest import ADA, BED_A, BED_B, BEN, MONITOR, PUMP, SECOND_NS, Ward, adt

NURSE = "person:nurse"


def test_adt_confirms_a_fixed_monitor_and_only_proposes_a_pump(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    now = ward.book.now(MONITOR)
    assert now is not None
    assert (now.patient, now.basis, now.confirmed_by) == (ADA, Basis.WARD_RULE, "ward-rule")
    assert ward.book.now(PUMP) is None
    (proposal,) = ward.book.proposals()
    assert (proposal.device, proposal.patient, proposal.basis) == (PUMP, ADA, Basis.ADT)
    (bed,) = ward.book.beds()
    assert bed.patient is not None
    assert (bed.patient.name, bed.patient.id) == ("NAME, 1", ADA)
    assert bed.devices == (MONITOR, PUMP)
    assert ward.changed == [MONITOR]


def test_without_the_rule_adt_only_proposes(ward: Ward) -> None:
    ward.run(ward.service.set_ward_rule("ICU", follow_adt=False, actor="person:eng"))
    ward.admit(ADA, BED_A)
    assert ward.book.now(MONITOR) is None
    assert {one.device for one in ward.book.proposals()} == {MONITOR, PUMP}


def test_a_transfer_ends_at_once_and_a_free_bed_keeps_nobody(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    ward.say(adt("A02", ADA, BED_B, entered_ns=ward.clock(), happened_ns=ward.clock() - SECOND_NS))
    assert ward.book.now(MONITOR) is None
    (held,) = ward.held(MONITOR)
    assert held.end_ns is not None
    assert held.end_ns <= ward.clock() - SECOND_NS
    assert [b.patient for b in ward.book.beds() if b.place == BED_A] == [None]


def test_a_discharge_that_comes_late_still_ends_when_it_happened(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    left_ns = ward.clock() + 100 * SECOND_NS
    ward.clock.advance_s(1_000)
    ward.say(adt("A03", ADA, BED_A, entered_ns=left_ns))
    assert ward.held(MONITOR)[0].end_ns == left_ns
    ward.say(adt("A03", ADA, BED_A, entered_ns=left_ns))
    assert len(ward.held(MONITOR)) == 1


def test_an_old_admission_does_not_override_newer_news(ward: Ward) -> None:
    old_ns = ward.clock()
    ward.clock.advance_s(60)
    ward.admit(ADA, BED_B)
    ward.say(adt("A01", ADA, BED_A, entered_ns=old_ns))
    assert ward.book.now(MONITOR) is None
    assert [one.place for one in ward.book.proposals()] == []
    assert [b.place for b in ward.book.beds() if b.patient is not None] == [BED_B]


def test_two_patients_in_one_bed_are_for_a_person_to_decide(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    ward.admit(BEN, BED_A)
    assert ward.book.now(MONITOR) is None
    (bed,) = ward.book.beds()
    assert bed.patient is None
    waiting = [one for one in ward.book.proposals() if one.device == MONITOR]
    assert {one.patient for one in waiting} == {ADA, BEN}
    ward.clock.advance_s(60)
    ward.run(ward.service.confirm(waiting[1].id, actor=NURSE))
    now = ward.book.now(MONITOR)
    assert now is not None
    assert (now.confirmed_by, now.start_ns) == (NURSE, ward.clock())
    assert not [one for one in ward.book.proposals() if one.device == MONITOR]


def test_two_patients_are_never_confirmed_on_one_device(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.admit(BEN, BED_B)
    ward.run(ward.service.associate(PUMP, ADA, actor=NURSE))
    with pytest.raises(Conflict):
        ward.run(ward.service.associate(PUMP, BEN, actor=NURSE))
    proposed = ward.run(ward.service.propose(PUMP, BEN, actor=NURSE))
    with pytest.raises(Conflict):
        ward.run(ward.service.confirm(proposed.id, actor=NURSE))
    with pytest.raises(NotPermitted):
        ward.run(ward.service.confirm(proposed.id, actor="adt", basis=Basis.ADT))
    assert len(ward.held(PUMP)) == 1


def test_an_unknown_patient_is_refused(ward: Ward) -> None:
    with pytest.raises(NotFound):
        ward.run(ward.service.associate(PUMP, PatientId("404", "MRN"), actor=NURSE))


def test_a_rejected_proposal_does_not_come_back_with_the_same_stay(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    (proposal,) = ward.book.proposals()
    ward.run(ward.service.reject(proposal.id, actor=NURSE, reason="pump is not hers"))
    ward.place(PUMP, BED_A, fixed=True)
    ward.say(adt("A08", ADA, BED_A, entered_ns=ward.clock()))
    assert ward.book.proposals() == []
    with pytest.raises(Conflict):
        ward.run(ward.service.confirm(proposal.id, actor=NURSE))


def test_a_device_that_moves_or_is_revoked_loses_its_association(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.run(ward.service.associate(PUMP, ADA, actor=NURSE))
    ward.clock.advance_s(5)
    ward.place(PUMP, BED_B, fixed=False)
    assert ward.book.now(PUMP) is None
    assert ward.held(PUMP)[0].end_reason == "device moved"
    ward.run(ward.service.forget_device(MONITOR))
    assert ward.book.now(MONITOR) is None
    assert ward.book.placed(MONITOR) is None


def test_where_a_revoked_device_stood_is_remembered_though_it_was_nobodys(ward: Ward) -> None:
    """Goal: its tile shows what happened also after a restart; a device that moved is no news."""
    ward.place(PUMP, BED_A, fixed=False)
    ward.place(PUMP, BED_B, fixed=False)
    began_ns = ward.clock.now_ns
    ward.clock.advance_s(5)
    ward.run(ward.service.forget_device(PUMP))
    ward.run(ward.service.forget_device(PUMP))
    later_ns = ward.clock.now_ns + 1
    assert ward.run(ward.store.read(lambda c: last_places(c, since_ns=began_ns))) == {PUMP: BED_B}
    assert ward.run(ward.store.read(lambda c: last_places(c, since_ns=later_ns))) == {}


def test_a_placement_proposes_for_who_lies_there(ward: Ward) -> None:
    ward.admit(ADA, BED_B)
    ward.clock.advance_s(60)
    ward.place(MONITOR, BED_B, fixed=True)
    assert ward.book.now(MONITOR) is None
    assert [one.basis for one in ward.book.proposals()] == [Basis.LOCATION]


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (ClinicalState.STANDBY, True),
        (ClinicalState.ALARMING, True),
        (ClinicalState.IDLE, False),
        (ClinicalState.CLEANING, False),
        (ClinicalState.MAINTENANCE, False),
    ],
)
def test_what_a_device_signs_ends_its_association(
    ward: Ward, state: ClinicalState, *, kept: bool
) -> None:
    start = ward.clock()
    ward.run(ward.service.sighted(MONITOR, epoch=1, state=ClinicalState.IN_USE, at_ns=start))
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    at = ward.clock()
    ward.run(ward.service.sighted(MONITOR, epoch=1, state=state, at_ns=at))
    assert (ward.book.now(MONITOR) is not None) is kept
    ward.restart()
    assert (ward.book.now(MONITOR) is not None) is kept


def test_out_of_sight_ends_and_goes_on_without_a_break(ward: Ward) -> None:
    start = ward.clock()
    ward.run(ward.service.sighted(MONITOR, epoch=1, state=ClinicalState.IN_USE, at_ns=start))
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(600)
    ward.run(ward.service.out_of_sight(MONITOR, at_ns=ward.clock()))
    assert ward.book.now(MONITOR) is None
    ward.run(ward.service.seen_whole(MONITOR))
    (held,) = ward.held(MONITOR)
    assert held.end_ns is None


def test_a_missing_state_that_was_idle_keeps_it_ended(ward: Ward) -> None:
    start = ward.clock()
    ward.run(ward.service.sighted(MONITOR, epoch=1, state=ClinicalState.IN_USE, at_ns=start))
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(600)
    off_ns = ward.clock() - 300 * SECOND_NS
    ward.run(ward.service.out_of_sight(MONITOR, at_ns=ward.clock()))
    ward.run(ward.service.sighted(MONITOR, epoch=1, state=ClinicalState.IN_USE, at_ns=ward.clock()))
    ward.run(ward.service.sighted(MONITOR, epoch=1, state=ClinicalState.IDLE, at_ns=off_ns))
    ward.run(ward.service.seen_whole(MONITOR))
    assert ward.book.now(MONITOR) is None
    assert ward.held(MONITOR)[0].end_ns == off_ns


def test_a_new_boot_ends_what_was_before_it(ward: Ward) -> None:
    start = ward.clock()
    ward.run(ward.service.sighted(MONITOR, epoch=1, state=ClinicalState.IN_USE, at_ns=start))
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    ward.run(
        ward.service.switched_on(
            MONITOR, epoch=2, at_ns=ward.clock(), last_ns=ward.clock() - SECOND_NS
        )
    )
    assert ward.held(MONITOR)[0].end_reason == "device switched off"


def test_a_cancelled_admission_never_was(ward: Ward) -> None:
    came_ns = ward.clock()
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    ward.say(adt("A11", ADA, BED_A, entered_ns=ward.clock(), happened_ns=came_ns))
    assert ward.held(MONITOR) == []
    ward.say(adt("A01", ADA, BED_A, entered_ns=came_ns))
    assert ward.held(MONITOR) == []


def test_a_cancelled_discharge_brings_the_patient_back_from_then_on(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.clock.advance_s(60)
    left_ns = ward.clock()
    ward.say(adt("A03", ADA, BED_A, entered_ns=left_ns))
    ward.clock.advance_s(60)
    ward.say(adt("A13", ADA, BED_A, entered_ns=ward.clock(), happened_ns=left_ns))
    first, second = ward.held(MONITOR)
    assert first.end_ns == left_ns
    assert second.start_ns > ward.clock() - SECOND_NS
    assert second.end_ns is None


def test_news_about_a_merged_number_ends_what_goes_on_under_the_other(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    ward.say(adt("A40", BEN, None, entered_ns=ward.clock(), merged=ADA))
    ward.clock.advance_s(60)
    assert ward.book.now(MONITOR) is not None
    ward.say(adt("A03", ADA, BED_A, entered_ns=ward.clock()))
    assert ward.book.now(MONITOR) is None


def test_an_admission_without_a_usable_time_only_proposes(ward: Ward) -> None:
    body = adt("A01", ADA, BED_A, entered_ns=ward.clock())
    for blunt in (body.replace(b"EVN|A01|2027", b"EVN|A01|x"), body.replace(b"EVN|", b"ZVN|")):
        ward.say(blunt)
        assert ward.book.now(MONITOR) is None
    assert {one.device for one in ward.book.proposals()} == {MONITOR, PUMP}


def test_late_assignment_is_refused_where_somebody_is_confirmed(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    begin_ns = ward.held(MONITOR)[0].start_ns
    ward.clock.advance_s(60)
    now_ns = ward.clock()
    late = ward.service.assign_late
    with pytest.raises(Conflict):
        ward.run(late(MONITOR, ADA, start_ns=begin_ns - 5, end_ns=begin_ns + 5, actor=NURSE))
    with pytest.raises(InputError):
        ward.run(late(PUMP, ADA, start_ns=begin_ns, end_ns=now_ns + 1, actor=NURSE))
    ward.run(late(MONITOR, ADA, start_ns=begin_ns - 5, end_ns=begin_ns, actor=NURSE))
    assert [one.basis for one in ward.held(MONITOR)] == [Basis.LATE, Basis.WARD_RULE]


def test_history_is_cut_to_what_was_asked(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    (held,) = ward.held(MONITOR)
    history = ward.service.history
    assert ward.run(history(device=MONITOR, to_ns=held.start_ns)) == []
    assert len(ward.run(history(patient=ADA, from_ns=held.start_ns))) == 1
    with pytest.raises(InputError):
        ward.run(history())


def test_each_change_is_audited_and_published_with_it(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    with ward.store.reading() as connection:
        entries = audit_log.page(connection, after=-1)
        bodies = connection.execute(select(outbox.c.body).order_by(outbox.c.id)).scalars().all()
        audit_log.check(connection)
    acts = [(entry.actor, entry.action, entry.subject) for entry in entries]
    assert ("adt:test", "association-confirmed", MONITOR) in acts
    assert ("adt:test", "association-proposed", PUMP) in acts
    assert ("person:eng", "place-device", MONITOR) in acts
    assert ("person:eng", "set-ward-rule", "ICU") in acts
    topics = [EventReader().read(body).topic for body in bodies]
    assert topics == ["association.confirmed", "association.proposed"]


def test_a_stolen_database_names_no_patient(ward: Ward) -> None:
    secret = PatientId("SECRET-4711", "MRN")
    ward.admit(secret, BED_A)
    with ward.store.reading() as connection:
        for table in ("patients", "stays", "associations", "outbox", "audit_entries"):
            for row in connection.execute(text(f"SELECT * FROM {table}")):  # noqa: S608 - our names
                assert "SECRET-4711" not in repr([_plain(value) for value in row])


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value  # pyright: ignore[reportUnknownArgumentType]


def test_another_hub_sees_what_this_one_decides(ward: Ward, other_hub: Callable[[], Ward]) -> None:
    other = other_hub()
    ward.admit(ADA, BED_A)
    assert other.book.now(MONITOR) is None
    other.run(other.service.load())
    now = other.book.now(MONITOR)
    assert now is not None
    assert other.changed == [MONITOR]
    with pytest.raises(Conflict):
        other.run(other.service.associate(MONITOR, ADA, actor=NURSE))


def test_lists_are_by_state(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    for state, count in ((AssociationState.CONFIRMED, 1), (AssociationState.PROPOSED, 1)):
        assert len(ward.run(ward.service.listed(state))) == count


def test_a_ward_is_no_place_for_a_device(ward: Ward) -> None:
    with pytest.raises(InputError):
        ward.place(PUMP, Place("ICU", "", ""), fixed=False)
