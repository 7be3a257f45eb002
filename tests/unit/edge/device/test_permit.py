"""Permits: over every clinical state and rung, and over every order of events."""

from itertools import product

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from asepsis.core.errors import FramingError, SafetyRefusal
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import Criticality
from asepsis.core.model.manifest_claims import PATIENT_STATES
from asepsis.edge.device import clinical
from asepsis.edge.device.clinical import Event
from asepsis.edge.device.permit import (
    GAP_MS_MAX,
    LONGEST_GAP_MS,
    SETTLE_S,
    VALID_S,
    PermitBook,
    PermitIssuer,
    Present,
    Question,
    Refusal,
    UpdateRung,
    judge,
    read_question,
)

RELEASES = [bytes([n]) * 32 for n in range(2)]


def question(
    rung: UpdateRung = UpdateRung.SWAP,
    *,
    gap_ms: int = 0,
    touches: Criticality = Criticality.EXPENDABLE,
    release: bytes = RELEASES[0],
    nonce: int = 1,
) -> Question:
    return Question(
        release=release, rung=rung, gap_ms=gap_ms, touches=touches, nonce=bytes([nonce]) * 16
    )


def present(
    state: ClinicalState = ClinicalState.IDLE,
    *,
    attached: bool = False,
    alarms: int = 0,
    held_s: float = 60,
    waits: bool = False,
) -> Present:
    return Present(
        state=state, attached=attached, alarms=alarms, held_s=held_s, request_waits=waits
    )


def test_every_clinical_state_stands_in_the_table() -> None:
    assert set(LONGEST_GAP_MS) == set(ClinicalState)
    assert not LONGEST_GAP_MS[ClinicalState.ALARMING]
    for state in PATIENT_STATES:
        assert UpdateRung.IMAGE not in LONGEST_GAP_MS[state]
        assert UpdateRung.LIVE_PATCH not in LONGEST_GAP_MS[state]


@pytest.mark.parametrize(("state", "rung"), list(product(ClinicalState, UpdateRung)))
def test_the_table_decides_by_state_rung_and_gap(state: ClinicalState, rung: UpdateRung) -> None:
    longest = LONGEST_GAP_MS[state].get(rung)
    if longest is None:
        assert judge(question(rung), present(state)) is Refusal.STATE
        return
    assert judge(question(rung, gap_ms=longest), present(state)) is None
    if longest < GAP_MS_MAX:
        assert judge(question(rung, gap_ms=longest + 1), present(state)) is Refusal.GAP


@pytest.mark.parametrize(("state", "touches"), list(product(ClinicalState, Criticality)))
def test_what_a_patient_depends_on_waits_for_no_patient(
    state: ClinicalState, touches: Criticality
) -> None:
    found = judge(question(touches=touches), present(state))
    if state in PATIENT_STATES and touches is not Criticality.EXPENDABLE:
        assert found in {Refusal.PATIENT, Refusal.STATE}
    attached = judge(question(touches=touches), present(state, attached=True))
    assert attached is not None or touches is Criticality.EXPENDABLE


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (present(alarms=1), Refusal.ALARM),
        (present(held_s=SETTLE_S - 0.1), Refusal.SETTLING),
        (present(waits=True), Refusal.REQUEST),
    ],
)
def test_an_alarm_a_fresh_state_or_a_waiting_request_refuses(
    moment: Present, expected: Refusal
) -> None:
    assert judge(question(), moment) is expected


def test_a_question_survives_its_document_and_nothing_else_is_one() -> None:
    asked = question(UpdateRung.IMAGE, gap_ms=7, touches=Criticality.CRITICAL)
    document = asked.to_document()
    assert read_question(document) == asked
    for change in (
        {"release": "00"}, {"nonce": "zz"}, {"rung": "soon"}, {"gap_ms": -1}, {"touches": None},
        {"gap_ms": GAP_MS_MAX + 1},
    ):  # fmt: skip
        with pytest.raises(FramingError):
            read_question(document | change)
    with pytest.raises(FramingError):
        read_question({})


