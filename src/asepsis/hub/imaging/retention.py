"""How long images are held: never shorter than until their archives accepted them.

The hub is no archive. What was accepted is held for a while, for viewers and for a second try,
and goes the oldest first; if space runs out it goes sooner. What no archive accepted stays, if
need be until the hub takes no more images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Connection, delete, select, update

from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.imaging.ports import Deliveries
from asepsis.hub.imaging.rules import Keeping, may_purge
from asepsis.hub.imaging.service import ImageService
from asepsis.hub.imaging.tables import instances, quarantine
from asepsis.hub.store.store import Store

ASKED_MAX: Final = 2_000
"""Instances of which one round asks what became of them."""
PURGED_MAX: Final = 500
"""Instances that one round removes."""
ACTOR: Final = "hub:imaging"

log = structlog.get_logger("imaging")


@dataclass(frozen=True, slots=True)
class _Held:
    id: int
    sop_instance: str
    object: str
    length: int
    received_at_ns: int


@dataclass(slots=True, kw_only=True)
class Retention:
    """Lets go of what may go.

    Attributes:
        store: The state.
        audit: Gets an entry for each round that removed something.
        service: What is held.
        deliveries: Says what archives accepted.
        keeping: How long at least.
        wall: Wall clock, nanoseconds since 1970.
    """

    store: Store
    audit: AuditLog
    service: ImageService
    deliveries: Deliveries
    keeping: Keeping
    wall: Callable[[], int]
    _after: int = 0

    async def round(self) -> int:
        """Ask what was accepted, then remove what may go; return how many went.

        Raises:
            TransientError: State or disk do not answer; what was not removed is held.
        """
        await self._ask()
        removed = 0
        for held in await self._due():
            # Asked again: an archive may have been added since.
            if not await self.deliveries.accepted(held.sop_instance):
                await self._forget(held)
                continue
            await self._purge(held)
            removed += 1
        if removed:
            await self._note("purge-images", removed)
        discarded = await self._discard_old()
        if discarded:
            await self._note("discard-quarantined", discarded)
        return removed

    async def _ask(self) -> None:
        """Note which instances their archives have accepted, a stretch of them each round."""
        query = (
            select(instances.c.id, instances.c.sop_instance)
            .where(instances.c.accepted_at_ns.is_(None), instances.c.id > self._after)
            .order_by(instances.c.id)
            .limit(ASKED_MAX)
        )
        rows = await self.store.read(lambda connection: connection.execute(query).all())
        self._after = rows[-1].id if len(rows) == ASKED_MAX else 0
        accepted = [r.id for r in rows if await self.deliveries.accepted(r.sop_instance)]
        if accepted:
            change = update(instances).where(instances.c.id.in_(accepted))
            change = change.values(accepted_at_ns=self.wall())
            await self.store.write(lambda connection: connection.execute(change))

    async def _due(self) -> Sequence[_Held]:
        now_ns = self.wall()
        full = self.service.held_bytes > self.service.bytes_max * self.keeping.full_part

        def read(connection: Connection) -> Sequence[_Held]:
            rows = connection.execute(
                select(instances)
                .where(instances.c.accepted_at_ns.is_not(None))
                .order_by(instances.c.received_at_ns)
                .limit(PURGED_MAX)
            )
            return [
                _Held(row.id, row.sop_instance, row.object, row.length, row.received_at_ns)
                for row in rows
                if may_purge(
                    self.keeping,
                    received_at_ns=row.received_at_ns,
                    accepted_at_ns=row.accepted_at_ns,
                    now_ns=now_ns,
                    full=full,
                )
            ]

        return await self.store.read(read)

    async def _forget(self, held: _Held) -> None:
        change = update(instances).where(instances.c.id == held.id).values(accepted_at_ns=None)
        await self.store.write(lambda connection: connection.execute(change))

    async def _purge(self, held: _Held) -> None:
        # The file first: a row without a file is asked about again, a file without a row is lost.
        await self.service.threads.call(lambda: self.service.vault.remove(held.object))
        gone = delete(instances).where(instances.c.id == held.id)
        await self.store.write(lambda connection: connection.execute(gone))
        self.service.held -= 1
        self.service.held_bytes -= held.length

    async def _discard_old(self) -> int:
        """Remove objects that stood in quarantine long enough; their senders were refused."""
        before_ns = self.wall() - self.keeping.quarantine_ns
        # A release that was cut short leaves a row here whose file is held by then.
        held = select(instances.c.object)
        old = (quarantine.c.at_ns < before_ns) & quarantine.c.object.not_in(held)
        query = select(quarantine).where(old).limit(PURGED_MAX)
        rows = await self.store.read(lambda connection: connection.execute(query).all())
        for row in rows:
            await self.service.threads.call(lambda name=row.object: self.service.vault.remove(name))
            gone = delete(quarantine).where(quarantine.c.id == row.id)
            await self.store.write(lambda connection, gone=gone: connection.execute(gone))
            self.service.quarantined_bytes -= row.length
        return len(rows)

    async def _note(self, action: str, count: int) -> None:
        act = Act(actor=ACTOR, action=action, subject="images", detail={"count": count})
        await self.store.write(lambda connection: self.audit.record(connection, act))
        log.info(action, count=count)
