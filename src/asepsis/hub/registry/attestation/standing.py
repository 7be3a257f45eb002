"""How a device stands, in values and in words; no clock, no rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FRESH_NS: Final = 3_600 * 10**9
"""How long a verdict is shown as present; after it, as what once was."""
MINUTE_NS: Final = 60 * 10**9


class State(StrEnum):
    """How far a device is verified."""

    NONE = "none"
    """Nobody opened its commissioning."""
    OPEN = "open"
    """A person waits for its TPM."""
    LAPSED = "lapsed"
    """The commissioning was opened and nobody came in time."""
    BOUND = "bound"
    """Its TPM is known; nothing was verified yet."""
    BOOTED = "booted"
    RUNNING = "running"
    STALE = "stale"
    """It was verified, and has not answered for long."""
    REFUSED = "refused"
    """Its newest answer was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What is kept about one device.

    Attributes:
        name: SAN URI.
        person: Who opened its commissioning.
        opened_ns: When, nanoseconds since 1970.
        until_ns: Until when its TPM may come.
        recorded: SHA-256 of the endorsement key that a person recorded; empty where the
            certificate of the TPM's maker decides.
        ek_sha256: SHA-256 of its endorsement key's SPKI; empty until its TPM came.
        ak: Public area of its attestation key; None until then.
        bound_ns: When its TPM came; 0 until then.
        secure_boot: Register 7 at commissioning, hexadecimal; empty until the first answer.
        floor_base: Value of the floor's counter at commissioning.
        resets: Of its TPM at the newest accepted answer.
        clock_ms: Of its TPM at the newest accepted answer.
        standing: `booted`, `running`, `refused`, or empty.
        reason: Why it was refused.
        release: What it started, at the newest accepted answer.
        changes: What it changed since it started.
        judged_ns: When its newest answer was judged; 0 for never.
    """

    name: str
    person: str
    opened_ns: int
    until_ns: int
    recorded: str = ""
    ek_sha256: str = ""
    ak: bytes | None = None
    bound_ns: int = 0
    secure_boot: str = ""
    floor_base: int = 0
    resets: int = 0
    clock_ms: int = 0
    standing: str = ""
    reason: str = ""
    release: str = ""
    changes: int = 0
    judged_ns: int = 0

    def state(self, now_ns: int) -> State:
        """Return how far it is verified now."""
        if self.standing == State.REFUSED:
            return State.REFUSED
        if self.standing:
            fresh = now_ns - self.judged_ns <= FRESH_NS
            return State(self.standing) if fresh else State.STALE
        if self.ak is not None:
            return State.BOUND
        return State.OPEN if now_ns < self.until_ns else State.LAPSED

    @property
    def tpm(self) -> str:
        """How its TPM is known, in words."""
        if self.ak is None:
            return ""
        if self.recorded:
            return f"TPM as recorded by {self.person}"
        return "TPM certified by its maker"


TONES: Final[Mapping[State, str]] = {
    State.NONE: "",
    State.OPEN: "info",
    State.LAPSED: "warn",
    State.BOUND: "warn",
    State.BOOTED: "info",
    State.RUNNING: "good",
    State.STALE: "warn",
    State.REFUSED: "bad",
}
"""Colour beside the words, never instead of them."""
_WORDS: Final[Mapping[State, str]] = {
    State.NONE: "not attested",
    State.OPEN: "waits for its TPM",
    State.LAPSED: "its TPM did not come in time",
    State.BOUND: "TPM known, nothing verified yet",
    State.BOOTED: "booted verified: {release}",
    State.RUNNING: "running verified: {release}",
    State.STALE: "was {standing} verified {minutes} min ago, silent since: {release}",
    State.REFUSED: "NOT VERIFIED: {reason}",
}


def words(device: Device | None, *, now_ns: int) -> str:
    """Return how a device stands, as people read it."""
    if device is None:
        return _WORDS[State.NONE]
    state = device.state(now_ns)
    minutes = max(0, now_ns - device.judged_ns) // MINUTE_NS
    said = _WORDS[state].format(
        release=device.release, standing=device.standing, minutes=minutes, reason=device.reason
    )
    if state is State.RUNNING and device.changes:
        said += f" with {device.changes} measured changes"
    return said
