"""Silence, fork, gap: the technical alarm conditions that the hub itself finds, as tables.

Pure. A condition is open or closed per device and cause; a fact moves it. Only a move that the
table names makes an event, so a repeated report is harmless and no end is ever invented.

Source: REQ-ORG-011, -013, -014, -015, REQ-ALM-003, -013; IEC 60601-1-8 clause 6.11.2.2.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final

from asepsis.core.model.alarm import AlarmPhase, AlarmPriority
from asepsis.core.model.clinical import ClinicalState

LEASE_MS_DEFAULT: Final = 2_000
LEASE_MS_MAX: Final = 10_000


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
    DEVICE_REMOVED = "the identity was revoked"


class Standing(Enum):
    """Whether a condition is present."""

    CLOSED = "closed"
    OPEN = "open"


_OPENS: Final[Mapping[Fact, Cause]] = {
    Fact.LEASE_EXPIRED: Cause.SILENCE,
    Fact.FORK_FOUND: Cause.FORK,
    Fact.GAP_OVERDUE: Cause.GAP,
    Fact.FORGERY_FOUND: Cause.FORGERY,
}
_CLOSES: Final[Mapping[Fact, tuple[Cause, ...]]] = {
    Fact.BATCH_ACCEPTED: (Cause.SILENCE,),
    # A new epoch starts a new chain. The old gap stays: its values are still missing.
    Fact.EPOCH_STARTED: (Cause.FORK,),
    Fact.GAPS_FILLED: (Cause.GAP,),
    Fact.FORGERY_QUIET: (Cause.FORGERY,),
    # A revoked device is nobody's to wait for; who revoked it stands in the audit log.
    Fact.DEVICE_REMOVED: tuple(Cause),
}

STEPS: Final[Mapping[tuple[Cause, Standing, Fact], tuple[Standing, AlarmPhase]]] = {
    (cause, Standing.CLOSED, fact): (Standing.OPEN, AlarmPhase.ONSET)
    for fact, cause in _OPENS.items()
} | {
    (cause, Standing.OPEN, fact): (Standing.CLOSED, AlarmPhase.END)
    for fact, causes in _CLOSES.items()
    for cause in causes
}
"""Every move there is; a pair that is absent changes nothing and makes no event."""


def step(cause: Cause, standing: Standing, fact: Fact) -> tuple[Standing, AlarmPhase | None]:
    """Return the next standing and the event it makes; (same, None) if the table has no move."""
    return STEPS.get((cause, standing, fact), (standing, None))


_WATCHED: Final = frozenset({ClinicalState.IN_USE, ClinicalState.ALARMING})


def priority(cause: Cause, state: ClinicalState | None) -> AlarmPriority:
    """Return the priority of a technical condition.

    Args:
        cause: What is wrong.
        state: Last clinical state the device signed; None if it never said one.

    Silence of a device on a patient is high: nobody hears its alarms from afar. Of a device in
    store it is low. An unknown state counts as on a patient.
    """
    on_patient = state is None or state in _WATCHED
    if cause is Cause.GAP:
        return AlarmPriority.LOW
    if cause is Cause.SILENCE:
        return AlarmPriority.HIGH if on_patient else AlarmPriority.LOW
    return AlarmPriority.HIGH if on_patient else AlarmPriority.MEDIUM


MDC_CODE: Final[Mapping[Cause, int]] = {
    # Partition 1024 (private): ISO/IEEE 11073-10101 has no code for what a hub finds.
    Cause.SILENCE: 1024 << 16 | 0xF001,
    Cause.FORK: 1024 << 16 | 0xF002,
    Cause.GAP: 1024 << 16 | 0xF003,
    Cause.FORGERY: 1024 << 16 | 0xF004,
}
TEXT: Final[Mapping[Cause, str]] = {
    Cause.SILENCE: "HUB: NO DATA FROM DEVICE",
    Cause.FORK: "HUB: TWO SOURCES USE ONE DEVICE KEY",
    Cause.GAP: "HUB: DATA MISSING",
    Cause.FORGERY: "HUB: FORGED DATA REFUSED",
}
"""Fixed texts: nothing that came from outside enters a text of the hub's own."""


def lease_ns(lease_ms: int | None) -> int:
    """Return the lease of a model in nanoseconds, default 2 s, at most 10 s."""
    return min(lease_ms or LEASE_MS_DEFAULT, LEASE_MS_MAX) * 1_000_000
