"""How often a password may be guessed. Pure but for its own memory.

Three buckets stand before every guess:

* account from one address: five wrong passwords, then one every 30 s;
* address: thirty, then one every 2 s, whatever accounts it tries;
* account from addresses where it never signed in: twenty, then one every 10 s.

The third does not hold for an address from which the account has signed in before, so an attacker
elsewhere can wear out the account for strangers, and never for the people at its own workstation.
Only wrong passwords cost; a place is taken before the slow check and given back if it was right.
Nothing here survives a restart of the hub.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import RateLimited

ENTRIES_MAX: Final = 20_000
"""Buckets and known pairs remembered, each; the oldest are forgotten first."""
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """A bucket's size.

    Attributes:
        guesses_max: Wrong passwords in a row.
        refill_s: Seconds until one more is allowed.
    """

    guesses_max: int
    refill_s: int


PAIR: Final = Allowance(guesses_max=5, refill_s=30)
ADDRESS: Final = Allowance(guesses_max=30, refill_s=2)
STRANGERS: Final = Allowance(guesses_max=20, refill_s=10)


class Buckets:
    """Buckets of one allowance by key; one that is full again is forgotten.

    Args:
        allowance: The size of each.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._left: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def wait_s(self, key: tuple[str, ...], now_ns: int) -> int:
        """Return the seconds until a guess is allowed, rounded up; 0 if one is allowed now."""
        left = self._now(key, now_ns)
        return 0 if left >= 1 else int((1 - left) * self._allowance.refill_s) + 1

    def take(self, key: tuple[str, ...], now_ns: int) -> None:
        """Take one guess."""
        left = self._now(key, now_ns) - 1
        self._left[key] = (left, now_ns)
        self._left.move_to_end(key)
        while len(self._left) > ENTRIES_MAX:
            self._left.popitem(last=False)

    def give_back(self, key: tuple[str, ...], now_ns: int) -> None:
        """Give back a guess that was right."""
        left = self._now(key, now_ns) + 1
        if left >= self._allowance.guesses_max:
            self._left.pop(key, None)
        else:
            self._left[key] = (left, now_ns)

    def __len__(self) -> int:
        return len(self._left)

    def _now(self, key: tuple[str, ...], now_ns: int) -> float:
        left, at_ns = self._left.get(key, (float(self._allowance.guesses_max), now_ns))
        refilled = max(0, now_ns - at_ns) / _NS / self._allowance.refill_s
        return min(float(self._allowance.guesses_max), left + refilled)


class SignInThrottle:
    """Counts wrong passwords and says when the next may be tried."""

    def __init__(self) -> None:
        self._pairs = Buckets(PAIR)
        self._addresses = Buckets(ADDRESS)
        self._strangers = Buckets(STRANGERS)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def begin(self, account: str, address: str, *, now_ns: int) -> None:
        """Take a place for one guess.

        Args:
            account: The name that was typed.
            address: Where from; of an IPv6 address its /64 counts.
            now_ns: Monotonic nanoseconds.

        Raises:
            RateLimited: Too many wrong passwords; says when to try again.
        """
        found = self._buckets(account, address)
        wait_s = max(bucket.wait_s(key, now_ns) for bucket, key in found)
        if wait_s:
            raise RateLimited(
                "too many wrong passwords from here", hint="wait a moment", retry_after_s=wait_s
            )
        for bucket, key in found:
            bucket.take(key, now_ns)

    def right(self, account: str, address: str, *, now_ns: int) -> None:
        """Give the place back: the password was right, and this address is known from now on."""
        for bucket, key in self._buckets(account, address):
            bucket.give_back(key, now_ns)
        pair = (account, network(address))
        self._known[pair] = None
        self._known.move_to_end(pair)
        while len(self._known) > ENTRIES_MAX:
            self._known.popitem(last=False)

    def _buckets(self, account: str, address: str) -> list[tuple[Buckets, tuple[str, ...]]]:
        place = network(address)
        found: list[tuple[Buckets, tuple[str, ...]]] = [
            (self._pairs, (account, place)),
            (self._addresses, (place,)),
        ]
        if (account, place) not in self._known:
            found.append((self._strangers, (account,)))
        return found


def network(address: str) -> str:
    """Return what one subscriber holds of an address: IPv4 whole, IPv6 its /64, else the text."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
