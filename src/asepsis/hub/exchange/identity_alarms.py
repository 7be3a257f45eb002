"""Alarms of the registry and the signer as technical conditions: from the event lane to the alerts.

They reach the event lane durably through the outbox, whoever found them. Here they are followed
from a cursor that moves only when the condition they began is durable in the alert lane, so a
restart loses none; one that is repeated finds its condition open.

Source: REQ-ID-022, REQ-ALM-013.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from asepsis.core.errors import InputError, NotFound, TransientError
from asepsis.core.journal.ports import Record
from asepsis.core.model.lanes import Lane
from asepsis.hub.exchange.lease import OPENED_BY, QUIET, Fact
from asepsis.hub.exchange.ports import Directory, EventJournal
from asepsis.hub.exchange.supervisor import Supervisor
from asepsis.hub.store.outbox import Event, EventReader
from asepsis.hub.store.relay import PRODUCER as OUTBOX

CONSUMER: Final = "hub:identity-alarms"
TOPIC: Final = "alarm.technical"
HUB: Final = "hub"
"""Whom a condition is about that concerns no enrolled machine."""
READ_RECORDS: Final = 200
RETRY_S: Final = 0.5
_FACTS: Final[Mapping[str, Fact]] = {"identity-in-use-twice": Fact.CERTIFICATES_FOUND}

log = structlog.get_logger("exchange.identity_alarms")


class IdentityAlarms:
    """Follows the event lane.

    Args:
        journal: The durable log.
        supervisor: Keeps the conditions.
        directory: Says who is enrolled.
        wall: Wall clock, nanoseconds since 1970.
    """

    def __init__(
        self,
        journal: EventJournal,
        supervisor: Supervisor,
        directory: Directory,
        *,
        wall: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._supervisor = supervisor
        self._directory = directory
        self._wall = wall
        self._reader = EventReader()

    async def run(self) -> None:
        """Follow until cancelled."""
        await self._journal.register(CONSUMER, {Lane.EVENT: False})
        tail = self._journal.subscribe(Lane.EVENT)
        while True:
            end = tail.position  # Taken before the look, so nothing can fall between.
            try:
                await self._take_all()
            except TransientError:
                log.warning("the event lane cannot be followed; trying again")
                await asyncio.sleep(RETRY_S)
                continue
            await tail.beyond(end)

    async def _take_all(self) -> None:
        while records := await self._journal.pull(CONSUMER, Lane.EVENT, records_max=READ_RECORDS):
            for record in records:
                self._take(record)
            await self._supervisor.settled()
            await self._journal.commit(CONSUMER, Lane.EVENT, records[-1].position)

    def _take(self, record: Record) -> None:
        if record.append.producer != OUTBOX:
            return
        try:
            event = self._reader.read(record.append.body)
        except InputError:
            log.exception("unreadable event", position=record.position)
            return
        if event.topic == TOPIC:
            self._raise(event)

    def _raise(self, event: Event) -> None:
        fact = _FACTS.get(str(event.data.get("code")), Fact.SIGNER_ALARMED)
        _, quiet_ns = QUIET[OPENED_BY[fact]]
        if self._wall() - event.at_ns < quiet_ns:
            self._supervisor.fact(self._subject(event.subject), fact)

    def _subject(self, name: str) -> str:
        try:
            return self._directory.device(name).name
        except NotFound:
            # Whoever asks for a certificate chooses the name: it opens no condition of its own.
            return HUB
