"""Asks an archive to commit, by DIMSE, and waits for its word however late it comes.

Source: DICOM PS3.4 annex J (storage commitment push model).
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import BackPressure, InputError, NotPermitted, Unavailable
from asepsis.core.wire import commitment
from asepsis.core.wire.commitment import Reference
from asepsis.core.wire.relay import Asked, DataSet, Match, Page
from asepsis.edge.gateway.imaging import commitments, datasets
from asepsis.edge.gateway.imaging.dimse import Command, Status, Tag
from asepsis.edge.gateway.imaging.hearing import Hearing
from asepsis.edge.gateway.imaging.requestor import Remote, Requestor, associate
from asepsis.edge.gateway.imaging.services import COMMITMENT, SYNTAXES

WORD_S: Final = 2.0
"""How long one offer of a question waits for the archive's word; the hub offers it again."""
ANEW_S: Final = 3_600.0
"""After so long without a word the archive is asked anew, as a new transaction."""
OPEN_MAX: Final = 1_000
"""Commitments of one archive whose word is awaited."""


@dataclass(slots=True, eq=False)
class _Open:
    """A commitment that the archive took.

    Attributes:
        transaction: Ours with the archive; a modality's may come twice.
        references: What was asked for.
        asked_s: When, monotonic seconds.
        word: What it said; None before.
        heard: Set with it.
    """

    transaction: str
    references: tuple[Reference, ...]
    asked_s: float
    word: DataSet | None = None
    heard: asyncio.Event = field(default_factory=asyncio.Event)


class ArchiveCommitments:
    """The commitments of one archive; for one event loop. A restart asks everything anew.

    Args:
        remote: The archive.
        monotonic: Seconds.
    """

    def __init__(self, remote: Remote, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._remote = remote
        self._monotonic = monotonic
        self._open: dict[str, _Open] = {}

    def hear(self, document: DataSet) -> bool:
        """Take a word of the archive; return whether it is one that is awaited."""
        try:
            transaction = commitment.transaction_of(document)
        except InputError:
            return False
        for each in self._open.values():
            if each.transaction == transaction:
                each.word = document
                each.heard.set()
                return True
        return False

    async def ask(self, asked: Asked) -> Page:
        """Return the archive's word, or a page that asks to be offered the question again.

        Raises:
            AsepsisError: The archive cannot be reached, refuses, or keeps no protocol.
            TimeoutError: It is silent.
        """
        found = self._open.get(asked.id)
        now_s = self._monotonic()
        if found is None or now_s - found.asked_s > ANEW_S:
            self._make_room(now_s)
            found = _Open(_fresh(), commitment.references_of(asked.dataset), now_s)
            self._open[asked.id] = found
            try:
                await self._request(found)
            except BaseException:
                self._open.pop(asked.id, None)
                raise
        else:
            await _wait(found)
        if found.word is None:
            return Page(last=True, retry=True, comment="the archive has not given its word yet")
        del self._open[asked.id]
        word = commitment.word_of(found.word, found.references)
        document = commitment.report(asked.instance, self._remote.called, word)
        return Page(last=True, status=Status.SUCCESS, matches=(Match(dataset=document),))

    def _make_room(self, now_s: float) -> None:
        for key in [k for k, each in self._open.items() if now_s - each.asked_s > 2 * ANEW_S]:
            del self._open[key]
        if len(self._open) >= OPEN_MAX:
            raise BackPressure("too many commitments wait for the archive's word")

    async def _request(self, found: _Open) -> None:
        pairs = [(COMMITMENT, syntax) for syntax in SYNTAXES]
        user = await associate(self._remote, pairs)
        try:
            context, syntax = _context(user)
            document = commitment.request(found.transaction, found.references)
            data = datasets.encode(document, "", syntax)
            head = commitments.action_request(user.next_message())
            await user.stream.send_message(context, head, command=True)
            await user.stream.send_message(context, data, command=False)
            _judge(await user.answer(context, within_s=self._remote.answer_s))
            # Some archives give their word on the same association.
            same = asyncio.create_task(
                Hearing(user.stream, {context: syntax}, self.hear).run(within_s=WORD_S)
            )
            await _wait(found)
            same.cancel()
            await asyncio.gather(same, return_exceptions=True)
        except BaseException:
            await user.abort()
            raise
        await user.release()


def _judge(answer: Command) -> None:
    """Let an archive's answer to the request pass, or raise: it gives no word then."""
    status = answer.number(Tag.STATUS)
    if status != Status.SUCCESS:
        raise Unavailable(f"the archive answers {status:04X} to a commitment")


async def _wait(found: _Open) -> None:
    try:
        async with asyncio.timeout(WORD_S):
            await found.heard.wait()
    except TimeoutError:
        return


def _context(user: Requestor) -> tuple[int, str]:
    for syntax in SYNTAXES:
        context = user.accepted.get((COMMITMENT, syntax))
        if context is not None:
            return context, syntax
    raise NotPermitted("the archive offers no storage commitment")


def _fresh() -> str:
    """Return a new UID; PS3.5 section B.2."""
    return f"2.25.{uuid.uuid4().int}"
