"""What a device's signed report changes. What the device says wins over what the hub believes.

The one thing that is not believed is success without proof: `verified` counts only with self-tests
that passed, because a device that lies about it would open the gate for all others.
"""

from dataclasses import replace
from typing import Final

from asepsis.core.model.update import Outcome, UpdateReport
from asepsis.hub.fleet.campaigns.model import DONE, SLOTTED, STARTED, Standing, Target
from asepsis.hub.fleet.campaigns.states import REACHABLE, moved

_O, _T = Outcome, Standing
_FALLEN: Final = frozenset({_O.ROLLED_BACK, _O.REFUSED})
_SUCCESS: Final = frozenset({_O.VERIFIED, _O.AWAITING_ACCEPTANCE})


def take(target: Target, report: UpdateReport, *, acceptance: bool, now_ns: int) -> Target:
    """Return how a campaign stands with a device after its report; the same if it is old news.

    Args:
        target: How it stood.
        report: Of the campaign's release and of this device; its signature was checked before.
        acceptance: Whether biomedical engineering accepts the device before it is used again.
        now_ns: Present time, nanoseconds since 1970.
    """
    if (report.epoch, report.sequence) <= (target.epoch, target.sequence):
        return target
    heard = replace(
        target,
        epoch=report.epoch,
        sequence=report.sequence,
        outcome=report.outcome,
        waits_for=report.waits_for,
        reason=report.reason,
    )
    standing, why = _standing(target, report, acceptance=acceptance)
    if standing is target.standing:
        return heard
    return replace(
        heard,
        standing=moved(target.standing, standing),
        since_ns=now_ns,
        reason=why or report.reason,
    )


def _standing(target: Target, report: UpdateReport, *, acceptance: bool) -> tuple[Standing, str]:
    """Return where a report leads, and why if the device did not say so itself."""
    before, outcome = target.standing, report.outcome
    if before in (_T.LEFT, _T.FAILED):
        return before, ""
    if outcome in _FALLEN:
        return _T.FAILED, ""
    if target.outcome not in (None, outcome) and outcome not in REACHABLE[target.outcome]:
        return _T.FAILED, f"says {outcome} after {target.outcome}"
    if outcome in _SUCCESS:
        return _succeeded(before, report, acceptance=acceptance)
    if outcome is _O.WITHDRAWN and before is _T.RECALLED:
        before = _T.PENDING
    elif outcome in STARTED and before not in SLOTTED:
        # Nobody assigned it, or it had ended well: to begin by itself is no success.
        return _T.FAILED, f"says {outcome} without being asked"
    return before, ""


def _succeeded(before: Standing, report: UpdateReport, *, acceptance: bool) -> tuple[Standing, str]:
    if not report.tests and before not in DONE:
        return _T.FAILED, "says verified and shows no self-test"
    failed = next((test.name for test in report.tests if not test.passed), None)
    if failed is not None:
        return _T.FAILED, f"says verified; its self-test {failed} did not pass"
    if before is _T.PENDING:
        return _T.FAILED, "says verified without being asked"
    if before is _T.ACCEPTED or before is _T.AWAITING_ACCEPTANCE:
        return before, ""
    waits = acceptance or report.outcome is _O.AWAITING_ACCEPTANCE
    return (_T.AWAITING_ACCEPTANCE if waits else _T.VERIFIED), ""
