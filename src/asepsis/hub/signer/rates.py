"""How many certificates may leave in a minute and an hour. Pure: decides by what the log says."""

from collections.abc import Sequence
from typing import Final

from asepsis.core.errors import RateLimited
from asepsis.core.trust.signer_values import Limits

MINUTE_NS: Final = 60_000_000_000
HOUR_NS: Final = 60 * MINUTE_NS


def check_rate(
    issued_at: Sequence[tuple[int, str, bool]],
    *,
    limits: Limits,
    name: str,
    new: bool,
    now_ns: int,
) -> None:
    """Check that one more certificate may leave.

    Args:
        issued_at: (when in ns, name, whether it was a new identity) of every recent certificate.
        limits: The rates in force.
        name: Who asks.
        new: Whether this is a new identity instead of a renewal.
        now_ns: Nanoseconds since 1970.

    Raises:
        RateLimited: A rate is used up; says after how many seconds one is free again.
    """
    same_kind = [at for at, _, was_new in issued_at if was_new is new]
    own = [at for at, whose, _ in issued_at if whose == name]
    per_minute = limits.new_per_minute if new else limits.renewals_per_minute
    per_hour = limits.new_per_hour if new else limits.renewals_per_hour
    _check_window(same_kind, most=per_minute, window_ns=MINUTE_NS, now_ns=now_ns)
    _check_window(same_kind, most=per_hour, window_ns=HOUR_NS, now_ns=now_ns)
    _check_window(own, most=limits.per_name_per_hour, window_ns=HOUR_NS, now_ns=now_ns)


def _check_window(issued_at: Sequence[int], *, most: int, window_ns: int, now_ns: int) -> None:
    inside = [at for at in issued_at if at > now_ns - window_ns]
    if len(inside) >= most:
        free_at_ns = sorted(inside)[len(inside) - most] + window_ns
        raise RateLimited(
            f"over {most} certificates in {window_ns // 1_000_000_000} s",
            hint="come back later; a person may raise the limits on the operator's socket",
            retry_after_s=max(1, -(-(free_at_ns - now_ns) // 1_000_000_000)),
        )
