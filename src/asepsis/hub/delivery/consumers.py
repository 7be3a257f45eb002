"""The durable lane of a consumer: pull a batch, do the work, commit the cursor."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from asepsis.core.journal.ports import Record
from asepsis.core.model.lanes import Lane
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action, decide
from asepsis.hub.delivery.ports import DeliveryJournal
from asepsis.hub.delivery.rules import BatchQuery


class Consumers:
    """Serves every consumer from its own cursor.

    Args:
        journal: The durable log.
    """

    def __init__(self, journal: DeliveryJournal) -> None:
        self._journal = journal

    async def batch(
        self, principal: Principal, consumer: str, query: BatchQuery
    ) -> Sequence[Record]:
        """Return the next records, waiting for the first if there is none.

        Args:
            principal: Who asks; only the consumer itself.
            consumer: Whose cursor.
            query: Lane, amount and patience.

        Raises:
            NotPermitted: Another's cursor.
            NotFound: Not registered for the lane.
        """
        decide(principal, Action.CONSUME, consumer)
        tail = self._journal.subscribe(query.lane)
        end = tail.position  # Taken before the first look, so nothing can fall between.
        records = await self._pull(consumer, query)
        if records or not query.wait_s:
            return records
        with suppress(TimeoutError):
            async with asyncio.timeout(query.wait_s):
                await tail.beyond(end)
        return await self._pull(consumer, query)

    async def commit(self, principal: Principal, consumer: str, lane: Lane, position: int) -> None:
        """Say that everything up to a position is dealt with.

        Raises:
            NotPermitted: Another's cursor.
            NotFound: Not registered for the lane.
            InputError: Beyond the end of the stream.
        """
        decide(principal, Action.COMMIT_CURSOR, consumer)
        await self._journal.commit(consumer, lane, position)

    async def _pull(self, consumer: str, query: BatchQuery) -> Sequence[Record]:
        return await self._journal.pull(consumer, query.lane, records_max=query.records_max)
