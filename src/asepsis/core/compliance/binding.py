"""Does a message agree with who sent it, whom the device is used for, and what time it is.

Five facts must agree: the certificate that brought it, the device it claims, the patient that the
device is used for now, and the clock; units and ranges are judged in `values`.

Source: docs/explanation/compliance.md; IHE PCIM (association); HL7 v2.8.2 chapter 2A.2.14 (CX).
"""

from collections.abc import Sequence
from typing import Final

from asepsis.core.compliance.profile import Patients, Profile
from asepsis.core.compliance.verdict import Finding, Rule
from asepsis.core.mapping.adt import claimed_patients
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.hl7 import Message

NS_PER_S: Final = 1_000_000_000
_INSTANTS: Final = frozenset((Certainty.OFFSET, Certainty.ZONE, Certainty.AMBIGUOUS))


def is_same_patient(claimed: PatientId, associated: PatientId) -> bool:
    """Tell whether two identifiers can be one patient's: an authority that is not said agrees.

    Source: HL7 v2.8.2 section 2A.2.14 (CX.4 may be left out inside one domain).
    """
    authorities = claimed.authority, associated.authority
    return claimed.value == associated.value and (
        authorities[0] == authorities[1] or "" in authorities
    )


def judge_patient(
    profile: Profile, message: Message, associated: PatientId | None
) -> tuple[Finding, ...]:
    """Compare PID-3 with the confirmed association of the device; what live views mark.

    A message that names no patient, or a device that is used for nobody yet, contradicts nothing.

    Args:
        profile: Of the device.
        message: What it sent.
        associated: Whom the device is confirmed for; None for nobody.
    """
    if associated is None:
        return ()
    named = claimed_patients(message)
    if all(any(is_same_patient(claimed, associated) for claimed in ids) for ids in named):
        return ()
    return (_patient(profile, "the message names another patient than the association"),)


def judge_chart_patient(
    profile: Profile, message: Message | None, associated: PatientId | None
) -> tuple[Finding, ...]:
    """Say whether a chart would know whose the values are; stricter than `judge_patient`.

    Args:
        profile: Of the device.
        message: What it sent; None for data that names no patient.
        associated: Whom the device was confirmed for when it measured; None for nobody.
    """
    if associated is not None:
        return judge_patient(profile, message, associated) if message is not None else ()
    if profile.patient is Patients.CLAIMED and message is not None:
        named = claimed_patients(message)
        if len(named) == 1 and named[0]:
            return ()
    return (_patient(profile, "the device has no confirmed association"),)


def judge_clock(
    profile: Profile, *, said_ns: int, later_by_ns: int, certainty: Certainty, arrived_at_ns: int
) -> tuple[Finding, ...]:
    """Compare the device's own time with that of the first machine of ours that saw it.

    Args:
        profile: Of the device.
        said_ns: Its own time, nanoseconds since 1970.
        later_by_ns: How much later it may have been, in the hour that clocks repeat.
        certainty: How surely the written time names an instant.
        arrived_at_ns: Wall time of arrival.
    """
    if certainty not in _INSTANTS:
        return (_clock(profile, f"the time of the value is {certainty.value}"),)
    off_ns = min(abs(arrived_at_ns - said_ns), abs(arrived_at_ns - said_ns - later_by_ns))
    if off_ns <= profile.clock.skew_s_max * NS_PER_S:
        return ()
    side = "behind" if said_ns < arrived_at_ns else "ahead"
    return (_clock(profile, f"{off_ns // NS_PER_S} s {side}"),)


def judge_identity(
    profile: Profile, *, certified: str, claimed: Sequence[str], spoken_for: frozenset[str]
) -> tuple[Finding, ...]:
    """Compare the certificate that brought data with the devices that the data claims.

    Args:
        profile: Of the device.
        certified: Name in the certificate.
        claimed: Names of the devices in the content.
        spoken_for: Names that this certificate may speak for beside its own.
    """
    foreign = [name for name in claimed if name != certified and name not in spoken_for]
    if not foreign:
        return ()
    reason = "the content claims a device that its sender may not speak for"
    return (Finding(Rule.IDENTITY, profile.severity(Rule.IDENTITY), reason),)


def _patient(profile: Profile, reason: str) -> Finding:
    return Finding(Rule.PATIENT, profile.severity(Rule.PATIENT), reason, "PID-3")


def _clock(profile: Profile, reason: str) -> Finding:
    return Finding(Rule.CLOCK, profile.severity(Rule.CLOCK), reason)
