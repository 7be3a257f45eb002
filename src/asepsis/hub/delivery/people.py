"""What people decide about dead letters; every act and every look at content is audited."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from asepsis.core.errors import Conflict, NotFound
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_names import field_name
from asepsis.hub.access.ports import AuditWriter
from asepsis.hub.delivery import letters
from asepsis.hub.delivery.letters import Letter, Opened, Search
from asepsis.hub.delivery.model import ItemKind, Kind, LetterState
from asepsis.hub.delivery.service import DeliveryService
from asepsis.hub.store.store import Store

FIELDS_SHOWN_MAX: Final = 5_000
TAKES: Final = {
    ItemKind.HL7: frozenset({Kind.MLLP, Kind.GATEWAY}),
    ItemKind.INSTANCE: frozenset({Kind.GATEWAY, Kind.STOW}),
    ItemKind.FHIR: frozenset({Kind.FHIR}),
    ItemKind.NOTICE: frozenset({Kind.REST_HOOK}),
}
"""Which kinds of destination a dead letter can be redirected to."""


class DeadLetters:
    """The use cases.

    Args:
        store: Where letters stand.
        service: The lines that they came from and go to.
        audit: Gets an entry for each act.
    """

    def __init__(self, store: Store, service: DeliveryService, audit: AuditWriter) -> None:
        self._store = store
        self._service = service
        self._audit = audit

    async def search(self, wanted: Search, *, actor: str) -> Sequence[Letter]:
        """Return letters without their content; a search for a patient is audited."""

        def work(connection: Connection) -> Sequence[Letter]:
            if wanted.patient:
                self._note(connection, actor, "search-dead-letters", "patient")
            return letters.search(connection, self._store.sealer, wanted)

        if wanted.patient:
            return await self._store.write(work)
        return await self._store.read(work)

    async def read(self, number: int, *, actor: str) -> Opened:
        """Return a letter with its content.

        Raises:
            NotFound: No such letter.
        """

        def work(connection: Connection) -> Opened:
            opened = letters.read(connection, number)
            self._note(connection, actor, "read-dead-letter", f"letter:{number}")
            return opened

        return await self._store.write(work)

    async def replay(self, number: int, *, actor: str, reason: str) -> None:
        """Send a letter again to the destination that did not take it.

        Raises:
            NotFound: No such letter, or the destination is gone.
            Conflict: Somebody decided already.
        """
        opened = await self._store.read(lambda c: letters.read(c, number))
        line = self._service.line(opened.letter.destination)
        stands = opened.letter.state is LetterState.BLOCKING and line.blocking == opened.letter.key

        def work(connection: Connection) -> Opened:
            self._note(connection, actor, "replay-dead-letter", f"letter:{number}", reason=reason)
            if stands:
                return letters.decide(connection, number, LetterState.QUEUED)
            return letters.queue_for(connection, number, line.destination.name)

        opened = await self._store.write(work)
        if not stands or not line.decided(opened.letter.key, again=True):
            line.inject(opened.item)

    async def redirect(self, number: int, destination: str, *, actor: str, reason: str) -> None:
        """Send a letter to another destination instead.

        Raises:
            NotFound: No such letter or destination.
            Conflict: Somebody decided already, or the destination carries something else.
        """
        line = self._service.line(destination)
        opened = await self._store.read(lambda c: letters.read(c, number))
        # A message goes wherever messages go; to alert receivers as itself, which is of then.
        images = opened.letter.kind is ItemKind.INSTANCE
        fits = "images" if images else "messages"
        fits_kind = line.destination.kind in TAKES[opened.letter.kind]
        same = destination == opened.letter.destination
        if (line.destination.options.carries == "images") != images or same or not fits_kind:
            raise Conflict(f"it goes to another destination that carries {fits}")

        def work(connection: Connection) -> Opened:
            self._note(
                connection,
                actor,
                "redirect-dead-letter",
                f"letter:{number}",
                reason=reason,
                to=destination,
            )
            return letters.queue_for(connection, number, destination)

        opened = await self._store.write(work)
        self._release(opened)
        line.inject(opened.item)

    async def discard(self, number: int, *, actor: str, reason: str) -> None:
        """Give a letter up; nobody gets it from here any more.

        Raises:
            NotFound: No such letter.
            Conflict: Somebody decided already.
        """

        def work(connection: Connection) -> Opened:
            opened = letters.decide(connection, number, LetterState.DISCARDED)
            self._note(connection, actor, "discard-dead-letter", f"letter:{number}", reason=reason)
            return opened

        self._release(await self._store.write(work))

    def _release(self, opened: Opened) -> None:
        """Let a line go on that stood still for a letter."""
        if opened.letter.state is not LetterState.BLOCKING:
            return
        try:
            line = self._service.line(opened.letter.destination)
        except NotFound:
            return  # It was removed meanwhile.
        line.decided(opened.letter.key, again=False)

    def _note(
        self, connection: Connection, actor: str, action: str, subject: str, **detail: object
    ) -> None:
        self._audit.note(connection, actor=actor, action=action, subject=subject, **detail)


def fields_of(body: bytes) -> list[dict[str, str]]:
    """Return the fields of a message with their names, those that are not empty.

    Raises:
        InputError: Not a message.
    """
    message = Message.parse(body)
    counts: dict[str, int] = {}
    found: list[dict[str, str]] = []
    for segment in message.segments():
        counts[segment.name] = counts.get(segment.name, 0) + 1
        number = counts[segment.name]
        place = segment.name if number == 1 else f"{segment.name}[{number}]"
        for field in range(1, len(segment) + 1):
            raw = segment.raw(field)
            if raw and len(found) < FIELDS_SHOWN_MAX:
                found.append(
                    {
                        "path": f"{place}-{field}",
                        "name": field_name(segment.name, field),
                        "value": raw.decode("utf-8", "replace"),
                    }
                )
    return found
