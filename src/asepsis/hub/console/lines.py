"""What a page says of a device, in the words of the ward. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.model.alarm import AlarmKind, AlarmNotice, AlarmPhase, Inactivation
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import PrincipalKind
from asepsis.hub.registry.records import DeviceSummary


@dataclass(frozen=True, slots=True)
class Word:
    """A state as a page shows it.

    Attributes:
        text: For people.
        tone: `good`, `warn`, `bad`, `info` or empty; never the only sign of anything.
    """

    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLine:
    """A device in a list.

    Attributes:
        summary: What the registry says.
        connection: Whether it is heard.
        state: What it does for a patient, in its own signed words.
        place: Where it stands; empty if nobody said.
        fixed: Whether it is fixed there.
        alarms: Its active conditions, the most urgent first.
    """

    summary: DeviceSummary
    connection: Word
    state: Word
    place: str
    fixed: bool
    alarms: tuple["AlarmLine", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmLine:
    """An alarm event in a list.

    Attributes:
        priority: `high`, `medium` or `low`.
        text: What the device, or the hub, calls it; foreign text.
        phase: What happened.
        kind: Physiological or technical.
        found_by_hub: Whether the hub found it, and not the device.
        signals: What the device's signals do, if they are not simply on.
        at_ns: When, nanoseconds since 1970.
        unknown_since_ns: Since when nobody knows whether it is still active; None if that is known.
    """

    priority: str
    text: str
    phase: str
    kind: str
    found_by_hub: bool
    signals: str
    at_ns: int
    unknown_since_ns: int | None = None


_STATES: Final = {
    ClinicalState.IN_USE: Word("In use", "info"),
    ClinicalState.ALARMING: Word("Alarming", "bad"),
    ClinicalState.STANDBY: Word("Standby"),
    ClinicalState.IDLE: Word("Idle"),
    ClinicalState.CLEANING: Word("Cleaning"),
    ClinicalState.MAINTENANCE: Word("Maintenance"),
}
_PHASES: Final = {
    AlarmPhase.ONSET: "began",
    AlarmPhase.CHANGE: "changed",
    AlarmPhase.END: "ended",
}
_SIGNALS: Final = {
    Inactivation.NONE: "",
    Inactivation.AUDIO_PAUSED: "audio paused",
    Inactivation.AUDIO_OFF: "audio off",
    Inactivation.ALARM_PAUSED: "alarm paused",
    Inactivation.ALARM_OFF: "alarm off",
    Inactivation.ACKNOWLEDGED: "acknowledged",
}
IN_USE: Final = frozenset((ClinicalState.IN_USE, ClinicalState.ALARMING))
"""States in which a patient may depend on what the device says."""


def connection_word(summary: DeviceSummary, *, present: bool, watched: bool) -> Word:
    """Say whether a machine is heard; revoked stands above everything."""
    if summary.revoked_at_ns is not None:
        return Word("Revoked", "bad")
    if summary.kind == PrincipalKind.CONSUMER.value:
        return Word("Consumer")
    if present:
        return Word("Connected", "good")
    return Word("Silent", "bad") if watched else Word("Never heard")


def state_word(state: ClinicalState | None, *, present: bool) -> Word:
    """Say what a device does for a patient; of a silent one only what it said last."""
    if state is None:
        return Word("\N{EM DASH}")
    word = _STATES[state]
    return word if present else Word(f"{word.text} when last heard", "warn")


def alarm_line(notice: AlarmNotice, *, unknown_since_ns: int | None = None) -> AlarmLine:
    """Return an alarm event as a page shows it.

    Args:
        notice: The event.
        unknown_since_ns: For an active condition, since when what the device told may have changed
            unseen; what the hub found it knows.
    """
    event = notice.event
    return AlarmLine(
        priority=event.priority.name.lower(),
        text=event.text or f"MDC {event.mdc_code}",
        phase=_PHASES[event.phase],
        kind="technical" if event.kind is AlarmKind.TECHNICAL else "physiological",
        found_by_hub=notice.assurance is None,
        signals=_SIGNALS[event.inactivation],
        at_ns=notice.device_time_ns,
        unknown_since_ns=None if notice.assurance is None else unknown_since_ns,
    )


def by_urgency(
    notices: Sequence[AlarmNotice], *, unknown_since_ns: int | None
) -> tuple[AlarmLine, ...]:
    """Return the active conditions of a device, the most urgent first.

    Args:
        notices: The newest event of each.
        unknown_since_ns: Since when what the device told may have changed unseen, nanoseconds since
            1970; None if it is known. Of one priority the known stand first, then the newest.

    Source: REQ-ALM-017.
    """

    def rank(notice: AlarmNotice) -> tuple[int, bool, int]:
        unknown = unknown_since_ns is not None and notice.assurance is not None
        return notice.event.priority, unknown, -notice.device_time_ns

    ordered = sorted(notices, key=rank)
    return tuple(alarm_line(notice, unknown_since_ns=unknown_since_ns) for notice in ordered)
