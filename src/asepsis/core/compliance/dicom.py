"""Judges imaging objects by what their header says. Pure: whoever reads the object gives the facts.

Source: DICOM PS3.4 annex B (storage SOP classes), PS3.5 section 10 (transfer syntaxes).
"""

from dataclasses import dataclass
from typing import Final

from asepsis.core.compliance.profile import Profile
from asepsis.core.compliance.verdict import Finding, Rule, Severity, Verdict

UID_CHARS_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """What is judged of one object.

    Attributes:
        sop_class: SOP Class UID.
        transfer_syntax: Transfer Syntax UID.
        present: Keywords of the attributes that have a value, such as `PatientID`.
        header_bytes: Bytes before the pixel data.
    """

    sop_class: str
    transfer_syntax: str
    present: frozenset[str]
    header_bytes: int


def judge_object(profile: Profile, facts: ObjectFacts) -> Verdict:
    """Judge one object: SOP class, transfer syntax, required attributes, size of the header.

    Source: DICOM PS3.3 (attributes), PS3.6 (keywords).
    """
    found: list[Finding] = []
    images = profile.images
    if facts.header_bytes > profile.bytes_max:
        reason = f"a header of {facts.header_bytes} bytes"
        found.append(Finding(Rule.SIZE, profile.severity(Rule.SIZE), reason))
    for rule, uid, allowed in (
        (Rule.SOP_CLASS, facts.sop_class, images.sop_classes),
        (Rule.TRANSFER_SYNTAX, facts.transfer_syntax, images.transfer_syntaxes),
    ):
        if allowed and uid not in allowed:
            reason = f"{uid[:UID_CHARS_MAX]} is not what the device declares"
            found.append(Finding(rule, profile.severity(rule), reason))
    found += [
        Finding(Rule.REQUIRED, Severity.named(each.severity), "has no value", each.at)
        for each in profile.required
        if each.at not in facts.present
    ]
    return Verdict.of(found)
