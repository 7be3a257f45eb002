"""What is offered when, and what a client's words mean. Pure.

No word of a client but a self-test's makes an update count as verified: `closed`/`success` says
that something was written, and for some clients not even that.

Source: Eclipse hawkBit, Direct Device Integration API version 1; docs/reference/ddi.md.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.core.errors import Conflict, NotFound
from asepsis.core.model.update import NEXT, Outcome
from asepsis.core.wire.ddi import Execution, Feedback, Finished
from asepsis.hub.fleet.ddi.model import CLOSED, Action, Kind, Stage, Target, Window
from asepsis.hub.fleet.ddi.profiles import SKIPPED, Profile

VERSION: Final = "asepsis-version"
SELF_TEST: Final = "asepsis-self-test"
BOOT: Final = "asepsis-boot"
"""Attributes in which a device says what it runs, how its self-test ended, and which boot it is."""
PASSED: Final = "passed"
FAILED: Final = "failed"
_NS: Final = 1_000_000_000
_O, _E, _S = Outcome, Execution, Stage


class Gone(Conflict):
    """The action has ended: nothing about it is taken any more (410)."""


class NotCancelable(Conflict):
    """The action is not being cancelled (405)."""


class Offer(StrEnum):
    """What a poll shows."""

    NOTHING = "nothing"
    CONFIRM = "confirmationBase"
    CANCEL = "cancelAction"
    DEPLOY = "deploymentBase"


@dataclass(frozen=True, slots=True)
class Words:
    """How an action is put to a client.

    Attributes:
        download: `skip`, `attempt` or `forced`.
        update: The same.
        window: `available`, `unavailable`, or empty without windows.
    """

    download: str
    update: str
    window: str


def window_at(windows: Sequence[Window], now_ns: int) -> Window | None:
    """Return the window that is open, or None."""
    return next((each for each in windows if each.opens_ns <= now_ns < each.closes_ns), None)


def window_after(windows: Sequence[Window], now_ns: int) -> Window | None:
    """Return the next window that has not opened yet, or None."""
    return next((each for each in windows if each.opens_ns > now_ns), None)


def is_open(action: Action, now_ns: int) -> bool:
    """Whether the action may be installed now, as far as its windows say."""
    return not action.windows or window_at(action.windows, now_ns) is not None


def has_lapsed(action: Action, now_ns: int) -> bool:
    """Whether its last window has closed."""
    return bool(action.windows) and action.windows[-1].closes_ns <= now_ns


def words_of(action: Action, now_ns: int) -> Words:
    """Return how an action is put to a client."""
    forced = action.kind is not Kind.SOFT and (
        action.kind is not Kind.TIME_FORCED or now_ns >= action.force_ns
    )
    word = "forced" if forced else "attempt"
    if action.kind is Kind.DOWNLOAD_ONLY:
        return Words(word, "skip", "")
    if not action.windows:
        return Words(word, word, "")
    if is_open(action, now_ns):
        return Words(word, word, "available")
    return Words(word, "skip", "unavailable")


def may_install(action: Action, profile: Profile, now_ns: int) -> bool:
    """Whether a client that installs what it downloads may download now."""
    if action.stage is not Stage.RUNNING:
        return False
    waits_for_force = (
        action.kind is Kind.TIME_FORCED and not profile.honours_attempt and now_ns < action.force_ns
    )
    return is_open(action, now_ns) and not waits_for_force


def offer(action: Action | None, profile: Profile, now_ns: int) -> Offer:
    """Return what a poll shows of the action that is open.

    A client that would report success for what it was told to skip sees an update only while it may
    install it, and afterwards while it still has to report.
    """
    if action is None or action.stage in CLOSED:
        return Offer.NOTHING
    if action.stage is Stage.CONFIRM:
        return Offer.CONFIRM
    if action.stage is Stage.CANCELING:
        return Offer.CANCEL
    hidden = profile.skip_reports_success or not profile.honours_attempt
    if hidden and not may_install(action, profile, now_ns):
        waits = profile.needs_offer_to_report and action.served
        windowed = not is_open(action, now_ns) and not profile.skip_reports_success
        return Offer.DEPLOY if waits or windowed else Offer.NOTHING
    return Offer.DEPLOY


def shown_words(action: Action, profile: Profile, now_ns: int) -> Words:
    """Return `words_of`, except that a client which lies about `skip` is never told it."""
    found = words_of(action, now_ns)
    if profile.skip_reports_success and found.update == "skip":
        return Words("forced", "forced", "")
    return found


def next_change_ns(action: Action | None, now_ns: int) -> int | None:
    """Return when time alone changes what is shown of an action, or None for never."""
    if action is None:
        return None
    moments = [action.force_ns] if action.kind is Kind.TIME_FORCED else []
    moments += [moment for each in action.windows for moment in (each.opens_ns, each.closes_ns)]
    return min((moment for moment in moments if moment > now_ns), default=None)


def marker(action: Action, profile: Profile, now_ns: int) -> int:
    """Return `c` of a link: it changes when what stands behind the link changes."""
    words = shown_words(action, profile, now_ns)
    told = f"{action.id} {action.stage} {words}"
    return zlib.crc32(told.encode()) & 0x7FFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often targets ask.

    Attributes:
        sleep_s: Pause between two polls.
        least_s: Shortest pause that is ever given.
        spread: Share of the pause, 0 to 0.5, by which targets differ, so that they do not all ask
            in the same second after a power cut.
    """

    sleep_s: int = 300
    least_s: int = 30
    spread: float = 0.1


