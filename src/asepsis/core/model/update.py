"""How far one update is on one device, and what it waits for: the words device and hub share.

Only the device moves this state, and only `VERIFIED` counts as success: what was written to a slot
is not known to work. Pure values; the wire form is `core.wire.update_report`.

Source: docs/explanation/updates.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant

TESTS_MAX: Final = 64
"""Self-tests of one update."""
TEXT_CHARS_MAX: Final = 200


class Outcome(StrEnum):
    """How far one update is on one device."""

    OFFERED = "offered"
    DOWNLOADED = "downloaded"
    STAGED = "staged"
    WAITING = "waiting"
    INSTALLING = "installing"
    BOOTED = "booted"
    SELF_TESTED = "self-tested"
    VERIFIED = "verified"
    AWAITING_ACCEPTANCE = "awaiting-acceptance"
    ROLLED_BACK = "rolled-back"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


_O = Outcome
NEXT: Final[Mapping[Outcome, frozenset[Outcome]]] = {
    _O.OFFERED: frozenset({_O.DOWNLOADED, _O.REFUSED, _O.WITHDRAWN}),
    _O.DOWNLOADED: frozenset({_O.STAGED, _O.REFUSED, _O.WITHDRAWN}),
    _O.STAGED: frozenset({_O.WAITING, _O.INSTALLING, _O.REFUSED, _O.WITHDRAWN}),
    _O.WAITING: frozenset({_O.WAITING, _O.INSTALLING, _O.REFUSED, _O.WITHDRAWN}),
    # From here on there is no way out but forward or back: half an update is never left standing.
    _O.INSTALLING: frozenset({_O.BOOTED, _O.ROLLED_BACK}),
    _O.BOOTED: frozenset({_O.SELF_TESTED, _O.ROLLED_BACK}),
    _O.SELF_TESTED: frozenset({_O.VERIFIED, _O.ROLLED_BACK}),
    # A device may fall back after success: what it reports wins over what anybody believes.
    _O.VERIFIED: frozenset({_O.AWAITING_ACCEPTANCE, _O.ROLLED_BACK}),
    _O.AWAITING_ACCEPTANCE: frozenset({_O.ROLLED_BACK}),
    _O.ROLLED_BACK: frozenset(),
    _O.REFUSED: frozenset(),
    _O.WITHDRAWN: frozenset(),
}
"""What may follow; what is not named is refused."""


class WaitsFor(StrEnum):
    """Why an update that could be installed is not: the safe moment has not come."""

    CLINICAL_STATE = "clinical-state"
    PATIENT = "patient"
    WINDOW = "window"
    POWER = "power"
    CONNECTIVITY = "connectivity"
    CONSENT = "consent"
    OUT_OF_SERVICE = "out-of-service"
    TIME = "trusted-time"
    PERMIT = "permit"
    BANDWIDTH = "bandwidth"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """One self-test, measured.

    Attributes:
        name: Its name in the signed release.
        measured: What was found, in `unit`.
        low: Lowest value that passes.
        high: Highest value that passes.
        unit: UCUM code.
    """

    __test__ = False  # A value of the field, not a test of ours.

    name: str
    measured: float
    low: float
    high: float
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the value lies within its tolerance; not-a-number does not."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReport:
    """What a device says of one update; signed by its origin key on the wire.

    Attributes:
        device: Who says it.
        epoch: Boot epoch, from 1.
        sequence: From 1, dense within the epoch.
        at: When, by the device.
        release: SHA-256 of the artefact, hexadecimal.
        component: Compartment or image that is replaced.
        counter: The release's own counter.
        outcome: How far it is.
        waits_for: With `WAITING`, why; else None.
        reason: For people, at most `TEXT_CHARS_MAX` characters; empty where nothing is to be said.
        tests: Self-tests with values, at most `TESTS_MAX`; from `SELF_TESTED` on.
    """

    device: DeviceId
    epoch: int
    sequence: int
    at: Instant
    release: str
    component: str
    counter: int
    outcome: Outcome
    waits_for: WaitsFor | None = None
    reason: str = ""
    tests: tuple[TestResult, ...] = ()
