"""Storage commitment by an archive with DICOMweb, which has no word for it: the hub looks.

Each instance is found by a search *and* fetched and compared, bit for bit. While the archive does
not answer, nobody is told anything; an instance that is still on its way is waited for.

Source: DICOM PS3.4 annex J; PS3.18 sections 10.4 and 10.6.
"""

import asyncio
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection, delete, select

from asepsis.core.errors import AsepsisError, NotFound
from asepsis.core.wire import commitment
from asepsis.core.wire.commitment import Reason, Reference, Word
from asepsis.core.wire.relay import Asked, Match, Page
from asepsis.hub.delivery.archive_web import WebArchive
from asepsis.hub.delivery.line import Line
from asepsis.hub.delivery.model import ItemKind, Kind, LetterState
from asepsis.hub.delivery.outgoing_http import HttpOut
from asepsis.hub.delivery.ports import HeldImages
from asepsis.hub.delivery.progress import instance_of
from asepsis.hub.delivery.service import DeliveryService
from asepsis.hub.delivery.tables import delivered, letters
from asepsis.hub.store.store import Store

LOOK_S: Final = 1.0
"""Pause between two looks for a commitment that is asked of an archive."""
LETTERS_MAX: Final = 5_000
"""Newest dead letters of a destination among which an instance is looked for."""
PAGE: Final = 500
STILL_EVERY: Final = 16
"""After so many instances the question is kept from being offered anew."""

log = structlog.get_logger("delivery")


class Questions(Protocol):
    """Commitments that wait for an archive's word."""

    async def take(self, archive: str) -> Asked | None:
        """Return the next question of an archive."""
        ...

    async def answer(self, archive: str, question: str, page: Page) -> None:
        """Take a page of its answer."""
        ...


class Progress:
    """How far instances are on their way to a destination.

    Args:
        service: Destinations.
        store: What was delivered, and what was not.
        images: What the hub holds.
    """

    def __init__(self, service: DeliveryService, store: Store, images: HeldImages) -> None:
        self._service = service
        self._store = store
        self._images = images

    async def settled(self, asked: Asked) -> bool:
        """Say whether every instance of a commitment was taken or refused, or is not here at all.

        Raises:
            InputError: The question names no instances.
            Unavailable: The state does not answer.
        """
        self._service.line(asked.archive)
        wanted = {each.sop_instance for each in commitment.references_of(asked.dataset)}
        there = await self._store.read(lambda c: _decided(c, asked.archive, wanted))
        for instance in wanted - there:
            try:
                (await self._images.open(instance)).close()
            except NotFound:
                continue
            return False
        return True

    async def revoke(self, asked: Asked, page: Page) -> None:
        """Let nothing count as accepted that an archive says it does not keep.

        Raises:
            InputError: Its word cannot be read.
            Unavailable: The state does not answer.
        """
        if not page.matches:
            return
        references = commitment.references_of(asked.dataset)
        word = commitment.word_of(page.matches[0].dataset, references)
        lost = [each.sop_instance for each, _ in word.failed]
        if not lost:
            return
        log.warning("an archive does not keep images", destination=asked.archive, count=len(lost))

        def work(connection: Connection) -> None:
            for at in range(0, len(lost), PAGE):
                connection.execute(
                    delete(delivered).where(
                        delivered.c.destination == asked.archive,
                        delivered.c.instance.in_(lost[at : at + PAGE]),
                    )
                )

        await self._store.write(work)

    async def was_committed(self, name: str, instance: str) -> bool:
        """Say whether a destination that commits has taken an instance."""
        query = select(delivered.c.instance).where(
            delivered.c.destination == name, delivered.c.instance == instance
        )
        found = await self._store.read(lambda c: c.execute(query).first())
        return found is not None and self._service.line(name).destination.commits


def _decided(connection: Connection, name: str, wanted: set[str]) -> set[str]:
    """Return the instances that a destination has taken, or has refused for now."""
    found: set[str] = set()
    names = sorted(wanted)
    for at in range(0, len(names), PAGE):
        query = select(delivered.c.instance).where(
            delivered.c.destination == name, delivered.c.instance.in_(names[at : at + PAGE])
        )
        found |= {row.instance for row in connection.execute(query)}
    states = [state.value for state in LetterState if state is not LetterState.QUEUED]
    rows = connection.execute(
        select(letters.c.body)
        .where(
            letters.c.destination == name,
            letters.c.kind == ItemKind.INSTANCE.value,
            letters.c.state.in_(states),
        )
        .order_by(letters.c.id.desc())
        .limit(LETTERS_MAX)
    )
    return found | {instance_of(row.body) for row in rows} & wanted


class WebCommitter:
    """Gives the word of archives with DICOMweb; one for a hub.

    Args:
        service: Destinations.
        out: Connects to judged addresses.
        images: What the hub holds.
        questions: What is asked.
        progress: Says whether instances are still on their way.
    """

    def __init__(
        self,
        service: DeliveryService,
        out: HttpOut,
        images: HeldImages,
        *,
        questions: Questions,
        progress: Progress,
    ) -> None:
        self._service = service
        self._out = out
        self._images = images
        self._questions = questions
        self._progress = progress

    async def run(self) -> None:
        """Answer what is asked, one question of each archive at a time, until cancelled."""
        tasks: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                for line in self._service.lines():
                    name = line.destination.name
                    running = name in tasks and not tasks[name].done()
                    if line.destination.kind is Kind.STOW and not running:
                        tasks[name] = asyncio.create_task(self._serve(line))
                await asyncio.sleep(LOOK_S)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _serve(self, line: Line) -> None:
        name = line.destination.name
        try:
            asked = await self._questions.take(name)
            if asked is None:
                return
            try:
                page = await self._word(line, asked)
            except AsepsisError as error:
                # No word of the archive: nobody is told anything, and it is asked again.
                log.warning("a commitment waits", destination=name, code=error.code)
                page = Page(last=True, retry=True)
            if not page.retry:
                await self._progress.revoke(asked, page)
            await self._questions.answer(name, asked.id, page)
        except AsepsisError as error:
            log.warning("commitments cannot be read or noted", destination=name, code=error.code)

    async def _word(self, line: Line, asked: Asked) -> Page:
        if not await self._progress.settled(asked):
            return Page(last=True, retry=True)
        destination = line.destination
        references = commitment.references_of(asked.dataset)
        kept: list[Reference] = []
        failed: list[tuple[Reference, int]] = []
        async with self._out.bound(destination) as there:
            archive = WebArchive(there)
            for number, each in enumerate(references, 1):
                reason = await self._look(archive, destination.name, each)
                if reason is None:
                    kept.append(each)
                else:
                    failed.append((each, reason))
                if not number % STILL_EVERY:
                    await self._questions.answer(destination.name, asked.id, Page())
        transaction = commitment.transaction_of(asked.dataset)
        document = commitment.report(transaction, destination.title, Word(kept, failed))
        return Page(last=True, status=0, matches=(Match(dataset=document),))

    async def _look(self, archive: WebArchive, name: str, each: Reference) -> int | None:
        """Return why an instance is not committed, or None if it is."""
        if not await archive.lists(each.sop_instance):
            return Reason.NO_SUCH_INSTANCE
        try:
            image = await self._images.open(each.sop_instance)
        except NotFound:
            # It was purged here, which it is once this archive gave it back unchanged.
            gone = await self._progress.was_committed(name, each.sop_instance)
            return None if gone else Reason.PROCESSING
        try:
            if image.sop_class != each.sop_class:
                return Reason.CLASS_MISMATCH
            return None if await archive.has_the_same(image) else Reason.PROCESSING
        finally:
            image.close()
