"""Who may bring an image, how many at once, and what a repeated instance means. Pure.

Source: DICOM PS3.18 section 10.5; REQ-IMG.
"""

from enum import Enum
from typing import Final

from asepsis.core.errors import InputError, NotPermitted, RateLimited
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.wire.dicom_file import Reason
from asepsis.core.wire.dicomweb_store import Failure
from asepsis.hub.access.principal import Principal

UPLOADS_MAX: Final = 32
"""Store requests that are received at once."""
UPLOADS_PER_IDENTITY_MAX: Final = 8
"""The same of one identity: a gateway with many associations."""
FINISHING_MAX: Final = 8
"""Instances of one request that are flushed, inspected and indexed while the next is received."""
BATCH_BYTES: Final = 1 << 20
"""Received bytes that go to the disk at once."""
INSTANCES_MAX: Final = 10_000
"""Instances of one request."""
HELD_MAX: Final = 4_000_000
"""Instances that the hub holds."""
QUARANTINED_MAX: Final = 10_000
"""Objects in quarantine; further ones are refused without being kept."""
AE_CHARS_MAX: Final = 16
DEVICE_HEADER: Final = "Asepsis-Device"
CALLING_HEADER: Final = "Asepsis-Calling-AE"
RETRY_BUSY_S: Final = 2


class Repeat(Enum):
    """What an instance is beside those that are held."""

    NEW = "new"
    SAME = "same"
    """The same UID and the same bytes: a success again."""
    CONFLICT = "conflict"
    """The same UID and other bytes: refused and quarantined."""


FAILURES: Final = {
    Reason.META_MISMATCH: Failure.MISMATCH,
    Reason.UID_MISSING: Failure.MISMATCH,
    Reason.INSPECTION_FAILED: Failure.PROCESSING,
}
"""Reasons of quarantine that DICOM has a word for; every other is `NOT_UNDERSTOOD`."""


def source_of(principal: Principal, named: str | None) -> str:
    """Return the device whose images a request brings.

    Args:
        principal: Who sends.
        named: What the request names; a device may leave it out.

    Raises:
        NotPermitted: Somebody else's device.
        InputError: A gateway that names none.

    Source: REQ-IMG-004.
    """
    if not named:
        if principal.kind is PrincipalKind.GATEWAY:
            raise InputError(
                "the request names no device", hint=f"{DEVICE_HEADER}: <name of the modality>"
            )
        return principal.name
    if not principal.speaks_for(named):
        raise NotPermitted("the sender is not declared as a source for this device")
    return named


def calling_ae(named: str | None) -> str:
    """Return the calling AE title as it is kept; empty if the request names none.

    Raises:
        InputError: Longer than an AE title, or not printable.

    Source: DICOM PS3.5 section 6.2 (AE).
    """
    title = (named or "").strip()
    if len(title) > AE_CHARS_MAX or not title.isascii() or (title and not title.isprintable()):
        raise InputError(f"{CALLING_HEADER}: not an AE title")
    return title


def repeat(held: tuple[int, bytes] | None, length: int, sha256: bytes) -> Repeat:
    """Compare an instance with the one that is held under its UID.

    Args:
        held: Length and SHA-256 of that one; None if there is none.
        length: Bytes of the new one.
        sha256: Its SHA-256.
    """
    if held is None:
        return Repeat.NEW
    return Repeat.SAME if held == (length, sha256) else Repeat.CONFLICT


def check_room(uploads: int, of_identity: int) -> None:
    """Refuse a request that would be one too many.

    Args:
        uploads: Store requests that are received now.
        of_identity: Those of the same identity.

    Raises:
        RateLimited: Too many; ask again.
    """
    if uploads >= UPLOADS_MAX or of_identity >= UPLOADS_PER_IDENTITY_MAX:
        raise RateLimited("too many images at once", retry_after_s=RETRY_BUSY_S)
