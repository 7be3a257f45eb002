"""The technical alarm conditions that the hub itself finds, as tables.

Pure. A condition is open or closed per device and cause; a fact moves it. Only a move that the
table names makes an event, so a repeated report is harmless and no end is ever invented.

Source: REQ-ORG-011, -013, -014, -015, REQ-ALM-003, -013, -017, -020, REQ-ID-022;
IEC 60601-1-8 clause 6.11.2.2.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final

from asepsis.core.model.alarm import AlarmPhase, AlarmPriority
from asepsis.core.model.clinical import ClinicalState

LEASE_MS_DEFAULT: Final = 2_000
LEASE_MS_MAX: Final = 10_000
PERIOD_S_MAX: Final = 300
PERIOD_GRACE_S: Final = 5
_S: Final = 1_000_000_000


class Cause(StrEnum):
    """What can be wrong with a device as the hub sees it."""

    SILENCE = "silence"
    """No accepted live batch for longer than the lease."""
    FORK = "fork"
    """Two different records claim one number, or a previous hash does not match."""
    GAP = "gap"
    """A number is missing and late batches have not filled it yet."""
    FORGERY = "forgery"
    """A batch whose signature, key or name does not fit, or a bundle unlike its signed batch."""
    ALARMS_UNKNOWN = "alarms-unknown"
    """What is known of the device's active alarm conditions may have changed unseen."""
    GATEWAY = "gateway"
    """A gateway says nothing for longer than its lease."""
    REVOKED = "revoked"
    """The identity of a device under supervision was revoked: nobody hears its alarms from afar."""
    CERTIFICATES = "certificates"
    """Two certificates of one identity are in use; its key may have been copied."""
    SIGNER = "signer"
    """The signer raised an alarm: mostly, it was asked what nobody should ask."""
    INTRUSION = "intrusion"
    """A device reports that one of its compartments tried what no honest code tries."""


class Fact(Enum):
    """What was observed; facts are in the past tense."""

    BATCH_ACCEPTED = "a live batch was accepted"
    EPOCH_STARTED = "a higher boot epoch was accepted"
    LEASE_EXPIRED = "the lease ran out"
    FORK_FOUND = "the journal refused a fork"
    GAP_OVERDUE = "a gap outlived short reordering"
    GAPS_FILLED = "the account has no gap left"
    FORGERY_FOUND = "a signature, key, name or signed twin did not fit"
    FORGERY_QUIET = "no forgery for the quiet time"
    ALARMS_UNSEEN = "alarm events may have been missed while conditions were active"
    ALARMS_KNOWN = "a list of active conditions was accepted, or none is left"
    GATEWAY_LOST = "the gateway's lease ran out"
    GATEWAY_HEARD = "the gateway sent or asked something"
    CERTIFICATES_FOUND = "two certificates of the identity were used"
    CERTIFICATES_QUIET = "no second certificate for the quiet time"
    SIGNER_ALARMED = "the signer raised an alarm"
    INTRUSION_TOLD = "a device reported a grave denial"
    INTRUSION_QUIET = "no grave denial for the quiet time"
    SIGNER_QUIET = "no alarm of the signer for the quiet time"
    DEVICE_REVOKED = "the identity was revoked while it was under supervision"
    REVOCATION_OLD = "the revocation is a shift ago"
    DEVICE_REMOVED = "supervision ended"


class Standing(Enum):
    """Whether a condition is present."""

    CLOSED = "closed"
    OPEN = "open"


OPENED_BY: Final[Mapping[Fact, Cause]] = {
    Fact.LEASE_EXPIRED: Cause.SILENCE,
    Fact.FORK_FOUND: Cause.FORK,
    Fact.GAP_OVERDUE: Cause.GAP,
    Fact.FORGERY_FOUND: Cause.FORGERY,
    Fact.ALARMS_UNSEEN: Cause.ALARMS_UNKNOWN,
    Fact.GATEWAY_LOST: Cause.GATEWAY,
    Fact.DEVICE_REVOKED: Cause.REVOKED,
    Fact.CERTIFICATES_FOUND: Cause.CERTIFICATES,
    Fact.SIGNER_ALARMED: Cause.SIGNER,
    Fact.INTRUSION_TOLD: Cause.INTRUSION,
}
"""Which condition a fact begins."""
CLOSES: Final[Mapping[Fact, tuple[Cause, ...]]] = {
    # A revoked device that is heard was admitted again.
    Fact.BATCH_ACCEPTED: (Cause.SILENCE, Cause.REVOKED),
    # A new epoch starts a new chain. The old gap stays: its values are still missing.
    Fact.EPOCH_STARTED: (Cause.FORK,),
    Fact.GAPS_FILLED: (Cause.GAP,),
    Fact.FORGERY_QUIET: (Cause.FORGERY,),
    Fact.ALARMS_KNOWN: (Cause.ALARMS_UNKNOWN,),
    Fact.GATEWAY_HEARD: (Cause.GATEWAY, Cause.REVOKED),
    Fact.CERTIFICATES_QUIET: (Cause.CERTIFICATES,),
    Fact.SIGNER_QUIET: (Cause.SIGNER,),
    Fact.INTRUSION_QUIET: (Cause.INTRUSION,),
    Fact.REVOCATION_OLD: (Cause.REVOKED,),
    # Nobody waits for a revoked device; that it is revoked is said for a shift.
    Fact.DEVICE_REMOVED: tuple(cause for cause in Cause if cause is not Cause.REVOKED),
}
"""Which conditions a fact ends."""

