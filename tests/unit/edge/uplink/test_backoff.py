"""Waiting times between attempts."""

import random

from hypothesis import given
from hypothesis import strategies as st

from asepsis.edge.uplink.backoff import Backoff


@given(st.integers(0, 2**32), st.integers(1, 60), st.floats(0, 100))
def test_every_wait_stays_below_the_cap(seed: int, failures: int, retry_after_s: float) -> None:
    backoff = Backoff(rng=random.Random(seed), cap_s=10)
    for _ in range(failures):
        assert 0 <= backoff.failed(retry_after_s=retry_after_s) <= 10


def test_the_hub_is_given_the_time_it_asks_for() -> None:
    assert Backoff(rng=random.Random(1)).failed(retry_after_s=3) == 3


def test_a_thousand_devices_do_not_come_back_in_a_wave() -> None:
    """Goal: in no tenth of the span come more than a fifth of the devices."""
    waits = [Backoff(rng=random.Random(seed), first_s=10).failed() for seed in range(1_000)]
    tenths = [sum(tenth <= wait < tenth + 1 for wait in waits) for tenth in range(10)]
    assert max(tenths) < 200


def test_success_starts_over() -> None:
    backoff = Backoff(rng=random.Random(1))
    for _ in range(9):
        backoff.failed()
    backoff.succeeded()
    assert backoff.failed() <= backoff.first_s


def test_looking_for_a_hub_that_is_away_is_quick_and_no_failure() -> None:
    backoff = Backoff(rng=random.Random(1))
    waits = [backoff.unreached() for _ in range(100)]
    assert backoff.probe_s / 2 <= min(waits) < max(waits) <= backoff.probe_s
    assert backoff.failures == 0