def test_an_answer_to_another_question_or_release_grants_nothing() -> None:
    book = PermitBook()
    assert book.reason(now_s=0) == "nobody asked"
    book.asked(question(), now_s=0)
    answer, _ = PermitIssuer().answer(question(), present(), now_s=0)
    book.answered(answer | {"nonce": "00" * 16})
    book.answered(answer | {"release": RELEASES[1].hex()})
    with pytest.raises(SafetyRefusal):
        book.redeem(RELEASES[0], UpdateRung.SWAP, now_s=0)
    book.answered(answer)
    for release, rung in ((RELEASES[1], UpdateRung.SWAP), (RELEASES[0], UpdateRung.IMAGE)):
        with pytest.raises(SafetyRefusal):
            book.redeem(release, rung, now_s=0)
    book.redeem(RELEASES[0], UpdateRung.SWAP, now_s=VALID_S - 0.01)


class Device(RuleBasedStateMachine):
    """A critical compartment and a supervisor; answers and withdrawals arrive late or never."""

    @initialize()
    def begin(self) -> None:
        self.now_s = 1_000.0
        self.state = ClinicalState.IDLE
        self.since_s = 0.0
        self.attached = False
        self.alarms = 0
        self.issuer = PermitIssuer()
        self.book = PermitBook()
        self.nonce = 0
        self.asked_s = 0.0
        self.asked_in: ClinicalState | None = None
        self.on_the_way: list[dict[str, object]] = []

    def moment(self) -> Present:
        return present(
            self.state,
            attached=self.attached,
            alarms=self.alarms,
            held_s=self.now_s - self.since_s,
        )

    @rule(event=st.sampled_from(list(Event)))
    def happen(self, event: Event) -> None:
        if event is Event.PATIENT_ATTACHED:
            self.attached = True
        if event is Event.PATIENT_REMOVED:
            self.attached, self.alarms = False, 0
        if event is Event.ALARM_BEGAN:
            self.alarms = 1
        if event is Event.ALARMS_ENDED:
            self.alarms = 0
        before, self.state = self.state, clinical.step(self.state, event)
        if before is not self.state:
            self.since_s = self.now_s
            self.on_the_way.append({"state": self.state.name})
        nonce = self.issuer.withdrawn(self.moment(), now_s=self.now_s)
        if nonce:
            self.on_the_way.append({"nonce": nonce, "granted": False})

    @rule(seconds=st.sampled_from([0.05, 1.0, SETTLE_S, VALID_S]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(
        rung=st.sampled_from(list(UpdateRung)),
        release=st.sampled_from(RELEASES),
        touches=st.sampled_from(list(Criticality)),
        gap_ms=st.sampled_from([0, 50, 2_000, 600_000]),
    )
    def ask(self, rung: UpdateRung, release: bytes, touches: Criticality, gap_ms: int) -> None:
        self.nonce = (self.nonce + 1) % 256
        asked = question(rung, gap_ms=gap_ms, touches=touches, release=release, nonce=self.nonce)
        self.book.asked(asked, now_s=self.now_s)
        answer, refusal = self.issuer.answer(asked, self.moment(), now_s=self.now_s)
        self.asked_s = self.now_s
        self.asked_in = self.state if refusal is None else None
        self.on_the_way.append(answer)

    @rule()
    def deliver(self) -> None:
        for report in self.on_the_way:
            if "state" in report and "nonce" not in report:
                self.book.void("the clinical state has changed")
            else:
                self.book.answered(report)
        self.on_the_way.clear()

    @rule(release=st.sampled_from(RELEASES), rung=st.sampled_from(list(UpdateRung)))
    def activate(self, release: bytes, rung: UpdateRung) -> None:
        heard = not self.on_the_way
        try:
            used = self.book.redeem(release, rung, now_s=self.now_s)
        except SafetyRefusal:
            return
        assert (used.release, used.rung) == (release, rung)
        assert self.now_s - self.asked_s < VALID_S
        assert self.asked_in is not None
        assert rung in LONGEST_GAP_MS[self.asked_in]
        assert used.gap_ms <= LONGEST_GAP_MS[self.asked_in][rung]
        if heard:  # What is still on the way cannot be known; what was heard must hold.
            assert self.state is self.asked_in
            assert not self.alarms
        with pytest.raises(SafetyRefusal):
            self.book.redeem(release, rung, now_s=self.now_s)

    @invariant()
    def nothing_is_granted_while_alarming(self) -> None:
        if not self.on_the_way and self.state is ClinicalState.ALARMING:
            assert self.book.reason(now_s=self.now_s)


TestDevice = Device.TestCase
