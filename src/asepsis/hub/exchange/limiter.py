"""Token buckets per producer and route; alerts have buckets of their own.

Pure but for its own state; the clock comes in with every call.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import RateLimited
from asepsis.hub.exchange.rules import ROUTE_RULES, Route, RouteRule

BUCKETS_MAX: Final = 65_536
_NS: Final = 1_000_000_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_ns: int


class RateLimiter:
    """Counts what each producer sends on each route.

    Args:
        rules: Rates per route.
        factor: Multiplies every rate; tests use it.
    """

    def __init__(
        self, rules: Mapping[Route, RouteRule] = ROUTE_RULES, *, factor: float = 1.0
    ) -> None:
        self._rules = rules
        self._factor = factor
        self._buckets: dict[tuple[Route, str], _Bucket] = {}

    def take(self, route: Route, producer: str, *, devices: int, now_ns: int) -> None:
        """Count one request.

        Args:
            route: Where it came in.
            producer: Name in the certificate.
            devices: How many devices the producer speaks for, at least 1.
            now_ns: Monotonic nanoseconds.

        Raises:
            RateLimited: The producer's bucket of this route is empty.
        """
        rule = self._rules[route]
        burst = rule.burst * self._factor * devices
        rate = rule.per_second * self._factor * devices
        bucket = self._buckets.get((route, producer))
        if bucket is None:
            bucket = self._open((route, producer), burst, now_ns)
        bucket.tokens = min(burst, bucket.tokens + (now_ns - bucket.at_ns) * rate / _NS)
        bucket.at_ns = now_ns
        if bucket.tokens < 1:
            raise RateLimited("too many requests", hint="follow Retry-After")
        bucket.tokens -= 1

    def charge(self, route: Route, producer: str, *, count: int) -> None:
        """Count more of what came in one request; the next request waits for it.

        Args:
            route: Where it came in.
            producer: Name in the certificate.
            count: How much more than one, at least 0.
        """
        bucket = self._buckets.get((route, producer))
        if bucket is not None:
            bucket.tokens -= count

    def _open(self, key: tuple[Route, str], burst: float, now_ns: int) -> _Bucket:
        if len(self._buckets) >= BUCKETS_MAX:
            # Names come from certificates that we issued, so this is housekeeping, not defence:
            # the oldest bucket is full again by now.
            del self._buckets[next(iter(self._buckets))]
        bucket = self._buckets[key] = _Bucket(burst, now_ns)
        return bucket
