"""Alarm notices as IHE ACM alert messages (PCD-04, ORU^R40), losses counted. Pure.

`pcd04` reads back the same event from what is written here, with the condition's own id.

Source: IHE PCD TF-2 revision 10.0 section 3.4 (PCD-04 Report Alert) and appendix B.8.
"""

import uuid
from collections.abc import Mapping
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.mapping.hl7_envelope import (
    MDC,
    NOBODY,
    OWN_NAMESPACE,
    Envelope,
    MessageWriter,
    Subject,
    device_word,
    mdc_triplet,
    time_is_cut,
    written_time,
)
from asepsis.core.mapping.loss import Mapped
from asepsis.core.mapping.pcd04 import EVENT_ALARM, FACETS
from asepsis.core.model.alarm import (
    AlarmKind,
    AlarmNotice,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.wire.hl7_build import Component

PROFILE: Final = ("IHE_PCD_ACM_001", "IHE PCD", "1.3.6.1.4.1.19376.1.6.4.4", "ISO")
_PHASES: Final[Mapping[AlarmPhase, str]] = {
    AlarmPhase.ONSET: "start",
    AlarmPhase.CHANGE: "update",
    AlarmPhase.END: "end",
}
_INACTIVATIONS: Final[Mapping[Inactivation, str]] = {
    Inactivation.NONE: "enabled",
    Inactivation.AUDIO_PAUSED: "audio-paused",
    Inactivation.AUDIO_OFF: "audio-off",
    Inactivation.ALARM_PAUSED: "alarm-paused",
    Inactivation.ALARM_OFF: "alarm-off",
    Inactivation.ACKNOWLEDGED: "alert-acknowledged",
}
_PRIORITIES: Final[Mapping[AlarmPriority, str]] = {
    AlarmPriority.HIGH: "PH",
    AlarmPriority.MEDIUM: "PM",
    AlarmPriority.LOW: "PL",
}
_KINDS: Final[Mapping[AlarmKind, str]] = {
    AlarmKind.PHYSIOLOGICAL: "SP",
    AlarmKind.TECHNICAL: "ST",
}
_SOURCE, _PHASE, _STATE, _INACTIVATION, _PRIORITY, _KIND = FACETS.items()


def alarm_to_message(
    notice: AlarmNotice,
    envelope: Envelope,
    *,
    subject: Subject = NOBODY,
    source_code: int | None = None,
) -> Mapped[bytes]:
    """Write one alarm event as an alert message.

    Args:
        notice: The event; its device is one that has a device name, not a gateway.
        envelope: Sender, receiver and name of the message.
        subject: The patient that the device was confirmed for when it happened.
        source_code: MDC code of the metric that the event refers to, where it is known.

    Returns:
        The message. Lost are the metric's handle, and what is finer than a tenth of a millisecond.

    Raises:
        InputError: No device name, a condition id that is no UUID, or text that cannot be written.
    """
    losses: list[str] = []
    event, at_ns = notice.event, notice.device_time_ns
    if time_is_cut(at_ns):
        losses.append("time: finer than a tenth of a millisecond")
    if event.source_handle and source_code is None:
        losses.append("source: the code of its metric is not known")
    writer = MessageWriter(envelope, kind=("ORU", "R40", "ORU_R40"), profile=PROFILE)
    writer.about(subject)
    writer.add("OBR", _order(notice))
    word, at = device_word(notice.device), written_time(at_ns)
    priority, kind = _PRIORITIES[event.priority], _KINDS[event.kind]
    flags: str | tuple[Component, ...] = priority
    rows: list[tuple[tuple[str, str, str], str | tuple[Component, ...]]] = [
        (mdc_triplet(event.mdc_code), event.text),
        ((*_SOURCE, MDC), mdc_triplet(source_code) if source_code is not None else ""),
        ((*_PHASE, MDC), _PHASES[event.phase]),
        ((*_STATE, MDC), _state(event.phase, latching=event.latching)),
        ((*_INACTIVATION, MDC), _INACTIVATIONS[event.inactivation]),
        ((*_PRIORITY, MDC), priority),
        ((*_KIND, MDC), kind),
    ]
    for number, (code, value) in enumerate(rows, 1):
        fields: dict[int, str | tuple[Component, ...]] = {
            1: str(number),
            2: "ST" if isinstance(value, str) else "CWE",
            3: code,
            4: f"1.0.0.0.{number}",
            5: value,
            11: "F",
            14: at,
            18: word,
        }
        if number == 1:
            fields[8] = flags
        writer.add("OBX", fields)
    return Mapped(writer.whole(), tuple(losses))


def _order(notice: AlarmNotice) -> dict[int, str | tuple[Component, ...]]:
    """Name the alert; every message after the first also names the first."""
    event = notice.event
    try:
        name = str(uuid.UUID(bytes=event.condition_id))
    except ValueError as error:
        raise InputError("a condition id has 16 bytes") from error
    order: dict[int, str | tuple[Component, ...]] = {
        1: "1",
        3: (name, OWN_NAMESPACE),
        4: mdc_triplet(EVENT_ALARM),
        7: written_time(notice.device_time_ns),
    }
    if event.phase is not AlarmPhase.ONSET:
        moment = f"{name}-{notice.device_time_ns:x}-{event.phase.value}"
        order |= {3: (moment, OWN_NAMESPACE), 29: ("", (name, OWN_NAMESPACE))}
    return order


def _state(phase: AlarmPhase, *, latching: bool) -> str:
    if latching:
        return "latched"
    return "inactive" if phase is AlarmPhase.END else "active"
