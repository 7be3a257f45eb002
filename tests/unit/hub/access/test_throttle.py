"""How often a password may be guessed, and that guessing locks nobody else out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import RateLimited
from asepsis.hub.access import throttle
from asepsis.hub.access.throttle import ADDRESS, PAIR, STRANGERS, Buckets, SignInThrottle, network

SECOND = 1_000_000_000
HOME, AWAY = "10.0.0.5", "203.0.113.9"


def guess_wrong(guard: SignInThrottle, account: str, address: str, *, at_s: float = 0) -> None:
    guard.begin(account, address, now_ns=int(at_s * SECOND))


def test_five_wrong_passwords_then_one_every_half_minute() -> None:
    guard = SignInThrottle()
    for _ in range(PAIR.guesses_max):
        guess_wrong(guard, "ana", HOME)
    with pytest.raises(RateLimited) as caught:
        guess_wrong(guard, "ana", HOME)
    assert caught.value.retry_after_s == PAIR.refill_s + 1
    guess_wrong(guard, "ana", HOME, at_s=PAIR.refill_s + 1)
    with pytest.raises(RateLimited):
        guess_wrong(guard, "ana", HOME, at_s=PAIR.refill_s + 2)


def test_a_right_password_costs_nothing() -> None:
    guard = SignInThrottle()
    for _ in range(200):
        guard.begin("ana", HOME, now_ns=0)
        guard.right("ana", HOME, now_ns=0)


def test_an_attacker_elsewhere_does_not_lock_out_a_known_workstation() -> None:
    """Goal: a ward signs in while somebody hammers its accounts from a thousand addresses."""
    guard = SignInThrottle()
    guard.begin("ana", HOME, now_ns=0)
    guard.right("ana", HOME, now_ns=0)
    refused = 0
    for number in range(1_000):
        try:
            guess_wrong(guard, "ana", f"198.51.{number // 250}.{number % 250}")
        except RateLimited:
            refused += 1
    assert refused == 1_000 - STRANGERS.guesses_max
    guard.begin("ana", HOME, now_ns=0)
    with pytest.raises(RateLimited):
        guard.begin("ana", AWAY, now_ns=0)


def test_one_address_cannot_try_many_accounts() -> None:
    guard = SignInThrottle()
    for number in range(ADDRESS.guesses_max):
        guess_wrong(guard, f"account {number}", AWAY)
    with pytest.raises(RateLimited):
        guess_wrong(guard, "another", AWAY)
    guess_wrong(guard, "another", HOME)


def test_parallel_guesses_take_their_place_first() -> None:
    """Goal: a thousand guesses at once are five guesses."""
    guard, passed = SignInThrottle(), 0
    for _ in range(1_000):
        try:
            guess_wrong(guard, "ana", AWAY)
        except RateLimited:
            continue
        passed += 1
    assert passed == PAIR.guesses_max


@given(st.lists(st.tuples(st.integers(0, 10**12), st.booleans()), max_size=60))
def test_a_bucket_never_gives_more_than_it_holds(steps: list[tuple[int, bool]]) -> None:
    bucket, now_ns, taken = Buckets(PAIR), 0, 0
    for pause_ns, back in steps:
        now_ns += pause_ns
        if bucket.wait_s(("a",), now_ns) == 0:
            bucket.take(("a",), now_ns)
            taken += 1
            if back:
                bucket.give_back(("a",), now_ns)
                taken -= 1
    assert taken <= PAIR.guesses_max + now_ns / SECOND / PAIR.refill_s + 1


def test_memory_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "ENTRIES_MAX", 50)
    bucket = Buckets(PAIR)
    for number in range(500):
        bucket.take((str(number),), 0)
    assert len(bucket) == 50


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_what_one_subscriber_holds_counts_as_one(address: str, expected: str) -> None:
    assert network(address) == expected
