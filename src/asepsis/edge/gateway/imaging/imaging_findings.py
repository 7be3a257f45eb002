"""What the DICOM family tells people; `docs/reference/imaging-gateway.md` says what each asks."""

from enum import StrEnum


class ImagingFinding(StrEnum):
    """What can be found."""

    CLEARTEXT = "cleartext"
    UNKNOWN_SENDER = "unknown-sender"
    REJECTED = "association-rejected"
    TOO_MANY_ASSOCIATIONS = "too-many-associations"
    USER_REFUSED = "user-refused"
    UNDECLARED_CLASS = "undeclared-sop-class"
    MALFORMED = "malformed"
    SLOW = "slow"
    RATE = "rate"
    OVERSIZED = "oversized"
    REFUSED = "refused"
    REFUSED_BY_HUB = "refused-by-hub"
    NOT_ANSWERED = "not-answered"
    NOT_TOLD = "not-told"
    STEP_KEPT = "step-kept"
    SPOOLED = "spooled"
    SPOOL_FULL = "spool-full"
    SPOOL = "spool"
    PACS_AWAY = "pacs-away"
    HUB_AWAY = "hub-away"
    HUB_BACK = "hub-back"