STEPS: Final[Mapping[tuple[Cause, Standing, Fact], tuple[Standing, AlarmPhase]]] = {
    (cause, Standing.CLOSED, fact): (Standing.OPEN, AlarmPhase.ONSET)
    for fact, cause in OPENED_BY.items()
} | {
    (cause, Standing.OPEN, fact): (Standing.CLOSED, AlarmPhase.END)
    for fact, causes in CLOSES.items()
    for cause in causes
}
"""Every move there is; a pair that is absent changes nothing and makes no event."""


def step(cause: Cause, standing: Standing, fact: Fact) -> tuple[Standing, AlarmPhase | None]:
    """Return the next standing and the event it makes; (same, None) if the table has no move."""
    return STEPS.get((cause, standing, fact), (standing, None))


_WATCHED: Final = frozenset({ClinicalState.IN_USE, ClinicalState.ALARMING})
_HIGH, _MEDIUM, _LOW = AlarmPriority.HIGH, AlarmPriority.MEDIUM, AlarmPriority.LOW
_PRIORITIES: Final[Mapping[Cause, tuple[AlarmPriority, AlarmPriority]]] = {
    # Elsewhere, and on a patient or unknown.
    Cause.SILENCE: (_LOW, _HIGH),
    Cause.FORK: (_MEDIUM, _HIGH),
    Cause.GAP: (_LOW, _LOW),
    Cause.FORGERY: (_MEDIUM, _HIGH),
    # The silence or gap behind it has a priority of its own.
    Cause.ALARMS_UNKNOWN: (_LOW, _MEDIUM),
    Cause.GATEWAY: (_HIGH, _HIGH),
    Cause.REVOKED: (_LOW, _HIGH),
    Cause.CERTIFICATES: (_MEDIUM, _MEDIUM),
    Cause.SIGNER: (_LOW, _LOW),
    # The layers held: it is for the security team, and no reason to leave a patient.
    Cause.INTRUSION: (_LOW, _LOW),
}
QUIET: Final[Mapping[Cause, tuple[Fact, int]]] = {
    # What nothing but time can end: the fact that ends it, and after how many nanoseconds.
    Cause.FORGERY: (Fact.FORGERY_QUIET, 60 * _S),
    Cause.SIGNER: (Fact.SIGNER_QUIET, 3_600 * _S),
    Cause.INTRUSION: (Fact.INTRUSION_QUIET, 3_600 * _S),
    Cause.REVOKED: (Fact.REVOCATION_OLD, 12 * 3_600 * _S),
    Cause.CERTIFICATES: (Fact.CERTIFICATES_QUIET, 24 * 3_600 * _S),
}


def priority(cause: Cause, state: ClinicalState | None) -> AlarmPriority:
    """Return the priority of a technical condition.

    Args:
        cause: What is wrong.
        state: Last clinical state the device signed; None if it never said one.

    Silence of a device on a patient is high: nobody hears its alarms from afar. Of a device in
    store it is low. An unknown state counts as on a patient.
    """
    on_patient = state is None or state in _WATCHED
    elsewhere, on = _PRIORITIES[cause]
    return on if on_patient else elsewhere


MDC_CODE: Final[Mapping[Cause, int]] = {
    # Partition 1024 (private): ISO/IEEE 11073-10101 has no code for what a hub finds.
    Cause.SILENCE: 1024 << 16 | 0xF001,
    Cause.FORK: 1024 << 16 | 0xF002,
    Cause.GAP: 1024 << 16 | 0xF003,
    Cause.FORGERY: 1024 << 16 | 0xF004,
    Cause.ALARMS_UNKNOWN: 1024 << 16 | 0xF005,
    Cause.GATEWAY: 1024 << 16 | 0xF006,
    Cause.REVOKED: 1024 << 16 | 0xF007,
    Cause.CERTIFICATES: 1024 << 16 | 0xF008,
    Cause.SIGNER: 1024 << 16 | 0xF009,
    Cause.INTRUSION: 1024 << 16 | 0xF00A,
}
TEXT: Final[Mapping[Cause, str]] = {
    Cause.SILENCE: "HUB: NO DATA FROM DEVICE",
    Cause.FORK: "HUB: TWO SOURCES USE ONE DEVICE KEY",
    Cause.GAP: "HUB: DATA MISSING",
    Cause.FORGERY: "HUB: FORGED DATA REFUSED",
    Cause.ALARMS_UNKNOWN: "HUB: ALARM STATE OF DEVICE UNKNOWN",
    Cause.GATEWAY: "HUB: GATEWAY DOES NOT ANSWER",
    Cause.REVOKED: "HUB: DEVICE REVOKED",
    Cause.CERTIFICATES: "HUB: TWO CERTIFICATES OF ONE DEVICE IN USE",
    Cause.SIGNER: "HUB: ALARM OF THE CERTIFICATE SIGNER",
    Cause.INTRUSION: "HUB: DEVICE REPORTS AN INTRUSION ATTEMPT",
}
"""Fixed texts: nothing that came from outside enters a text of the hub's own."""


def lease_ns(lease_ms: int | None, *, period_s: int = 0) -> int:
    """Return a lease in nanoseconds.

    Args:
        lease_ms: Of the model; default 2 s, at most 10 s.
        period_s: How often a device that others speak for reports, at most 300 s: it is missed 5 s
            after that. 0 if nobody said.
    """
    if period_s:
        return (min(period_s, PERIOD_S_MAX) + PERIOD_GRACE_S) * _S
    return min(lease_ms or LEASE_MS_DEFAULT, LEASE_MS_MAX) * 1_000_000
