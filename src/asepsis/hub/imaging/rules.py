"""Who may bring an image, how many at once, and what a repeated instance means. Pure.

Source: DICOM PS3.18 section 10.5; REQ-IMG.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from asepsis.core.errors import InputError, NotPermitted, RateLimited
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.wire.dicom_facts import Reason
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
USER_HEADER: Final = "Asepsis-User"
PERSON_CHARS_MAX: Final = 120
RETRY_BUSY_S: Final = 2
PrivatePolicy = Literal["keep", "quarantine"]


@dataclass(frozen=True, slots=True)
class PrivateTags:
    """What becomes of an object with private elements; bytes are changed by neither.

    Attributes:
        default: Of a source that is not named.
        by_source: Name of a device -> its policy.
    """

    default: PrivatePolicy = "keep"
    by_source: Mapping[str, PrivatePolicy] = field(default_factory=dict[str, PrivatePolicy])

    def ask(self, device: str) -> Literal["keep", "refuse"]:
        """Return what the inspection is told of an object of a device."""
        return "keep" if self.by_source.get(device, self.default) == "keep" else "refuse"


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
        NotPermitted: Somebody else's device, or a gateway that is declared for none.
        InputError: A gateway that names none of several.

    Source: REQ-IMG-004.
    """
    if not named:
        return _only_device(principal)
    if not principal.speaks_for(named):
        raise NotPermitted("the sender is not declared as a source for this device")
    return named


def _only_device(principal: Principal) -> str:
    if principal.kind is not PrincipalKind.GATEWAY:
        return principal.name
    if not principal.declared:
        raise NotPermitted("the gateway is not declared as a source for any device")
    if len(principal.declared) > 1:
        raise InputError(
            "the request names no device", hint=f"{DEVICE_HEADER}: <name of the modality>"
        )
    return next(iter(principal.declared))


def person(named: str | None) -> str:
    """Return the user of the modality as it is kept; empty if the request names none.

    Raises:
        InputError: Too long, or not printable.
    """
    user = (named or "").strip()
    if len(user) > PERSON_CHARS_MAX or (user and not user.isprintable()):
        raise InputError(f"{USER_HEADER}: not a user's name")
    return user


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long images are held.

    Attributes:
        keep_ns: After they came, if their archives accepted them; nanoseconds.
        keep_full_ns: The same once the hub is nearly full.
        quarantine_ns: How long an object stands in quarantine.
        full_part: Part of the budget at which the hub is nearly full.
    """

    keep_ns: int
    keep_full_ns: int
    quarantine_ns: int
    full_part: float = 0.8


def may_purge(
    keeping: Keeping,
    *,
    received_at_ns: int,
    accepted_at_ns: int | None,
    now_ns: int,
    full: bool,
) -> bool:
    """Say whether an instance may go.

    Args:
        keeping: How long at least.
        received_at_ns: When it came.
        accepted_at_ns: When its archives had accepted it; None if they have not.
        now_ns: Wall time now.
        full: Whether the hub is nearly full.

    Source: REQ-IMG-006.
    """
    if accepted_at_ns is None:
        return False
    held_ns = now_ns - received_at_ns
    return held_ns >= (keeping.keep_full_ns if full else keeping.keep_ns)
