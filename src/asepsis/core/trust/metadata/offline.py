"""What a device accepts of an offline bundle, beside everything it asks of an online contact.

The offline role is a director of its own: another root of the hospital, pinned with the first one,
whose keys are held by people and never by a hub. It signs one set of metadata for each device, and
that set says what a bundle must say. Pure.

Source: Uptane Standard 2.1.0, section 5.2.3 and the PURE on offline updates.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, cast

import msgspec

from asepsis.core.errors import InputError, NotPermitted, TrustError
from asepsis.core.trust.metadata.judgement import Own
from asepsis.core.trust.metadata.library import Targets

FIELD: Final = "x-asepsis-bundle"
LIFETIME_S_MAX: Final = 14 * 86_400
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the offline role signs of a bundle for one device.

    Attributes:
        device: Name of the one device.
        hardware: Its hardware id.
        counter: Number of the bundle for this device, rising; also the metadata's version.
        prepared_s: When it was made, seconds since 1970.
        after: Version of the director's metadata that the hub had for this device then; 0 for
            none. A device that has seen a later one knows better.
    """

    device: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    hardware: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    counter: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    prepared_s: _Number
    after: _Number = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a device remembers.

    Attributes:
        counter: Number of the last bundle that it took; 0 for none.
        contact: Version of the director's metadata of its last online contact; 0 for none.
    """

    counter: int
    contact: int


def write_terms(targets: Targets, terms: Terms) -> None:
    """Put the terms into metadata that is yet to be signed."""
    targets.unrecognized_fields[FIELD] = msgspec.to_builtins(terms)


def read_terms(targets: Targets) -> Terms:
    """Return the terms of signed metadata.

    Raises:
        InputError: None there, or not exactly ours.
    """
    found = cast("Any", targets.unrecognized_fields).get(FIELD)
    try:
        return msgspec.convert(found, Terms)
    except msgspec.ValidationError as error:
        raise InputError(f"the bundle says nothing of itself: {error}") from error


def check(targets: Targets, *, own: Own, past: Past, now: datetime) -> Terms:
    """Return the terms of a bundle that may be used on this device now, or refuse.

    Args:
        targets: Verified metadata of the offline role.
        own: What the device is.
        past: What it remembers.
        now: Trusted time, or the date that a person confirmed; aware.

    Raises:
        NotPermitted: For another device.
        TrustError: Used before, superseded, for too long, or the device had contact since.
        InputError: No terms.
    """
    terms = read_terms(targets)
    if (terms.device, terms.hardware) != (own.device, own.hardware):
        raise NotPermitted("the bundle's metadata is for another device")
    if terms.counter != targets.version:
        raise InputError("the bundle's number and its version differ")
    if terms.counter == past.counter:
        raise TrustError("the bundle was used on this device before")
    if terms.counter < past.counter:
        raise TrustError("the bundle is superseded by one that was used on this device")
    if past.contact > terms.after:
        raise TrustError("the hub told this device something newer than the bundle")
    if targets.expires.timestamp() - terms.prepared_s > LIFETIME_S_MAX:
        raise TrustError("the bundle is signed for more than 14 days")
    if now.timestamp() < terms.prepared_s:
        raise TrustError("the bundle was prepared after the present time")
    return terms
