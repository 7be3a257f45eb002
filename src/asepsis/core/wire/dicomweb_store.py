"""The answer to a store request: what was stored, what was not, and why, instance by instance.

Source: DICOM PS3.18 section 10.5.3 and annex I (store instances response); failure reasons from
table I.2-2 and, where it names none, from PS3.7 annex C, as DIMSE services say the same.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

MEDIA: Final = b"application/dicom+json"


class Failure(IntEnum):
    """Why an instance was not stored: the value of Failure Reason (0008,1197)."""

    PROCESSING = 0x0110
    """Something failed here; the same instance may be sent again."""
    DUPLICATE = 0x0111
    """The instance is held with other bytes; PS3.7 annex C.5.7."""
    NOT_AUTHORISED = 0x0124
    """The sender may not store this one; PS3.7 annex C.5.9."""
    NO_RESOURCES = 0xA700
    """No space, or too much at once; send again later."""
    MISMATCH = 0xA900
    """The data set does not match what is said of it: UIDs, SOP class, study of the request."""
    NOT_UNDERSTOOD = 0xC000
    """Not a DICOM file, or one that was quarantined."""
    SYNTAX_UNSUPPORTED = 0xC122
    """A transfer syntax that is not taken."""


RETRY: Final = frozenset({Failure.PROCESSING, Failure.NO_RESOURCES})
"""Failures after which the same instance may be sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One instance of the answer.

    Attributes:
        sop_class: SOP Class UID; empty if it could not be read.
        sop_instance: SOP Instance UID; empty if it could not be read.
        retrieve_url: Where a stored instance is found; empty for one that was not stored.
        failure: Why it was not stored; None if it was.
    """

    sop_class: str
    sop_instance: str
    retrieve_url: str = ""
    failure: Failure | None = None


def status_of(instances: Sequence[Stored]) -> int:
    """Return the HTTP status: 200 all stored, 202 some, 409 none.

    Source: DICOM PS3.18 table 10.5.3-1.
    """
    failed = sum(each.failure is not None for each in instances)
    if not failed:
        return 200
    return 409 if failed == len(instances) else 202


def store_response(instances: Sequence[Stored], *, study_url: str = "") -> bytes:
    """Return the answer as DICOM JSON.

    Args:
        instances: Every instance of the request, in its order.
        study_url: Where the study is found, if all instances are of one.
    """
    answer: dict[str, Any] = {}
    if study_url:
        answer["00081190"] = {"vr": "UR", "Value": [study_url]}
    failed = [_reference(each) for each in instances if each.failure is not None]
    stored = [_reference(each) for each in instances if each.failure is None]
    if failed:
        answer["00081198"] = {"vr": "SQ", "Value": failed}
    if stored:
        answer["00081199"] = {"vr": "SQ", "Value": stored}
    return json.dumps(answer, separators=(",", ":")).encode()


def _reference(instance: Stored) -> dict[str, Any]:
    item = {"00081150": _uid(instance.sop_class), "00081155": _uid(instance.sop_instance)}
    if instance.failure is None:
        item["00081190"] = {"vr": "UR", "Value": [instance.retrieve_url]}
    else:
        item["00081197"] = {"vr": "US", "Value": [int(instance.failure)]}
    return item


def _uid(value: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [value]} if value else {"vr": "UI"}
