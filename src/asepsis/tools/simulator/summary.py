"""What a demonstration came to, for people and for scripts."""

from dataclasses import dataclass, field
from typing import Final

from asepsis.tools.simulator import cast

UNRENEWED_S_MAX: Final = 6.5
"""A value stands for its period and 5 s; the rest is how often the witness looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attack on the monitor of the demonstration.

    Attributes:
        name: Its name in the table of `asepsis device attack`.
        title: What it tries.
        every: What it came to with every layer.
        without: What it came to without the filter of system calls.
        stopped_by: Layers of this machine each of which stops it, or why it comes to nothing.
        gap_ms: Longest time between two blocks of the waveform meanwhile, milliseconds.
    """

    name: str
    title: str
    every: str
    without: str
    stopped_by: str
    gap_ms: float


@dataclass(slots=True)
class Summary:
    """What happened. A figure is None until its act was played, or if it was not seen.

    Attributes:
        devices: Devices of the ward.
        legacy: Of these, those that speak HL7 v2 through the gateway.
        live_s: Start of everything to every device live in the view, seconds.
        associated_s: Admissions to every patient's fixed devices confirmed, seconds.
        move_s: A transfer by ADT to the devices of both beds, seconds.
        layers: Protections that hold on this machine.
        layers_absent: Protections that do not.
        keys_separated: Whether the signer runs as a user of its own.
        made: Records that devices and senders produced.
        acknowledged: Different records that were acknowledged to them.
        received: Different records that the subscriber pulled.
        late: Of the acknowledged ones, those that came on the late lane.
        messages: Of the acknowledged ones, HL7 v2 messages.
        lost: Acknowledged and never received.
        duplicated: Received more than once.
        foreign: Received and never made.
        alarm_ms: Alarm condition to durable acknowledgement, milliseconds.
        alarm_view_ms: Alarm condition to the live view, milliseconds.
        intellivue_live_s: Start of the second gateway to the monitor of a maker's own protocol
            live in a view, seconds.
        sdc_live_s: Start of the second gateway to all values of the SDC ventilator live in a view,
            seconds.
        image_stored_s: Start of a C-STORE to its success, seconds.
        image_archived_s: The same to the image in the old PACS; None without an Orthanc here.
        ehr_messages: HL7 v2 messages that the old EHR acknowledged.
        outage_s: How long the ward was cut off from the hub, seconds.
        blank_s: From the cut to the last value gone from the view, seconds.
        silent: Devices that the hub raised an alarm for, because they were silent.
        live_again_s: From the return to every device live again, seconds.
        ended_shown_s: How long an alarm that began and ended in the outage stood in the view
            after the return, seconds.
        crash_s: From the kill of the hub to its readiness, seconds.
        attacks: Attempts of the intruder.
        attacks_succeeded: Those that succeeded.
        attacks_without_seccomp: Those that succeeded when the filter of system calls was removed.
        attempts: Each attack on the device itself.
        waveform_gap_ms: Longest time between two blocks of the waveform under attack, milliseconds.
        waveform_peace_ms: The same in the ten seconds before.
        forgery_ms: First forged batch to the hub's alarm in the live view, milliseconds.
        revoked_ms: Revocation to refusal seen at the device, milliseconds.
        age_s_max: Greatest age of a value on the screen, by the device's own time, seconds.
        unrenewed_s_max: Longest time a value stood on the screen without renewal, seconds.
        simulated: What in this story is not real.
        failures: What went otherwise than told.
    """

    devices: int = len(cast.PLAYERS)
    legacy: int = len(cast.LEGACY)
    live_s: float | None = None
    associated_s: float | None = None
    move_s: float | None = None
    layers: list[str] = field(default_factory=list[str])
    layers_absent: list[str] = field(default_factory=list[str])
    keys_separated: bool = False
    made: int = 0
    acknowledged: int = 0
    received: int = 0
    late: int = 0
    messages: int = 0
    lost: int = 0
    duplicated: int = 0
    foreign: int = 0
    alarm_ms: float | None = None
    alarm_view_ms: float | None = None
    intellivue_live_s: float | None = None
    sdc_live_s: float | None = None
    image_stored_s: float | None = None
    image_archived_s: float | None = None
    ehr_messages: int = 0
    outage_s: float | None = None
    blank_s: float | None = None
    silent: int | None = None
    live_again_s: float | None = None
    ended_shown_s: float | None = None
    crash_s: float | None = None
    attacks: int = 0
    attacks_succeeded: list[str] = field(default_factory=list[str])
    attacks_without_seccomp: list[str] = field(default_factory=list[str])
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    waveform_gap_ms: float | None = None
    waveform_peace_ms: float | None = None
    forgery_ms: float | None = None
    revoked_ms: float | None = None
    age_s_max: float = 0.0
    unrenewed_s_max: float = 0.0
    simulated: str = "the patients and their values"
    failures: list[str] = field(default_factory=list[str])

    @property
    def bad(self) -> bool:
        """Whether anything was lost, repeated, forged or stale, or went otherwise than told."""
        return bool(
            self.lost
            or self.duplicated
            or self.foreign
            or self.attacks_succeeded
            or self.ended_shown_s
            or self.unrenewed_s_max > UNRENEWED_S_MAX
            or self.failures
        )
