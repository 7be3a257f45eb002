"""Questions that are kept until they are answered: steps that were performed, and commitments.

A row of the state is committed before who asks hears that it is kept. It is offered to the
archive's gateway, oldest first, until that gives an answer; rows of one instance never overtake
each other.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from asepsis.core.errors import BackPressure, Conflict, NotFound
from asepsis.core.wire import relay
from asepsis.core.wire.relay import Asked, Kind, Page
from asepsis.hub.imaging.tables import questions
from asepsis.hub.store.store import Store, next_number

COUNTER: Final = "relay-questions"
WAITING_MAX: Final = 10_000
"""Questions of one archive that wait for its answer."""
NS: Final = 1_000_000_000
LEASE_NS: Final = 60 * NS
"""A question is offered anew if its gateway says nothing of it for so long."""
AGAIN_NS: Final = 3 * NS
"""Pause before a question whose archive is away is offered anew."""
KEEP_NS: Final = 7 * 86_400 * NS
"""How long an answer is kept for who asked."""
GIVE_UP_NS: Final = 30 * 86_400 * NS
"""A question that nobody answered for so long is answered with a failure."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Kept:
    """What is known of a row without reading it."""

    number: int
    id: str
    asker: str
    archive: str
    instance: str
    asked_ns: int
    kind: Kind | None = None
    not_before_ns: int = 0
    answered_ns: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class DurableRelay:
    """Questions in the state; one for a hub, for one event loop.

    Args:
        store: The state.
        wall: Nanoseconds since 1970.
    """

    def __init__(self, store: Store, wall: Callable[[], int]) -> None:
        self._store = store
        self._wall = wall
        self._kept: dict[str, _Kept] = {}

    async def restore(self) -> None:
        """Read what was kept; before anything is asked.

        Raises:
            Unavailable: The state does not answer.
        """
        query = select(
            questions.c.number, questions.c.id, questions.c.asker, questions.c.archive,
            questions.c.instance, questions.c.asked_ns, questions.c.answered_ns,
        ).order_by(questions.c.number)  # fmt: skip
        for row in await self._store.read(lambda c: c.execute(query).all()):
            self._kept[row.id] = _Kept(
                number=row.number,
                id=row.id,
                asker=row.asker,
                archive=row.archive,
                instance=row.instance,
                asked_ns=row.asked_ns,
                answered_ns=row.answered_ns,
            )

    async def ask(self, asker: str, asked: Asked) -> None:
        """Keep a question durably; the same id again is nothing new.

        Raises:
            BackPressure: Too many of this archive wait.
            Conflict: Somebody else's id.
            Unavailable: The state does not answer; nothing was kept.
        """
        known = self._kept.get(asked.id)
        if known is not None:
            if known.asker != asker:
                raise Conflict("another question has this id")
            return
        waiting = sum(
            1 for k in self._kept.values() if k.archive == asked.archive and not k.answered_ns
        )
        if waiting >= WAITING_MAX:
            raise BackPressure("too many questions wait for this archive", retry_after_s=60)
        # What was committed is known here even if who asked went away meanwhile.
        await asyncio.shield(asyncio.create_task(self._keep(asker, asked)))

    async def take(self, archive: str) -> Asked | None:
        """Return the next question of an archive, and count it as taken for a while.

        Raises:
            Unavailable: The state does not answer.
        """
        now_ns, before = self._wall(), set[str]()
        for each in sorted(self._kept.values(), key=lambda kept: kept.number):
            if each.archive != archive or each.answered_ns:
                continue
            if each.instance not in before and each.not_before_ns <= now_ns:
                each.not_before_ns = now_ns + LEASE_NS
                return await self._read(each)
            before.add(each.instance)
        return None

    async def answer(self, archive: str, question: str, page: Page) -> None:
        """Take a page; one that is not the last only says that the gateway is at work.

        Raises:
            NotFound: No such question of this archive.
            Unavailable: The state does not answer; nothing was noted.
        """
        kept = self._kept.get(question)
        if kept is None or kept.archive != archive:
            raise NotFound("nobody asked this")
        now_ns = self._wall()
        if kept.answered_ns:
            return
        if not page.last or page.retry:
            kept.not_before_ns = now_ns + (AGAIN_NS if page.retry else LEASE_NS)
            return
        row = questions.c.number == kept.number
        values = {"answered_ns": now_ns, "answer": relay.encode(page)}
        await self._store.write(lambda c: c.execute(update(questions).where(row).values(values)))
        kept.answered_ns = now_ns
        kept.changed.set()

    async def fetch(self, asker: str, question: str, *, wait_s: float) -> bytes | None:
        """Return the answer, or None if there is none within the wait.

        Raises:
            NotFound: No such question of this asker.
            Unavailable: The state does not answer.
        """
        kept = self._kept.get(question)
        if kept is None or kept.asker != asker:
            raise NotFound("no such question is kept")
        if not kept.answered_ns:
            try:
                async with asyncio.timeout(wait_s):
                    await kept.changed.wait()
            except TimeoutError:
                return None
        query = select(questions.c.answer).where(questions.c.number == kept.number)
        return await self._store.read(lambda c: c.execute(query).scalar_one())

    async def answered(self, asker: str, kind: Kind, *, skip: int = 0) -> tuple[Asked, Page] | None:
        """Return an answered question of a kind that its asker has not put away.

        Args:
            asker: Whose.
            kind: Which.
            skip: How many older ones are left out.

        Raises:
            Unavailable: The state does not answer.
        """
        for each in sorted(self._kept.values(), key=lambda kept: kept.number):
            if each.asker != asker or not each.answered_ns or each.kind not in {None, kind}:
                continue
            asked = await self._read(each)
            each.kind = asked.kind
            if asked.kind is not kind:
                continue
            if not skip:
                query = select(questions.c.answer).where(questions.c.number == each.number)
                body = await self._store.read(lambda c, query=query: c.execute(query).scalar_one())
                return asked, relay.decode_page(body or b"")
            skip -= 1
        return None

    async def put_away(self, asker: str, question: str) -> None:
        """Forget an answered question whose answer has reached its end.

        Raises:
            NotFound: No such question of this asker that was answered.
            Unavailable: The state does not answer.
        """
        kept = self._kept.get(question)
        if kept is None or kept.asker != asker or not kept.answered_ns:
            raise NotFound("no such answer is kept")
        row = questions.c.number == kept.number
        await self._store.write(lambda c: c.execute(delete(questions).where(row)))
        del self._kept[question]

    async def asked(self, archive: str, question: str) -> tuple[str, Asked] | None:
        """Return who asked a question of an archive that is not answered, and what; or None.

        Raises:
            Unavailable: The state does not answer.
        """
        kept = self._kept.get(question)
        if kept is None or kept.archive != archive or kept.answered_ns:
            return None
        return kept.asker, await self._read(kept)

    def knows(self, question: str) -> bool:
        """Whether a question is kept here."""
        return question in self._kept

    def waiting(self) -> dict[str, int]:
        """Return archive -> questions without an answer, for people who run the hub."""
        found: dict[str, int] = {}
        for each in self._kept.values():
            if not each.answered_ns:
                found[each.archive] = found.get(each.archive, 0) + 1
        return found

    async def clear(self) -> list[str]:
        """Forget old answers; return the archives of questions that are given up now.

        Raises:
            Unavailable: The state does not answer.
        """
        now_ns, given_up = self._wall(), list[str]()
        for each in list(self._kept.values()):
            if each.answered_ns and each.answered_ns + KEEP_NS < now_ns:
                row = questions.c.number == each.number
                await self._store.write(lambda c, row=row: c.execute(delete(questions).where(row)))
                del self._kept[each.id]
            elif not each.answered_ns and each.asked_ns + GIVE_UP_NS < now_ns:
                given_up.append(each.archive)
                page = Page(last=True, status=relay.NOT_ANSWERED, comment="nobody answered")
                await self.answer(each.archive, each.id, page)
        return given_up

    async def _keep(self, asker: str, asked: Asked) -> None:
        now_ns, body = self._wall(), relay.encode(asked)

        def keep(connection: Connection) -> int:
            number = next_number(connection, COUNTER)
            connection.execute(
                insert(questions).values(
                    number=number, id=asked.id, asker=asker, archive=asked.archive,
                    instance=asked.instance, asked_ns=now_ns, asked=body, answered_ns=0,
                )
            )  # fmt: skip
            return number

        number = await self._store.write(keep)
        self._kept[asked.id] = _Kept(
            number=number,
            id=asked.id,
            asker=asker,
            archive=asked.archive,
            instance=asked.instance,
            asked_ns=now_ns,
            kind=asked.kind,
        )

    async def _read(self, kept: _Kept) -> Asked:
        query = select(questions.c.asked).where(questions.c.number == kept.number)
        body = await self._store.read(lambda c: c.execute(query).scalar_one())
        return relay.decode_asked(body)