def sleep_s(pace: Pace, name: str, action: Action | None, now_ns: int) -> int:
    """Return the pause until the next poll, in seconds.

    Before a window it shrinks with the distance, each target by its own share, so that the window
    is noticed soon without everybody asking at its first second.
    """
    share = (zlib.crc32(name.encode()) % 2_001 - 1_000) / 1_000 * pace.spread
    pause = pace.sleep_s
    if action is not None and action.stage is Stage.RUNNING and not is_open(action, now_ns):
        coming = window_after(action.windows, now_ns)
        if coming is not None:
            pause = min(pause, (coming.opens_ns - now_ns) // (3 * _NS))
    return max(pace.least_s, int(pause * (1 + share)))


def sleep_text(seconds: int) -> str:
    """Return a pause as `HH:MM:SS`, at most a day less one second."""
    seconds = min(seconds, 86_399)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


# -- What a client's words mean -----------------------------------------------------------------


def is_skip(profile: Profile, feedback: Feedback) -> bool:
    """Whether this success says in truth that nothing was installed."""
    return (
        profile.skip_reports_success
        and feedback.execution is Execution.CLOSED
        and feedback.finished is not Finished.FAILURE
        and any(SKIPPED in line.lower() for line in feedback.details)
    )


def after_feedback(action: Action, feedback: Feedback, profile: Profile) -> Stage:
    """Return the stage after a report on a deployment.

    Raises:
        Gone: The action has ended.
        NotFound: It waits for confirmation, so nobody can have begun it.
    """
    if action.stage in CLOSED:
        raise Gone("the action has ended")
    if action.stage is Stage.CONFIRM:
        raise NotFound("the action waits for confirmation")
    if is_skip(profile, feedback):
        return action.stage
    if feedback.execution is Execution.CLOSED:
        return Stage.ERROR if feedback.finished is Finished.FAILURE else Stage.FINISHED
    if feedback.execution is Execution.CANCELED:
        return Stage.CANCELED
    if feedback.execution is Execution.DOWNLOADED and action.kind is Kind.DOWNLOAD_ONLY:
        return Stage.DOWNLOADED
    return action.stage


def after_cancel(action: Action, feedback: Feedback) -> Stage:
    """Return the stage after a report on a cancellation.

    Raises:
        Gone: The action has ended.
        NotCancelable: Nobody cancels it.
    """
    if action.stage in CLOSED:
        raise Gone("the action has ended")
    if action.stage is not Stage.CANCELING:
        raise NotCancelable("the action is not being cancelled")
    if feedback.execution is Execution.CLOSED:
        return Stage.ERROR if feedback.finished is Finished.FAILURE else Stage.CANCELED
    return Stage.RUNNING if feedback.execution is Execution.REJECTED else Stage.CANCELING


_FORWARD: Final = (
    *(_O.OFFERED, _O.DOWNLOADED, _O.STAGED, _O.INSTALLING),
    *(_O.BOOTED, _O.SELF_TESTED, _O.VERIFIED),
)


def forward(outcome: Outcome, wanted: Outcome) -> Outcome:
    """Return `wanted` if it lies ahead on the way that `NEXT` allows, else `outcome`."""
    if outcome not in _FORWARD or _FORWARD.index(wanted) <= _FORWARD.index(outcome):
        return outcome
    return wanted


def back(outcome: Outcome, wanted: Outcome) -> Outcome:
    """Return how an update ends that does not go on: `wanted` before anything was installed."""
    if wanted in NEXT[outcome]:
        return wanted
    return _O.ROLLED_BACK if _O.ROLLED_BACK in NEXT[outcome] else outcome


def outcome_after(outcome: Outcome, feedback: Feedback, stage: Stage) -> Outcome:
    """Return what is known of an update after a report that led to `stage`.

    Success is `INSTALLING`, never more: written, and nobody knows whether it runs.
    """
    if stage is Stage.FINISHED:
        return forward(outcome, _O.INSTALLING)
    if stage is Stage.ERROR:
        return back(outcome, _O.REFUSED)
    if stage is Stage.CANCELED:
        return back(outcome, _O.WITHDRAWN)
    if feedback.execution is Execution.DOWNLOADED:
        return forward(outcome, _O.DOWNLOADED)
    return outcome


def judge(action: Action, attributes: Mapping[str, str]) -> tuple[Outcome, str]:
    """Return what a device's own account of itself makes of its last update, and why.

    Only this makes an update verified: it runs the version, and its self-test passed. A device that
    says nothing of itself stays where it is, for a person to look at.

    Args:
        action: The update that was finished last.
        attributes: What the device says now.
    """
    outcome, runs = action.outcome, attributes.get(VERSION, "")
    if action.stage is not Stage.FINISHED or not runs or outcome not in _FORWARD:
        return outcome, action.reason
    test = attributes.get(SELF_TEST, "")
    if runs != action.version:
        started = outcome is not _O.INSTALLING
        anew = bool(action.boot) and attributes.get(BOOT, action.boot) != action.boot
        if started or anew:
            return _O.ROLLED_BACK, f"the device says that it runs {runs}"
        return outcome, "installed, not started yet"
    if test == FAILED:
        return _O.ROLLED_BACK, "the device says that its self-test failed"
    if test == PASSED:
        return forward(outcome, _O.VERIFIED), "the device runs it and its self-test passed"
    return forward(outcome, _O.BOOTED), "the device runs it and says nothing of a self-test"


def tells_of_itself(target: Target) -> bool:
    """Whether a device says what it runs: then it is asked at every poll that shows nothing else.

    So a device that falls back is seen at its next poll. Beside an update it is not asked: SWUpdate
    answers every such question and never comes to the update.
    """
    return bool(target.installed) and VERSION in target.attributes


def check_kind(kind: Kind, profile: Profile) -> None:
    """Let an assignment pass that this client can carry out.

    Raises:
        Conflict: It would do something else than it is told.
    """
    if kind is Kind.SOFT and not profile.honours_attempt:
        raise Conflict(
            f"{profile.name} installs what is left to it at once",
            hint="use forced, with windows or with --confirm",
        )
    if kind is Kind.DOWNLOAD_ONLY and not profile.downloads_only:
        raise Conflict(f"{profile.name} can not download without installing", hint="use forced")
