"""What is offered when, what a client's words mean, and what alone makes an update verified."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import Conflict, NotFound
from asepsis.core.model.update import NEXT, Outcome
from asepsis.core.wire.ddi import Execution, Feedback, Finished
from asepsis.hub.fleet.ddi import rules
from asepsis.hub.fleet.ddi.model import CLOSED, Action, Kind, Stage, Window
from asepsis.hub.fleet.ddi.profiles import GENERIC, PROFILES, RAUC, SWUPDATE
from asepsis.hub.fleet.ddi.rules import Offer, Pace

S = 1_000_000_000
WINDOWS = (Window(100 * S, 200 * S), Window(400 * S, 500 * S))
ACTION = Action(id=7, target="pump", name="os", version="2", modules=(1,))
WINDOWED = replace(ACTION, windows=WINDOWS)
SUCCESS = Feedback(execution=Execution.CLOSED, finished=Finished.SUCCESS)
FAILURE = Feedback(execution=Execution.CLOSED, finished=Finished.FAILURE)
SKIPPED = replace(SUCCESS, details=("Skipped Update.",))


def said(execution: Execution, finished: Finished = Finished.NONE) -> Feedback:
    return Feedback(execution=execution, finished=finished)


@pytest.mark.parametrize(
    ("stage", "shown"),
    [
        (Stage.CONFIRM, Offer.CONFIRM),
        (Stage.RUNNING, Offer.DEPLOY),
        (Stage.CANCELING, Offer.CANCEL),
        *((stage, Offer.NOTHING) for stage in sorted(CLOSED)),
    ],
)
def test_what_a_stage_shows(stage: Stage, shown: Offer) -> None:
    for profile in PROFILES.values():
        assert rules.offer(replace(ACTION, stage=stage), profile, 0) is shown
    assert rules.offer(None, GENERIC, 0) is Offer.NOTHING


@pytest.mark.parametrize("now_s", [0, 99, 200, 399, 500])
def test_outside_a_window_an_honest_client_is_told_and_a_lying_one_sees_nothing(
    now_s: int,
) -> None:
    """Goal: nobody who calls a skipped update a success is ever told to skip one."""
    now_ns = now_s * S
    for profile in (GENERIC, RAUC):
        assert rules.offer(WINDOWED, profile, now_ns) is Offer.DEPLOY
        words = rules.shown_words(WINDOWED, profile, now_ns)
        assert (words.update, words.window) == ("skip", "unavailable")
    assert rules.offer(WINDOWED, SWUPDATE, now_ns) is Offer.NOTHING
    assert not rules.may_install(WINDOWED, SWUPDATE, now_ns)


def test_after_it_was_sent_a_lying_client_can_report_outside_its_window() -> None:
    sent = replace(WINDOWED, served=True)
    assert rules.offer(sent, SWUPDATE, 300 * S) is Offer.DEPLOY
    assert rules.shown_words(sent, SWUPDATE, 300 * S).update == "forced"
    assert not rules.may_install(sent, SWUPDATE, 300 * S)


@given(st.integers(0, 600), st.sampled_from(list(Kind)), st.sampled_from([ACTION, WINDOWED]))
def test_no_swupdate_is_ever_told_to_skip(now_s: int, kind: Kind, one: Action) -> None:
    action = replace(one, kind=kind, force_ns=300 * S)
    assert rules.shown_words(action, SWUPDATE, now_s * S).update != "skip"


def test_inside_a_window_everybody_may() -> None:
    for profile in PROFILES.values():
        assert rules.offer(WINDOWED, profile, 100 * S) is Offer.DEPLOY
        assert rules.words_of(WINDOWED, 199 * S).window == "available"


def test_what_is_forced_later_is_hidden_from_who_would_do_it_now() -> None:
    later = replace(ACTION, kind=Kind.TIME_FORCED, force_ns=50 * S)
    assert rules.words_of(later, 49 * S).update == "attempt"
    assert rules.words_of(later, 50 * S).update == "forced"
    assert rules.offer(later, GENERIC, 0) is Offer.DEPLOY
    for profile in (SWUPDATE, RAUC):
        assert rules.offer(later, profile, 49 * S) is Offer.NOTHING
        assert rules.offer(later, profile, 50 * S) is Offer.DEPLOY


def test_what_a_client_cannot_do_is_not_assigned() -> None:
    for kind in Kind:
        rules.check_kind(kind, GENERIC)
    with pytest.raises(Conflict):
        rules.check_kind(Kind.SOFT, SWUPDATE)
    with pytest.raises(Conflict):
        rules.check_kind(Kind.SOFT, RAUC)
    with pytest.raises(Conflict):
        rules.check_kind(Kind.DOWNLOAD_ONLY, SWUPDATE)
    rules.check_kind(Kind.DOWNLOAD_ONLY, RAUC)


def test_the_marker_of_a_link_follows_what_stands_behind_it() -> None:
    marks = {rules.marker(WINDOWED, GENERIC, now_s * S) for now_s in (0, 150)}
    marks |= {rules.marker(replace(WINDOWED, id=8), GENERIC, 0)}
    assert len(marks) == 3
    assert rules.marker(WINDOWED, GENERIC, 0) == rules.marker(WINDOWED, GENERIC, 99 * S)


@given(st.integers(0, 600))
def test_an_answer_holds_until_time_changes_it(now_s: int) -> None:
    """Goal: whatever is kept ready is never shown after its moment."""
    action = replace(WINDOWED, kind=Kind.TIME_FORCED, force_ns=150 * S)
    until_ns = rules.next_change_ns(action, now_s * S)
    end_s = 601 if until_ns is None else until_ns // S
    for profile in PROFILES.values():
        shown = {
            (rules.offer(action, profile, t * S), rules.marker(action, profile, t * S))
            for t in range(now_s, end_s)
        }
        assert len(shown) == 1


def test_the_pause_shrinks_before_a_window_and_stays_in_its_bounds() -> None:
    pace = Pace(sleep_s=300, least_s=30, spread=0.0)
    assert rules.sleep_s(pace, "a", None, 0) == 300
    assert rules.sleep_s(pace, "a", WINDOWED, 0) == 33
    assert rules.sleep_s(pace, "a", WINDOWED, 70 * S) == 30
    assert rules.sleep_s(pace, "a", WINDOWED, 150 * S) == 300


@given(st.text(min_size=1, max_size=20))
def test_targets_differ_by_their_share(name: str) -> None:
    assert 270 <= rules.sleep_s(Pace(), name, None, 0) <= 330


def test_a_thousand_targets_do_not_ask_in_the_same_second() -> None:
    pauses = [rules.sleep_s(Pace(), f"pump-{n}", None, 0) for n in range(1_000)]
    assert max(pauses.count(each) for each in set(pauses)) < 60


@pytest.mark.parametrize(
    ("seconds", "text"), [(30, "00:00:30"), (3_661, "01:01:01"), (10**6, "23:59:59")]
)
def test_how_a_pause_is_written(seconds: int, text: str) -> None:
    assert rules.sleep_text(seconds) == text


def test_success_of_a_skipped_update_is_none() -> None:
    assert rules.after_feedback(ACTION, SKIPPED, SWUPDATE) is Stage.RUNNING
    assert rules.after_feedback(ACTION, SKIPPED, GENERIC) is Stage.FINISHED
    assert rules.after_feedback(ACTION, SUCCESS, SWUPDATE) is Stage.FINISHED


@pytest.mark.parametrize("stage", [Stage.RUNNING, Stage.CANCELING])
@pytest.mark.parametrize(
    ("feedback", "after"),
    [
        (SUCCESS, Stage.FINISHED),
        (said(Execution.CLOSED), Stage.FINISHED),
        (FAILURE, Stage.ERROR),
        (said(Execution.CANCELED), Stage.CANCELED),
        *(
            (said(each), None)
            for each in (
                *(Execution.PROCEEDING, Execution.SCHEDULED, Execution.REJECTED),
                *(Execution.RESUMED, Execution.DOWNLOAD, Execution.DOWNLOADED),
            )
        ),
    ],
)
def test_reports_on_a_deployment(stage: Stage, feedback: Feedback, after: Stage | None) -> None:
    action = replace(ACTION, stage=stage)
    assert rules.after_feedback(action, feedback, GENERIC) is (after or stage)


def test_a_download_only_action_ends_with_its_download() -> None:
    action = replace(ACTION, kind=Kind.DOWNLOAD_ONLY)
    found = rules.after_feedback(action, said(Execution.DOWNLOADED), GENERIC)
    assert found is Stage.DOWNLOADED


@pytest.mark.parametrize("stage", sorted(CLOSED), ids=lambda stage: stage.value)
def test_nothing_is_taken_of_what_has_ended(stage: Stage) -> None:
    with pytest.raises(rules.Gone):
        rules.after_feedback(replace(ACTION, stage=stage), SUCCESS, GENERIC)
    with pytest.raises(rules.Gone):
        rules.after_cancel(replace(ACTION, stage=stage), SUCCESS)


def test_reports_on_a_cancellation() -> None:
    action = replace(ACTION, stage=Stage.CANCELING)
    assert rules.after_cancel(action, SUCCESS) is Stage.CANCELED
    assert rules.after_cancel(action, FAILURE) is Stage.ERROR
    assert rules.after_cancel(action, said(Execution.REJECTED)) is Stage.RUNNING
    assert rules.after_cancel(action, said(Execution.CANCELED)) is Stage.CANCELING
    with pytest.raises(rules.NotCancelable):
        rules.after_cancel(ACTION, SUCCESS)
    with pytest.raises(NotFound):
        rules.after_feedback(replace(ACTION, stage=Stage.CONFIRM), SUCCESS, GENERIC)


def walk(start: Outcome, end: Outcome) -> bool:
    """Return whether `NEXT` leads from one outcome to another."""
    seen, todo = {start}, [start]
    while todo:
        new = NEXT[todo.pop()] - seen
        seen |= new
        todo += new
    return end in seen


def test_every_outcome_is_reached_on_the_common_way() -> None:
    stages = list(Stage)
    for start, stage, feedback in product(Outcome, stages, [SUCCESS, FAILURE, SKIPPED]):
        assert walk(start, rules.outcome_after(start, feedback, stage)), (start, stage)


@given(st.lists(st.tuples(st.sampled_from(list(Execution)), st.sampled_from(list(Finished)))))
def test_no_words_of_the_protocol_make_an_update_verified(
    words: list[tuple[Execution, Finished]],
) -> None:
    """Goal: a client that lies in every message gets no further than installing."""
    for profile in PROFILES.values():
        action = ACTION
        for execution, finished in words:
            feedback = Feedback(execution=execution, finished=finished)
            try:
                stage = rules.after_feedback(action, feedback, profile)
            except rules.Gone:
                break
            outcome = rules.outcome_after(action.outcome, feedback, stage)
            action = replace(action, stage=stage, outcome=outcome)
        assert action.outcome not in {Outcome.BOOTED, Outcome.SELF_TESTED, Outcome.VERIFIED}


DONE = replace(ACTION, stage=Stage.FINISHED, outcome=Outcome.INSTALLING, boot="b1")
NEW = {rules.VERSION: "2"}
OLD = {rules.VERSION: "1"}


@pytest.mark.parametrize(
    ("outcome", "attributes", "found"),
    [
        (Outcome.INSTALLING, {}, Outcome.INSTALLING),
        (Outcome.INSTALLING, OLD, Outcome.INSTALLING),
        (Outcome.INSTALLING, OLD | {rules.BOOT: "b1"}, Outcome.INSTALLING),
        (Outcome.INSTALLING, OLD | {rules.BOOT: "b2"}, Outcome.ROLLED_BACK),
        (Outcome.INSTALLING, NEW, Outcome.BOOTED),
        (Outcome.INSTALLING, NEW | {rules.SELF_TEST: "passed"}, Outcome.VERIFIED),
        (Outcome.INSTALLING, NEW | {rules.SELF_TEST: "failed"}, Outcome.ROLLED_BACK),
        (Outcome.BOOTED, NEW | {rules.SELF_TEST: "passed"}, Outcome.VERIFIED),
        (Outcome.BOOTED, OLD, Outcome.ROLLED_BACK),
        (Outcome.VERIFIED, NEW, Outcome.VERIFIED),
        (Outcome.VERIFIED, OLD, Outcome.ROLLED_BACK),
        (Outcome.VERIFIED, NEW | {rules.SELF_TEST: "failed"}, Outcome.ROLLED_BACK),
        (Outcome.ROLLED_BACK, NEW | {rules.SELF_TEST: "passed"}, Outcome.ROLLED_BACK),
        (Outcome.OFFERED, {rules.SELF_TEST: "passed"}, Outcome.OFFERED),
    ],
)
def test_what_a_device_says_of_itself(
    outcome: Outcome, attributes: dict[str, str], found: Outcome
) -> None:
    """Goal: verified only by version and self-test; whoever falls back is seen to."""
    assert rules.judge(replace(DONE, outcome=outcome), attributes)[0] is found


def test_attributes_say_nothing_of_an_update_that_did_not_end_well() -> None:
    passed = NEW | {rules.SELF_TEST: "passed"}
    for stage in set(Stage) - {Stage.FINISHED}:
        assert rules.judge(replace(DONE, stage=stage), passed)[0] is Outcome.INSTALLING


def test_windows_in_order() -> None:
    assert rules.has_lapsed(WINDOWED, 500 * S)
    assert not rules.has_lapsed(WINDOWED, 499 * S)
    assert not rules.has_lapsed(ACTION, 500 * S)
    assert rules.window_after(WINDOWS, 150 * S) == WINDOWS[1]
    assert rules.window_after(WINDOWS, 450 * S) is None
    assert all(a.closes_ns <= b.opens_ns for a, b in pairwise(WINDOWS))
