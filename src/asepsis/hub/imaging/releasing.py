"""Taking an object out of quarantine: a person decides, with a reason, and the log says so first.

Only what a policy set apart can be released. An object that lies about itself has no place in the
index, whatever a person thinks of it.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, select

from asepsis.core.errors import Conflict, NotFound
from asepsis.core.wire.dicom_facts import Reason
from asepsis.core.wire.inspection import Passed, Refused
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.imaging.index import Entry, Indexed
from asepsis.hub.imaging.rules import Repeat
from asepsis.hub.imaging.service import ImageService
from asepsis.hub.imaging.tables import instances, quarantine
from asepsis.hub.store.store import Store

REASON_CHARS_MAX: Final = 500
RELEASABLE: Final = frozenset({Reason.PRIVATE_ELEMENT.value, Reason.INSPECTION_FAILED.value})
"""Set apart by a policy of this hospital, or because the inspection itself failed."""


@dataclass(frozen=True, slots=True)
class Releases:
    """The use case.

    Attributes:
        store: The state.
        audit: Gets an entry before anything is released.
        service: Holds images.
    """

    store: Store
    audit: AuditLog
    service: ImageService

    async def release(self, number: int, *, actor: str, reason: str) -> str:
        """Hold an object that was set apart, and tell of it; return its SOP Instance UID.

        Safe to repeat after any failure; what a crash left untold is told at the next start.

        Args:
            number: Of the quarantine.
            actor: Who decides.
            reason: Why.

        Raises:
            NotFound: No such object, or it was released already.
            Conflict: It was set apart for what it is, is still refused, or its UID is taken.
            Unavailable: The state or the inspection does not answer.
        """
        row = await self.store.read(lambda connection: _row(connection, number))
        if row.reason not in RELEASABLE:
            raise Conflict(
                f"it was set apart for what it is ({row.reason})",
                hint="the modality has to send it anew",
            )
        answer = await self.service.threads.call(lambda: self._inspect(row))
        if isinstance(answer, Refused):
            raise Conflict(f"it is refused still: {answer.text}")
        await self._note(row, actor=actor, reason=reason)
        entry = _entry(row, answer, at_ns=self.service.wall())
        if not await self.store.read(lambda connection: _is_held(connection, entry)):
            await self._hold(entry, await self.service.index.add(entry))
        gone = delete(quarantine).where(quarantine.c.id == number)
        await self.store.write(lambda connection: connection.execute(gone))
        self.service.quarantined_bytes -= row.length
        return entry.sop_instance

    def _inspect(self, row: Row[Any]) -> Passed | Refused:
        reader = self.service.vault.reader(row.object, byte_count=row.length)
        try:
            return self.service.inspector.inspect(reader)
        finally:
            reader.close()

    async def _hold(self, entry: Entry, indexed: Indexed) -> None:
        if indexed.repeat is Repeat.CONFLICT:
            raise Conflict("the instance is held with other bytes")
        if indexed.repeat is Repeat.SAME:
            vault = self.service.vault
            await self.service.threads.call(lambda: vault.remove(entry.object))
        else:
            self.service.held += 1
            self.service.held_bytes += entry.length
        if not indexed.told:
            await self.service.teller.tell(indexed.id, entry)

    async def _note(self, row: Row[Any], *, actor: str, reason: str) -> None:
        act = Act(
            actor=actor,
            action="release-image",
            subject=row.device,
            outcome=row.reason,
            detail={"instance": row.sop_instance, "sha256": row.sha256.hex(), "reason": reason},
        )
        await self.store.write(lambda connection: self.audit.record(connection, act))


def _row(connection: Connection, number: int) -> Row[Any]:
    found = connection.execute(select(quarantine).where(quarantine.c.id == number)).one_or_none()
    if found is None:
        raise NotFound("no such object in quarantine", hint="asepsis images quarantine")
    return found


def _is_held(connection: Connection, entry: Entry) -> bool:
    """Whether this very file is held: an earlier release was cut short after that."""
    query = select(instances.c.id).where(
        instances.c.sop_instance == entry.sop_instance, instances.c.object == entry.object
    )
    return connection.execute(query).first() is not None


def _entry(row: Row[Any], passed: Passed, *, at_ns: int) -> Entry:
    return Entry(
        sop_instance=passed.instance,
        series=passed.series,
        study=passed.study,
        sop_class=passed.sop_class,
        transfer_syntax=passed.transfer_syntax,
        length=row.length,
        sha256=row.sha256,
        object=row.object,
        sender=row.sender,
        device=row.device,
        calling_ae=row.calling_ae,
        person="",
        received_at_ns=at_ns,
        attributes=passed.attributes,
    )
