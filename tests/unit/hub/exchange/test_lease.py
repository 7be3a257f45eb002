"""The table of technical conditions."""

import itertools

from asepsis.core.model.alarm import AlarmPhase, AlarmPriority
from asepsis.core.model.clinical import ClinicalState
from asepsis.hub.exchange.lease import (
    MDC_CODE,
    OPENED_BY,
    QUIET,
    STEPS,
    TEXT,
    Cause,
    Fact,
    Standing,
    lease_ns,
    priority,
    step,
)


def test_every_pair_has_one_meaning() -> None:
    """Goal: onsets only from closed, ends only from open, and nothing else moves."""
    for cause, standing, fact in itertools.product(Cause, Standing, Fact):
        after, phase = step(cause, standing, fact)
        if phase is None:
            assert after is standing
        elif phase is AlarmPhase.ONSET:
            assert (standing, after) == (Standing.CLOSED, Standing.OPEN)
        else:
            assert phase is AlarmPhase.END
            assert (standing, after) == (Standing.OPEN, Standing.CLOSED)


def test_every_condition_can_begin_and_end() -> None:
    for cause in Cause:
        moves = {phase for (c, _, _), (_, phase) in STEPS.items() if c is cause}
        assert moves == {AlarmPhase.ONSET, AlarmPhase.END}
        assert cause in MDC_CODE
        assert cause in TEXT


def test_a_batch_ends_silence_and_a_revocation_that_was_lifted() -> None:
    for cause in Cause:
        _, phase = step(cause, Standing.OPEN, Fact.BATCH_ACCEPTED)
        assert (phase is AlarmPhase.END) == (cause in {Cause.SILENCE, Cause.REVOKED})


def test_what_only_time_ends_says_when() -> None:
    """Goal: no condition stays for ever because nothing can end it."""
    for cause, (fact, after_ns) in QUIET.items():
        assert step(cause, Standing.OPEN, fact) == (Standing.CLOSED, AlarmPhase.END)
        assert 60 * 10**9 <= after_ns <= 24 * 3_600 * 10**9
    assert {OPENED_BY[fact] for fact in OPENED_BY} == set(Cause)
    assert len(set(MDC_CODE.values())) == len(set(TEXT.values())) == len(Cause)


def test_silence_of_a_device_on_a_patient_is_high() -> None:
    assert priority(Cause.SILENCE, ClinicalState.IN_USE) is AlarmPriority.HIGH
    assert priority(Cause.SILENCE, None) is AlarmPriority.HIGH
    assert priority(Cause.SILENCE, ClinicalState.IDLE) is AlarmPriority.LOW
    assert priority(Cause.FORGERY, ClinicalState.IDLE) is AlarmPriority.MEDIUM
    assert priority(Cause.GAP, ClinicalState.IN_USE) is AlarmPriority.LOW


def test_lease_is_two_seconds_and_at_most_ten() -> None:
    assert lease_ns(None) == 2_000_000_000
    assert lease_ns(500) == 500_000_000
    assert lease_ns(60_000) == 10_000_000_000
    assert lease_ns(10_000, period_s=60) == 65_000_000_000
    assert lease_ns(10_000, period_s=3) == 8_000_000_000
    assert lease_ns(10_000, period_s=3_000) == 305_000_000_000
