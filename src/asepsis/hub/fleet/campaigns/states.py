"""How campaigns and their devices move: tables, so that they can be tested as graphs."""

from collections.abc import Mapping
from typing import Final

from asepsis.core.errors import Conflict
from asepsis.core.model.update import NEXT as REPORTED
from asepsis.core.model.update import Outcome
from asepsis.hub.fleet.campaigns.model import Order, Standing, State

_S, _O = State, Order
CAMPAIGN: Final[Mapping[tuple[State, Order], State]] = {
    (_S.DRAFT, _O.START): _S.RUNNING,
    (_S.DRAFT, _O.SUPERSEDE): _S.SUPERSEDED,
    (_S.RUNNING, _O.PAUSE): _S.PAUSED,
    (_S.RUNNING, _O.HALT): _S.HALTED,
    (_S.RUNNING, _O.ROLL_BACK): _S.ROLLED_BACK,
    (_S.RUNNING, _O.SUPERSEDE): _S.SUPERSEDED,
    (_S.RUNNING, _O.FINISH): _S.FINISHED,
    (_S.PAUSED, _O.RESUME): _S.RUNNING,
    (_S.PAUSED, _O.HALT): _S.HALTED,
    (_S.PAUSED, _O.ROLL_BACK): _S.ROLLED_BACK,
    (_S.PAUSED, _O.SUPERSEDE): _S.SUPERSEDED,
    (_S.HALTED, _O.RESUME): _S.RUNNING,
    (_S.HALTED, _O.ROLL_BACK): _S.ROLLED_BACK,
    (_S.HALTED, _O.SUPERSEDE): _S.SUPERSEDED,
    # A device may fall back after success, also when everything seemed done.
    (_S.FINISHED, _O.HALT): _S.HALTED,
    (_S.FINISHED, _O.ROLL_BACK): _S.ROLLED_BACK,
    (_S.FINISHED, _O.SUPERSEDE): _S.SUPERSEDED,
}
"""What an order makes of a campaign; what is not named is refused."""
ENDED: Final = frozenset({State.SUPERSEDED, State.ROLLED_BACK})
"""States without a way out."""

_T = Standing
TARGET: Final[Mapping[Standing, frozenset[Standing]]] = {
    _T.PENDING: frozenset({_T.ASSIGNED, _T.FAILED, _T.LEFT}),
    # Left: the director refused it, so the device never had the slot.
    _T.ASSIGNED: frozenset({_T.RECALLED, _T.VERIFIED, _T.AWAITING_ACCEPTANCE, _T.FAILED, _T.LEFT}),
    # What was taken back may have begun already: the device says which.
    _T.RECALLED: frozenset({_T.PENDING, _T.VERIFIED, _T.AWAITING_ACCEPTANCE, _T.FAILED, _T.LEFT}),
    _T.VERIFIED: frozenset({_T.AWAITING_ACCEPTANCE, _T.FAILED}),
    _T.AWAITING_ACCEPTANCE: frozenset({_T.ACCEPTED, _T.FAILED}),
    _T.ACCEPTED: frozenset({_T.FAILED}),
    _T.FAILED: frozenset({_T.PENDING}),
    _T.LEFT: frozenset({_T.PENDING}),
}
"""How a campaign may go on with a device."""


def after(state: State, order: Order) -> State:
    """Return what an order makes of a campaign.

    Raises:
        Conflict: Not in this state.
    """
    found = CAMPAIGN.get((state, order))
    if found is None:
        possible = sorted(o.value for s, o in CAMPAIGN if s is state and o is not Order.FINISH)
        raise Conflict(
            f"a campaign that is {state} takes no order to {order}",
            hint=f"possible now: {', '.join(possible) or 'nothing'}",
        )
    return found


def moved(before: Standing, now: Standing) -> Standing:
    """Return `now` if a device may come to stand so.

    Raises:
        Conflict: It may not.
    """
    if now not in TARGET[before]:
        raise Conflict(f"a device that is {before} cannot become {now}")
    return now


def _reach(start: Outcome) -> frozenset[Outcome]:
    found, fresh = set[Outcome](), set(REPORTED[start])
    while fresh:
        found |= fresh
        fresh = {after for one in fresh for after in REPORTED[one]} - found
    return frozenset(found)


REACHABLE: Final[Mapping[Outcome, frozenset[Outcome]]] = {one: _reach(one) for one in Outcome}
"""What a device may say later, also when words in between were lost."""
