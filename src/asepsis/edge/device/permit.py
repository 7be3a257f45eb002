"""The permit: whether now is a moment in which an update may be activated. Pure.

The supervisor asks before every activation; the critical compartment answers with a permit that is
good for at most five seconds, or with a reason. Nothing else can make one: no emergency, no time
that has passed, no word from the hub. A permit is void as soon as what it rested on has changed.

Source: docs/reference/requests.md; CLAIM-UPDATE-001.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from asepsis.core.errors import FramingError, SafetyRefusal
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import Criticality
from asepsis.core.model.manifest_claims import PATIENT_STATES

VALID_S: Final = 5.0
"""Longest life of a permit, seconds from the question on."""
SETTLE_S: Final = 3.0
"""How long a clinical state must have held: a patient between two beds is still a patient."""
GAP_MS_MAX: Final = 3_600_000
RELEASE_BYTES: Final = 32
NONCE_BYTES: Final = 16


class UpdateRung(StrEnum):
    """How an update takes effect, least disruptive first."""

    CONFIGURATION = "configuration"
    SWAP = "swap"
    RESTART = "restart"
    LIVE_PATCH = "live-patch"
    IMAGE = "image"


class Refusal(StrEnum):
    """Why there is no permit; the words are stable."""

    STATE = "never by this rung in this clinical state"
    GAP = "the gap is longer than this clinical state allows"
    PATIENT = "it replaces what a patient depends on, and a patient may be attached"
    ALARM = "an alarm condition is active"
    SETTLING = "the clinical state has just changed"
    REQUEST = "a request waits for a person"


_S, _R = ClinicalState, UpdateRung
_NO_PATIENT: Final = {
    _R.CONFIGURATION: 60_000,
    _R.SWAP: 60_000,
    _R.RESTART: 60_000,
    _R.LIVE_PATCH: 60_000,
    _R.IMAGE: 600_000,
}
LONGEST_GAP_MS: Final[Mapping[ClinicalState, Mapping[UpdateRung, int]]] = {
    # What leaves the device may pause for as long as the hub's lease; what is measured never does.
    _S.IN_USE: {_R.CONFIGURATION: 50, _R.SWAP: 50, _R.RESTART: 2_000},
    _S.ALARMING: {},
    _S.STANDBY: {_R.CONFIGURATION: 1_000, _R.SWAP: 1_000, _R.RESTART: 5_000},
    _S.IDLE: _NO_PATIENT,
    _S.CLEANING: _NO_PATIENT,
    _S.MAINTENANCE: dict.fromkeys(_R, GAP_MS_MAX),
}
"""Longest gap by clinical state and rung, milliseconds; what is not named is never permitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the supervisor asks.

    Attributes:
        release: SHA-256 of the release.
        rung: How it would take effect.
        gap_ms: Longest gap in what the device sends or shows, 0 to `GAP_MS_MAX` milliseconds.
        touches: The most critical compartment that it replaces.
        nonce: Random, 16 bytes; the answer names it.
    """

    release: bytes
    rung: UpdateRung
    gap_ms: int
    touches: Criticality
    nonce: bytes

    def to_document(self) -> dict[str, Any]:
        """Return plain values for an order."""
        return {
            "release": self.release.hex(),
            "rung": self.rung.value,
            "gap_ms": self.gap_ms,
            "touches": self.touches.value,
            "nonce": self.nonce.hex(),
        }


def read_question(document: Mapping[str, Any]) -> Question:
    """Read what `Question.to_document` wrote.

    Raises:
        FramingError: Another form, or a field outside its range.
    """
    try:
        question = Question(
            release=bytes.fromhex(document["release"]),
            rung=UpdateRung(document["rung"]),
            gap_ms=int(document["gap_ms"]),
            touches=Criticality(document["touches"]),
            nonce=bytes.fromhex(document["nonce"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FramingError("not a question for a permit") from error
    sizes = (len(question.release), len(question.nonce))
    if sizes != (RELEASE_BYTES, NONCE_BYTES) or not 0 <= question.gap_ms <= GAP_MS_MAX:
        raise FramingError("a field of the question is outside its range")
    return question


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What the critical compartment judges by.

    Attributes:
        state: Clinical state.
        attached: Whether a patient is attached, whatever the state.
        alarms: Active alarm conditions.
        held_s: How long the state has held, seconds.
        request_waits: Whether a request waits for a person.
    """

    state: ClinicalState
    attached: bool
    alarms: int
    held_s: float
    request_waits: bool


