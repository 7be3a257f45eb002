"""Which gateway of a pair takes messages now: a short lease with a fencing token, given by the hub.

The number of a pair grows each time its lease goes to another holder, or to the same one anew; it
is durable before it is given. What comes with an older number is refused, so that a gateway that
was thought dead cannot go on as if nothing had happened. Pure but for the clock that is handed in;
belongs to one event loop.

Source: REQ-PAIR-001 to REQ-PAIR-005; ADR 0044.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import Conflict, InputError

LEASE_MS: Final = 5_000
"""Length of a lease; its holder stops before that unless it was renewed."""
LATE: Final = "late"
"""What a member says of messages that it acknowledged earlier, instead of a number."""
TOKEN_DIGITS_MAX: Final = 15
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Grant:
    """Who holds the lease of a pair.

    Attributes:
        token: Its fencing token; 0 if nobody ever held it.
        holder: Name of the holder.
        left_ms: For so long nobody else can get it.
        granted: Whether whoever asked holds it.
    """

    token: int
    holder: str
    left_ms: int
    granted: bool


@dataclass(slots=True)
class Term:
    """One lease.

    Attributes:
        members: Both gateways.
        token: Its number.
        holder: Who has it.
        until_ns: Monotonic time before which nobody else gets it.
    """

    members: tuple[str, str]
    token: int
    holder: str
    until_ns: int


class PairBook:
    """The leases of every pair, in memory.

    Args:
        monotonic: Monotonic clock, nanoseconds.
        paired: Whether delegations still name two gateways as a pair.
    """

    def __init__(self, monotonic: Callable[[], int], *, paired: Callable[[str, str], bool]) -> None:
        self._monotonic = monotonic
        self._paired = paired
        self._terms: dict[str, Term] = {}

    def load(self, terms: list[tuple[tuple[str, str], int, str]]) -> None:
        """Take what was durable when the hub started: each lease counts as given just now."""
        until_ns = self._monotonic() + LEASE_MS * _NS_PER_MS
        for members, token, holder in terms:
            self._set(Term(members, token, holder, until_ns))

    def ask(self, member: str, partner: str, *, token: int) -> Grant | None:
        """Renew the lease of its holder, or say who has it.

        Args:
            member: Who asks.
            partner: The other gateway.
            token: Under which number it works; 0 if under none.

        Returns:
            The answer; None if the lease is free, so that a new number must be made durable.
        """
        term = self._of(member, partner)
        now_ns = self._monotonic()
        if term is None:
            return None
        if term.holder == member and term.token == token:
            term.until_ns = now_ns + LEASE_MS * _NS_PER_MS
            return Grant(token, member, LEASE_MS, granted=True)
        if now_ns >= term.until_ns:
            return None
        left_ms = (term.until_ns - now_ns) // _NS_PER_MS + 1
        return Grant(term.token, term.holder, left_ms, granted=False)

    def next_token(self, member: str, partner: str) -> int:
        """Return the number that the next lease of a pair gets."""
        term = self._of(member, partner)
        return term.token + 1 if term is not None else 1

    def give(self, member: str, partner: str, token: int) -> Grant:
        """Give the lease away; its number is durable."""
        members = (min(member, partner), max(member, partner))
        until_ns = self._monotonic() + LEASE_MS * _NS_PER_MS
        self._set(Term(members, token, member, until_ns))
        return Grant(token, member, LEASE_MS, granted=True)

    def check(self, gateway: str, fence: str) -> bool:
        """Judge what a gateway says of its lease; return whether what it brings counts as late.

        Args:
            gateway: Who brings something.
            fence: Header `Asepsis-Fence`; empty without one.

        Raises:
            Conflict: It is a member of a pair and its number is not the newest.
            InputError: The header is no number.
        """
        term = self._terms.get(gateway)
        if term is None or not self._paired(*term.members):
            return False
        if fence == LATE:
            return True
        if fence and not (fence.isascii() and fence.isdigit() and len(fence) <= TOKEN_DIGITS_MAX):
            raise InputError("Asepsis-Fence is neither a number nor late")
        if not fence or term.holder != gateway or int(fence) != term.token:
            raise Conflict(
                "another lease of this pair of gateways is newer",
                hint="bring what was acknowledged before with Asepsis-Fence: late",
            )
        return False

    def _of(self, member: str, partner: str) -> Term | None:
        term = self._terms.get(member)
        if term is None or partner not in term.members:
            return None
        return term

    def _set(self, term: Term) -> None:
        for member in term.members:
            self._terms[member] = term
