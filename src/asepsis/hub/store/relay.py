"""The relay: from the outbox to the journal, in order, by one hub at a time."""

from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy import Connection

from asepsis.core.journal.ports import Append, Receipt
from asepsis.core.model.lanes import Account, Lane
from asepsis.hub.store.leases import Lease, LeasedTask, check_held
from asepsis.hub.store.outbox import forget, pending
from asepsis.hub.store.store import Store

PRODUCER: Final = "hub:outbox"
EPOCH: Final = 1
KIND: Final = "event"
EVENTS_MAX: Final = 64
"""Events moved in one step."""
EVERY_S: Final = 1.0
"""Longest wait of an event when nobody calls `wake`."""


class OutboxRelay:
    """Moves committed events to the journal's event lane, with the outbox id as sequence.

    Args:
        store: Where the outbox stands.
        append: Appends durably to the journal, such as `AsyncJournal.append`.
        holder: Name of this hub process.
    """

    def __init__(
        self, store: Store, append: Callable[[Append], Awaitable[Receipt]], *, holder: str
    ) -> None:
        self._store = store
        self._append = append
        self.task = LeasedTask(
            store, "outbox-relay", holder=holder, work=self._move, every_s=EVERY_S
        )

    def wake(self) -> None:
        """Move what was just committed; call it from the event loop."""
        self.task.wake()

    async def run(self) -> None:
        """Relay until cancelled."""
        await self.task.run()

    async def _move(self, lease: Lease) -> None:
        while events := await self._store.read(lambda c: pending(c, events_max=EVENTS_MAX)):
            now_ns = self._store.clock()
            # One after the other: if one is refused, no later event may overtake it.
            for event_id, body in events:
                await self._append(_record(event_id, body, now_ns))
            through_id = events[-1][0]

            def clear(connection: Connection, through_id: int = through_id) -> None:
                check_held(connection, lease)
                forget(connection, through_id=through_id)

            # If we die before this, the next relay appends again, and the journal finds duplicates.
            await self._store.write(clear)


def _record(event_id: int, body: bytes, now_ns: int) -> Append:
    return Append(
        lane=Lane.EVENT,
        account=Account.EVENT,
        producer=PRODUCER,
        epoch=EPOCH,
        sequence=event_id,
        kind=KIND,
        body=body,
        received_at_ns=now_ns,
    )
