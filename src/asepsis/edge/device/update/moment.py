"""The safe moment: whether an update that lies ready may be installed now. Pure; fails closed.

What is not known counts as unsafe, and no time that passes makes a moment safe. There is no word
for "emergency" here: a campaign of emergency has no windows, and everything else holds for it too.

Source: docs/explanation/updates.md; CLAIM-UPDATE-001.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.update import WaitsFor
from asepsis.edge.device.occupied import Occupied

WINDOWS_MAX: Final = 64
BATTERY_PERCENT_MIN: Final = 50
POSTPONE_S: Final = 1_800
POSTPONEMENTS_MAX: Final = 4
CONSENT_S: Final = 900
"""How long a person's word holds, seconds: a bed changes faster than an hour."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A time in which the hospital allows installations.

    Attributes:
        opens_s: First second, since 1970.
        closes_s: First second after it.
    """

    opens_s: int
    closes_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What release, device model and hospital demand of the moment, the strictest of each.

    Attributes:
        states: Clinical states in which it may be installed.
        run_s: Seconds that the installation takes at most, self-tests included.
        rollback_s: Seconds that going back takes at most.
        consent: Whether a person at the device has to agree.
        reserve: Whether the device stands ready for an emergency (resuscitation, theatre, crash
            cart): then only after a person took it out of service.
        windows: When the device's own settings allow it; none for always.
        assigned: When the director that assigned it allows it, besides; none for always.
        hub: Whether the hub must be reachable: what it took back must not be installed. What
            mends the way to the hub does not ask for that.
    """

    states: frozenset[ClinicalState]
    run_s: int = 60
    rollback_s: int = 60
    consent: bool = False
    reserve: bool = False
    windows: tuple[Window, ...] = ()
    assigned: tuple[Window, ...] = ()
    hub: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a person at the device said of one update.

    Attributes:
        given_until_s: Until when the word "now" holds, monotonic seconds; 0 for never given.
        postponed_until_s: Until when nobody asks, monotonic seconds.
        postponed: How often it was postponed.
    """

    given_until_s: float = 0.0
    postponed_until_s: float = 0.0
    postponed: int = 0

    @property
    def may_postpone(self) -> bool:
        """Whether it may be put off once more; after that the campaign's people are told."""
        return self.postponed < POSTPONEMENTS_MAX

    def confirm(self, now_s: float) -> "Consent":
        """A person says: now."""
        return Consent(given_until_s=now_s + CONSENT_S, postponed=self.postponed)

    def postpone(self, now_s: float) -> "Consent":
        """A person says: later. Where that was said too often it changes nothing."""
        if not self.may_postpone:
            return self
        return Consent(postponed_until_s=now_s + POSTPONE_S, postponed=self.postponed + 1)

    def asks(self, now_s: float) -> bool:
        """Whether the question stands on the screen."""
        return now_s >= max(self.postponed_until_s, self.given_until_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the device knows of now.

    Attributes:
        state: Clinical state; None if the critical compartment has not said.
        attached: Whether a patient is attached; None if not known.
        alarms: Active alarm conditions; None if not known.
        occupied: Why it is not idle although it looks so.
        mains: Whether it runs on mains; None if not known.
        battery_percent: Charge, 0 to 100; None if not known.
        reachable: Whether the hub answers.
        wall_s: Trusted time, seconds since 1970; None while the clock is not synchronised.
        now_s: Monotonic seconds.
        out_of_service: Whether a person took the device out of service.
    """

    state: ClinicalState | None
    attached: bool | None = None
    alarms: int | None = None
    occupied: frozenset[Occupied] = frozenset()
    mains: bool | None = None
    battery_percent: int | None = None
    reachable: bool = False
    wall_s: int | None = None
    now_s: float = 0.0
    out_of_service: bool = False


def judge(terms: Terms, now: Situation, consent: Consent) -> WaitsFor | None:
    """Return what is waited for, or None: the moment is safe.

    People are asked last, so that their "now" has an effect.
    """
    checks: tuple[tuple[WaitsFor, Callable[[], bool]], ...] = (
        (WaitsFor.OUT_OF_SERVICE, lambda: now.out_of_service or not terms.reserve),
        (WaitsFor.PATIENT, lambda: not _patient(now) or ClinicalState.IN_USE in terms.states),
        (WaitsFor.CLINICAL_STATE, lambda: _state_fits(terms, now)),
        (WaitsFor.TIME, lambda: now.wall_s is not None or not (terms.windows or terms.assigned)),
        (WaitsFor.WINDOW, lambda: _fits_window(terms, now)),
        (WaitsFor.POWER, lambda: _powered(now)),
        (WaitsFor.CONNECTIVITY, lambda: now.reachable or not terms.hub),
        (WaitsFor.CONSENT, lambda: not terms.consent or now.now_s < consent.given_until_s),
    )
    return next((waits for waits, holds in checks if not holds()), None)


def _patient(now: Situation) -> bool:
    """Whether a patient depends on the device, or may: not known is a patient."""
    return now.attached is not False or Occupied.PATIENT_ASSOCIATED in now.occupied


def _state_fits(terms: Terms, now: Situation) -> bool:
    """Return whether the clinical state allows it; an alarm never does, whatever was signed."""
    if now.state is None or now.alarms is None or now.alarms or now.state is ClinicalState.ALARMING:
        return False
    used = now.occupied or _patient(now)
    needed = {now.state, ClinicalState.IN_USE} if used else {now.state}
    return needed <= terms.states


def _fits_window(terms: Terms, now: Situation) -> bool:
    """Return whether it can be done, and undone, before any window closes."""
    begins_s = now.wall_s
    if begins_s is None:
        return True
    ends_s = begins_s + terms.run_s + terms.rollback_s
    return all(
        any(w.opens_s <= begins_s and ends_s <= w.closes_s for w in windows)
        for windows in (terms.windows, terms.assigned)
        if windows
    )


def _powered(now: Situation) -> bool:
    return now.mains is True or (now.battery_percent or 0) >= BATTERY_PERCENT_MIN