def judge(question: Question, present: Present) -> Refusal | None:
    """Return why there is no permit, or None: it is permitted."""
    longest_ms = LONGEST_GAP_MS[present.state].get(question.rung)
    patient = present.attached or present.state in PATIENT_STATES
    checks = (
        (present.alarms > 0, Refusal.ALARM),
        (longest_ms is None, Refusal.STATE),
        (patient and question.touches is not Criticality.EXPENDABLE, Refusal.PATIENT),
        (question.gap_ms > (longest_ms or 0), Refusal.GAP),
        (present.held_s < SETTLE_S, Refusal.SETTLING),
        (present.request_waits, Refusal.REQUEST),
    )
    return next((refusal for holds, refusal in checks if holds), None)


class PermitIssuer:
    """The critical compartment's side: remembers the last permit, and takes it back."""

    def __init__(self) -> None:
        self._nonce = b""
        self._state = ClinicalState.IDLE
        self._until_s = 0.0

    def answer(
        self, question: Question, present: Present, *, now_s: float
    ) -> tuple[dict[str, Any], Refusal | None]:
        """Answer a question.

        Returns:
            The answer as it is reported, and why there is no permit.
        """
        refusal = judge(question, present)
        if refusal is None:
            self._nonce, self._state, self._until_s = question.nonce, present.state, now_s + VALID_S
        document = {
            "nonce": question.nonce.hex(),
            "release": question.release.hex(),
            "rung": question.rung.value,
            "granted": refusal is None,
            "reason": refusal.value if refusal else "",
            "state": present.state.name,
        }
        return document, refusal

    def withdrawn(self, present: Present, *, now_s: float) -> str:
        """Return the nonce of a permit that does not hold any more, once; else empty."""
        if not self._nonce:
            return ""
        if now_s >= self._until_s:
            self._nonce = b""
            return ""
        if present.state is self._state and not present.alarms:
            return ""
        nonce, self._nonce = self._nonce.hex(), b""
        return nonce


UNANSWERED: Final = "the critical compartment has not answered"


@dataclass(slots=True)
class _Open:
    question: Question
    asked_s: float
    granted: bool = False
    reason: str = UNANSWERED


class PermitBook:
    """The supervisor's side: one question at a time, and what became of it."""

    def __init__(self) -> None:
        self._open: _Open | None = None

    def asked(self, question: Question, *, now_s: float) -> None:
        """A question was sent; an earlier one is void."""
        self._open = _Open(question, now_s)

    def answered(self, report: Mapping[str, Any]) -> None:
        """The critical compartment said something of a permit; what fits no question is ignored."""
        found = self._open
        if found is None or report.get("nonce") != found.question.nonce.hex():
            return
        same = report.get("release") == found.question.release.hex()
        found.granted = same and report.get("granted") is True
        found.reason = str(report.get("reason", ""))[:100] or "it was taken back"

    def void(self, reason: str) -> None:
        """Void what is open: the critical compartment is gone, or its state has changed."""
        if self._open:
            self._open.granted, self._open.reason = False, reason

    def reason(self, *, now_s: float) -> str:
        """Return why nothing is permitted now; empty if something is."""
        found = self._open
        if found is None:
            return "nobody asked"
        if found.granted and now_s - found.asked_s >= VALID_S:
            return "the permit has run out"
        return "" if found.granted else found.reason

    def redeem(self, release: bytes, rung: UpdateRung, *, now_s: float) -> Question:
        """Use the permit up: what it permits must be begun at once.

        Raises:
            SafetyRefusal: There is none for this release and rung, or it does not hold any more.
        """
        found, why = self._open, self.reason(now_s=now_s)
        if why or found is None:
            raise SafetyRefusal(f"no permit: {why}")
        if (found.question.release, found.question.rung) != (release, rung):
            raise SafetyRefusal("the permit is for another release or rung")
        self._open = None
        return found.question
