"""What associations need from outside; the composition root fills these in."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from asepsis.core.journal.ports import AccountState, Record
from asepsis.core.model.lanes import Account, Lane


class LaneTail(Protocol):
    """Follows the end of one lane."""

    @property
    def position(self) -> int:
        """Return the lane's end now."""
        ...

    async def beyond(self, position: int) -> int:
        """Wait until the lane has grown beyond a position and return its end."""
        ...


class FollowedJournal(Protocol):
    """The journal as the followers use it, on the event loop."""

    async def register(self, consumer: str, lanes: Mapping[Lane, bool]) -> None:
        """Create or change a consumer; True marks a lane whose delivery is mandatory."""
        ...

    async def pull(self, consumer: str, lane: Lane, *, records_max: int) -> Sequence[Record]:
        """Return the records after a consumer's durable cursor without moving it."""
        ...

    async def commit(self, consumer: str, lane: Lane, position: int) -> None:
        """Move a consumer's cursor durably."""
        ...

    async def account(self, account: Account, producer: str, epoch: int) -> AccountState:
        """Return what was received from one producer in one epoch."""
        ...

    def subscribe(self, lane: Lane) -> LaneTail:
        """Return the lane's tail."""
        ...
