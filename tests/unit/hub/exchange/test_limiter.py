"""Token buckets per producer and route."""

import pytest

from asepsis.core.errors import RateLimited
from asepsis.hub.exchange.limiter import RateLimiter
from asepsis.hub.exchange.rules import ROUTE_RULES, Route

S = 1_000_000_000


def spend(limiter: RateLimiter, route: Route, *, devices: int = 1, now_ns: int = 0) -> int:
    count = 0
    while True:
        try:
            limiter.take(route, "producer", devices=devices, now_ns=now_ns)
        except RateLimited:
            return count
        count += 1


def test_burst_then_rate() -> None:
    limiter = RateLimiter()
    rule = ROUTE_RULES[Route.ORIGIN]
    assert spend(limiter, Route.ORIGIN) == rule.burst
    assert spend(limiter, Route.ORIGIN, now_ns=S) == rule.per_second
    assert spend(limiter, Route.ORIGIN, now_ns=1_000 * S) == rule.burst


def test_alerts_never_pay_for_vitals() -> None:
    limiter = RateLimiter()
    spend(limiter, Route.ORIGIN)
    spend(limiter, Route.WAVEFORMS)
    assert spend(limiter, Route.ALERTS) == ROUTE_RULES[Route.ALERTS].burst


def test_a_gateway_may_send_for_each_of_its_devices() -> None:
    limiter = RateLimiter()
    assert spend(limiter, Route.ORIGIN, devices=10) == 10 * ROUTE_RULES[Route.ORIGIN].burst


def test_one_producer_does_not_slow_another() -> None:
    limiter = RateLimiter()
    spend(limiter, Route.ORIGIN)
    limiter.take(Route.ORIGIN, "other", devices=1, now_ns=0)
    with pytest.raises(RateLimited):
        limiter.take(Route.ORIGIN, "producer", devices=1, now_ns=0)
