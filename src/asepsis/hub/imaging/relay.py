"""The channel between a modality's gateway and an archive's: who may ask, who may answer.

The hub looks at nothing but who asks for which modality, whom it is for, and the identifiers that
the audit log names. Questions that somebody waits for stay in memory, the others in the state.

Source: docs/reference/imaging-relay.md; ADR 0042.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from asepsis.core.errors import (
    AsepsisError,
    InputError,
    NotFound,
    NotPermitted,
    TransientError,
)
from asepsis.core.wire import relay
from asepsis.core.wire.commitment import references_of
from asepsis.core.wire.relay import DURABLE, WORKLIST, Asked, Kind, Page
from asepsis.hub.access.principal import Principal
from asepsis.hub.imaging.ports import ImageAudit, Sources
from asepsis.hub.imaging.relay_durable import DurableRelay
from asepsis.hub.imaging.relay_memory import MemoryRelay, Sheet

LOOK_S: Final = 1.0
"""Longest pause between two looks for a kept question whose time to be offered anew has come."""
CLEAR_EVERY_S: Final = 600.0
NS: Final = 1_000_000_000
GATEWAY_NAME: Final = "urn:uuid:"
_PATIENT_ID: Final = "00100020"
_STUDY: Final = "0020000D"

log = structlog.get_logger("relay")


class Commitments(Protocol):
    """What commitments need to know of destinations."""

    def check_commit(self, archive: str) -> None:
        """Let an archive be asked to commit, or raise.

        Raises:
            NotFound: No such destination.
            NotPermitted: It carries no images.
        """
        ...

    async def revoke(self, asked: Asked, page: Page) -> None:
        """Let nothing count as accepted that the archive says it does not keep.

        Raises:
            InputError: Its word cannot be read.
            Unavailable: The state does not answer.
        """
        ...

    async def settled(self, asked: Asked) -> bool:
        """Say whether no instance of a commitment is on its way to the archive any more.

        Raises:
            InputError: It names no instances.
            NotFound: No such destination.
            Unavailable: The state does not answer.
        """
        ...


class Archives(Protocol):
    """Which gateways answer for which archive."""

    def check(self, archive: str, gateway: str | None, *, worklist: bool) -> None:
        """Let an archive be asked, or let a gateway speak for it, or raise.

        Args:
            archive: As in `Asked`.
            gateway: Who speaks for it; None to ask whether somebody may at all.
            worklist: Whether it is a worklist, whose gateway is named as that source.

        Raises:
            NotFound: No such destination.
            NotPermitted: It is not declared as that, or is another's.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Relay:
    """The use cases; one for a hub, for one event loop.

    Attributes:
        memory: Questions that somebody waits for.
        durable: Questions that are kept.
        archives: Who answers.
        commitments: Says when an archive can be asked to commit.
        sources: Who may speak for a modality.
        audit: The audit log.
        monotonic: Nanoseconds.
    """

    memory: MemoryRelay
    durable: DurableRelay
    archives: Archives
    commitments: Commitments
    sources: Sources
    audit: ImageAudit
    monotonic: Callable[[], int]
    _asked: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])

    async def ask(self, principal: Principal, asked: Asked) -> None:
        """Take a question; of a durable kind it is durable on return.

        Raises:
            Conflict: Another question has this id.
            NotFound: No such archive.
            NotPermitted: This gateway does not speak for the modality, or nobody answers for this
                archive. It stands in the audit log.
            TransientError: Too many questions, or the state does not answer; nothing was kept.
        """
        try:
            self._check(principal, asked)
        except AsepsisError as error:
            await self._note(principal, "ask-archive", asked, outcome=error.code)
            raise
        known = self.memory.knows(asked.id) or self.durable.knows(asked.id)
        if not known:
            await self._note(principal, "ask-archive", asked)
        if asked.kind in DURABLE:
            await self.durable.ask(principal.name, asked)
        else:
            self.memory.ask(principal.name, asked)
        self._event(asked.archive).set()

    async def answers(
        self, principal: Principal, question: str, *, after: int, wait_s: float
    ) -> Sheet | None:
        """Return the next page of an answer to a question of this gateway, or None for none yet.

        Raises:
            InputError: A page that is gone or was never there.
            NotFound: No such question: it was lost with a restart, or its deadline passed.
            Unavailable: The state does not answer.
        """
        if not self.durable.knows(question):
            return await self.memory.fetch(principal.name, question, after=after, wait_s=wait_s)
        if after:
            raise InputError("a kept question has one page for an answer")
        body = await self.durable.fetch(principal.name, question, wait_s=wait_s)
        return None if body is None else Sheet(relay.JSON, body, last=True)

    async def end(self, principal: Principal, question: str) -> None:
        """Forget a question that nobody waits for any more; a kept one stays.

        Raises:
            NotFound: No such question of this gateway.
        """
        if not self.durable.knows(question):
            self.memory.end(principal.name, question)

    async def take(self, principal: Principal, archive: str, *, wait_s: float) -> Asked | None:
        """Return the next question of an archive for its gateway, or None within the wait.

        Raises:
            NotFound: No such archive.
            NotPermitted: It is another's.
            Unavailable: The state does not answer.
        """
        self._check_either(principal, archive)
        until_ns = self.monotonic() + int(wait_s * NS)
        event = self._event(archive)
        while True:
            event.clear()
            found = self.memory.take(archive) or await self._take_kept(archive)
            if found is not None:
                self.archives.check(archive, principal.name, worklist=found.kind in WORKLIST)
                return found
            left_s = (until_ns - self.monotonic()) / NS
            if left_s <= 0:
                return None
            try:
                async with asyncio.timeout(min(left_s, LOOK_S)):
                    await event.wait()
            except TimeoutError:
                continue

    async def report(
        self, principal: Principal, *, skip: int, wait_s: float
    ) -> tuple[Asked, Page] | None:
        """Return a commitment that this gateway asked for, with its answer, or None for none.

        It is the same one until `reported` puts it away.

        Raises:
            Unavailable: The state does not answer.
        """
        until_ns = self.monotonic() + int(wait_s * NS)
        while True:
            found = await self.durable.answered(principal.name, Kind.COMMIT, skip=skip)
            if found is not None or self.monotonic() >= until_ns:
                return found
            await asyncio.sleep(LOOK_S)

    async def reported(self, principal: Principal, question: str) -> None:
        """Put a commitment away whose answer its modality has.

        Raises:
            NotFound: No such answer of this gateway.
            Unavailable: The state does not answer.
        """
        await self.durable.put_away(principal.name, question)

    async def add(
        self, principal: Principal, archive: str, question: str, *, number: int, sheet: Sheet
    ) -> None:
        """Take one page of an answer.

        Args:
            principal: The archive's gateway.
            archive: Name of the destination.
            question: Its id.
            number: Of the page, from 1, without holes.
            sheet: The page; `last` is taken from what it says.

        Raises:
            BackPressure: Who asked does not fetch; send the same page again.
            InputError: No page, or not the next one.
            NotFound: Nobody waits for it any more.
            NotPermitted: The archive is another's, or this gateway is no source of worklists.
            Unavailable: The state does not answer.
        """
        found = self.memory.asked(archive, question) or await self.durable.asked(archive, question)
        if found is None:
            self._check_either(principal, archive)
            raise NotFound("nobody waits for this answer")
        asker, asked = found
        self.archives.check(archive, principal.name, worklist=asked.kind in WORKLIST)
        page = relay.decode_page(sheet.body) if sheet.media == relay.JSON else None
        if asked.kind in DURABLE:
            if page is None:
                raise InputError("a kept question is answered by a page")
            if asked.kind is Kind.COMMIT and page.last and not page.retry:
                await self.commitments.revoke(asked, page)
            await self.durable.answer(archive, question, page)
        else:
            last = page is not None and page.last
            sheet = Sheet(sheet.media, sheet.body, last=last)
            await self.memory.add(archive, question, number, sheet)
        if page is not None and page.last and not page.retry:
            status = f"{page.status:04X}"
            await self._note(principal, "answer-archive", asked, asked_by=asker, status=status)

    async def run(self) -> None:
        """Clear what is old, until cancelled."""
        while True:
            try:
                given_up = await self.durable.clear()
            except TransientError as error:
                log.warning("old questions are not cleared", code=error.code)
                given_up = []
            for archive in given_up:
                log.error("a question was given up that nobody answered", archive=archive)
            await asyncio.sleep(CLEAR_EVERY_S)

    async def status(self) -> object:
        """Return what waits, for people who run the hub."""
        return {"kept_for": self.durable.waiting()}

    def _check(self, principal: Principal, asked: Asked) -> None:
        if not principal.speaks_for(asked.device):
            raise NotPermitted("this gateway does not speak for that modality")
        self.sources.check_images(principal.name, asked.device)
        if asked.kind is Kind.COMMIT:
            references_of(asked.dataset)
            self.commitments.check_commit(asked.archive)
            return
        self.archives.check(asked.archive, None, worklist=asked.kind in WORKLIST)

    async def _take_kept(self, archive: str) -> Asked | None:
        """Return the next kept question; a commitment waits for what is still on its way."""
        found = await self.durable.take(archive)
        if found is None or found.kind is not Kind.COMMIT or await self.commitments.settled(found):
            return found
        await self.durable.answer(archive, found.id, Page(last=True, retry=True))
        return None

    def _check_either(self, principal: Principal, archive: str) -> None:
        """Let a gateway speak for an archive as whatever it is declared."""
        worklist = archive.startswith(GATEWAY_NAME)
        self.archives.check(archive, principal.name, worklist=worklist)

    async def _note(
        self,
        principal: Principal,
        action: str,
        asked: Asked,
        outcome: str = "ok",
        **more: object,
    ) -> None:
        detail: Mapping[str, object] = {
            "kind": asked.kind.value,
            "archive": asked.archive,
            "device": asked.device,
            "calling": asked.calling,
            "user": asked.user,
            "patients": [found] if (found := _short(asked, _PATIENT_ID)) else [],
            "study": _short(asked, _STUDY),
            "instance": asked.instance,
            "destination": asked.destination,
            **more,
        }
        await self.audit.note(
            actor=f"{principal.kind.value}:{principal.name}",
            action=action,
            subject="patient",
            outcome=outcome,
            detail=detail,
        )

    def _event(self, archive: str) -> asyncio.Event:
        return self._asked.setdefault(archive, asyncio.Event())


def _short(asked: Asked, tag: str) -> str:
    return relay.first_text(asked.dataset, tag)[:120]
