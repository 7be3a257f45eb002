"""What one record does to its account: pure rules on values, no file, clock or thread.

An account is everything between sequence 1 and the highest received, minus its open gaps. Each
gap remembers the digest at its lower edge and the `previous` that its upper edge demands, so the
hash chain is checked at both edges however late the missing records come.

Source: issue "The house stands", section 4; REQ-ORG (chain of origin batches).
"""

from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import ChainBroken, InputError, LimitExceeded
from asepsis.core.journal.ports import Link, Outcome

ZEROS: Final = bytes(32)
"""The `previous` of the first record of an epoch."""

GAPS_MAX: Final = 64
"""Default number of open gaps per account; one more is refused."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of sequences that have not come yet.

    Attributes:
        first: Lowest missing sequence.
        last: Highest missing sequence, at least `first`.
        before: Digest of record `first` - 1; None if unknown or the account has no chain.
        after: `previous` of record `last` + 1, hence the digest `last` must have; None as above.
    """

    first: int
    last: int
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class ChainState:
    """All that must be remembered of an account, for ever.

    Attributes:
        highest: Highest sequence received, 0 if none.
        digest: Digest of record `highest`; None if unknown or the account has no chain.
        gaps: Open gaps, ascending, never touching each other.
    """

    highest: int = 0
    digest: bytes | None = None
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a record does: the account after it, and what its sender is told.

    Attributes:
        state: The account after this record; the same object for a duplicate.
        outcome: Stored or duplicate.
        opened: First and last missing sequence if the record jumped forward.
        closed: Whether the record filled the last hole of its gap.
    """

    state: ChainState
    outcome: Outcome
    opened: tuple[int, int] | None = None
    closed: bool = False


def admit(
    state: ChainState, sequence: int, link: Link | None, *, late: bool, gaps_max: int = GAPS_MAX
) -> Verdict:
    """Judge one record against its account.

    Args:
        state: The account before the record.
        sequence: Sequence of the record, from 1.
        link: Its identity and place in the hash chain.
        late: Whether it came on the late lane, which fills each gap from its lower edge.
        gaps_max: Open gaps allowed.

    Raises:
        ChainBroken: A hash at an edge does not fit, or two records claim one sequence.
        InputError: A late record that is not the next one missing in its gap.
        LimitExceeded: The record would open a gap too many.
    """
    if link is not None and sequence == 1 and link.previous not in {None, ZEROS}:
        raise ChainBroken("the first record of an epoch must follow nothing (32 zero bytes)")
    if sequence > state.highest:
        return _extend(state, sequence, link, gaps_max=gaps_max)
    for index, gap in enumerate(state.gaps):
        if gap.first <= sequence <= gap.last:
            return _fill(state, index, sequence, link, late=late, gaps_max=gaps_max)
    check_same(known_digest(state, sequence), link, sequence)
    return Verdict(state, Outcome.DUPLICATE)


def check_same(stored: bytes | None, link: Link | None, sequence: int) -> None:
    """Accept a repeated sequence only if it is the same record, as far as that is known.

    Raises:
        ChainBroken: The stored record has another digest: a fork.
    """
    if stored is not None and link is not None and stored != link.digest:
        raise ChainBroken(f"fork: another record already claims sequence {sequence}")


def known_digest(state: ChainState, sequence: int) -> bytes | None:
    """Return the digest of a received record if the account itself remembers it."""
    if sequence == state.highest:
        return state.digest
    return next((gap.before for gap in state.gaps if gap.first == sequence + 1), None)


def check_epoch(epoch: int, newest: int, *, late: bool) -> None:
    """Let epochs grow only; what an older boot left behind comes on the late lane.

    Args:
        epoch: Epoch of the record.
        newest: Highest epoch received from this producer on this account, -1 if none.
        late: Whether the record came on the late lane.

    Raises:
        InputError: A live record of an epoch that is over.
    """
    if epoch < newest and not late:
        raise InputError(
            f"epoch {epoch} is over, the newest is {newest}",
            hint="send what an earlier boot left behind on the late lane",
        )


def abandon(state: ChainState, through: int) -> tuple[ChainState, tuple[tuple[int, int], ...]]:
    """Give up for ever what is missing up to `through`.

    Returns:
        The account after it, and the ranges given up, ascending. A record that comes for them
        after all counts as a duplicate.
    """
    kept: list[Gap] = []
    lost: list[tuple[int, int]] = []
    for gap in state.gaps:
        if gap.first > through:
            kept.append(gap)
            continue
        lost.append((gap.first, min(gap.last, through)))
        if gap.last > through:  # The lower edge of what remains was never seen.
            kept.append(Gap(through + 1, gap.last, None, gap.after))
    return ChainState(state.highest, state.digest, tuple(kept)), tuple(lost)


def _extend(state: ChainState, sequence: int, link: Link | None, *, gaps_max: int) -> Verdict:
    digest = None if link is None else link.digest
    if sequence == state.highest + 1:
        _check_previous(state.digest, link, sequence)
        return Verdict(ChainState(sequence, digest, state.gaps), Outcome.STORED)
    if len(state.gaps) >= gaps_max:
        raise LimitExceeded(f"{gaps_max} gaps are open on this account", hint=_GAPS_HINT)
    previous = None if link is None else link.previous
    gap = Gap(state.highest + 1, sequence - 1, state.digest, previous)
    return Verdict(
        ChainState(sequence, digest, (*state.gaps, gap)), Outcome.STORED, (gap.first, gap.last)
    )


def _fill(
    state: ChainState, index: int, sequence: int, link: Link | None, *, late: bool, gaps_max: int
) -> Verdict:
    gap = state.gaps[index]
    if late and sequence != gap.first:
        raise InputError(
            f"late records fill a gap in ascending order: {gap.first} comes next, not {sequence}"
        )
    digest, previous = (None, None) if link is None else (link.digest, link.previous)
    if sequence == gap.first:
        _check_previous(gap.before, link, sequence)
    if sequence == gap.last and link is not None and gap.after not in {None, digest}:
        raise ChainBroken(f"record {sequence + 1} was sent after another record {sequence}")
    rest: list[Gap] = []
    if gap.first < sequence:
        rest.append(Gap(gap.first, sequence - 1, gap.before, previous))
    if sequence < gap.last:
        rest.append(Gap(sequence + 1, gap.last, digest, gap.after))
    gaps = (*state.gaps[:index], *rest, *state.gaps[index + 1 :])
    if len(gaps) > gaps_max:
        raise LimitExceeded(f"{gaps_max} gaps are open on this account", hint=_GAPS_HINT)
    return Verdict(ChainState(state.highest, state.digest, gaps), Outcome.STORED, closed=not rest)


def _check_previous(expected: bytes | None, link: Link | None, sequence: int) -> None:
    if expected is not None and link is not None and link.previous not in {None, expected}:
        raise ChainBroken(f"record {sequence} does not follow the stored record {sequence - 1}")


_GAPS_HINT: Final = "let late batches fill the gaps, or give up what is lost"
