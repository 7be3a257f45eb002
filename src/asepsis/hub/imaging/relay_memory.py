"""Questions whose answer is awaited now: in memory, with a deadline, a window of pages each.

A question is lost with the hub, and fails visibly at the modality. Belongs to one event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import BackPressure, Conflict, InputError, NotFound, RateLimited
from asepsis.core.wire.relay import Asked

OPEN_MAX: Final = 256
"""Questions at once."""
OPEN_OF_ONE_MAX: Final = 32
"""Questions at once of one gateway."""
WINDOW_PAGES: Final = 8
WINDOW_BYTES: Final = 4 << 20
"""Pages of one question that wait for who asked."""
TOTAL_BYTES: Final = 64 << 20
"""The same of all questions together."""
ROOM_S: Final = 10.0
"""How long a page waits for room before its sender is told to come again."""
NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page as bytes.

    Attributes:
        media: `relay.JSON` or `relay.BYTES`.
        body: At most `relay.PAGE_BYTES_MAX` bytes.
        last: Whether the answer ends with it.
    """

    media: str
    body: bytes
    last: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class _Open:
    """A question that is not fully answered."""

    asked: Asked
    asker: str
    until_ns: int
    offered: bool = False
    sheets: deque[Sheet] = field(default_factory=deque[Sheet])
    fetched: int = 0
    """Pages that who asked has, and that are gone here."""
    complete: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def known(self) -> int:
        return self.fetched + len(self.sheets)

    @property
    def bytes(self) -> int:
        return sum(len(sheet.body) for sheet in self.sheets)


class MemoryRelay:
    """Questions in memory; one for a hub.

    Args:
        monotonic: Nanoseconds.
    """

    def __init__(self, monotonic: Callable[[], int]) -> None:
        self._monotonic = monotonic
        self._open: dict[str, _Open] = {}

    def ask(self, asker: str, asked: Asked) -> None:
        """Take a question; the same one again is nothing new.

        Raises:
            Conflict: Another one of this id.
            RateLimited: Too many.
        """
        self._expire()
        known = self._open.get(asked.id)
        if known is not None:
            if known.asker != asker or known.asked != asked:
                raise Conflict("another question has this id")
            return
        of_one = sum(1 for each in self._open.values() if each.asker == asker)
        if len(self._open) >= OPEN_MAX or of_one >= OPEN_OF_ONE_MAX:
            raise RateLimited("too many questions are open", retry_after_s=1)
        until_ns = self._monotonic() + int(asked.deadline_s * NS)
        self._open[asked.id] = _Open(asked=asked, asker=asker, until_ns=until_ns)

    def take(self, archive: str) -> Asked | None:
        """Return the oldest question of an archive that nobody has, and count it as taken."""
        self._expire()
        for each in self._open.values():
            if each.asked.archive == archive and not each.offered:
                each.offered = True
                return each.asked
        return None

    async def add(self, archive: str, question: str, number: int, sheet: Sheet) -> None:
        """Take one page of an answer; a page that is known already is nothing new.

        Raises:
            BackPressure: Who asked does not fetch: send the same page again.
            InputError: A page is missing before it, or the answer has ended.
            NotFound: Nobody waits for it any more.
        """
        until_ns = self._monotonic() + int(ROOM_S * NS)
        while True:
            found = self._of_archive(archive, question)
            if number <= found.known:
                return
            if number != found.known + 1 or found.complete:
                raise InputError("a page is missing before this one")
            if self._room(found, len(sheet.body)):
                break
            if not await self._wait(found, until_ns):
                raise BackPressure("pages wait to be fetched", retry_after_s=1)
        found.sheets.append(sheet)
        found.complete = sheet.last
        found.changed.set()

    async def fetch(self, asker: str, question: str, *, after: int, wait_s: float) -> Sheet | None:
        """Return the page after a number, or None if there is none within the wait.

        Raises:
            InputError: That page was fetched before.
            NotFound: No such question, or its deadline passed.
        """
        until_ns = self._monotonic() + int(wait_s * NS)
        while True:
            found = self._of_asker(asker, question)
            if not found.fetched <= after <= found.known:
                raise InputError("that page is not here")
            while found.fetched < after:
                found.sheets.popleft()
                found.fetched += 1
                found.changed.set()
            if found.sheets:
                return found.sheets[0]
            if not await self._wait(found, until_ns):
                return None

    def end(self, asker: str, question: str) -> Asked:
        """Forget a question and return what it was; errors as `fetch`."""
        found = self._of_asker(asker, question)
        self._forget(question)
        return found.asked

    def asked(self, archive: str, question: str) -> tuple[str, Asked] | None:
        """Return who asked a question of an archive and what, or None."""
        found = self._open.get(question)
        if found is None or found.asked.archive != archive:
            return None
        return found.asker, found.asked

    def knows(self, question: str) -> bool:
        """Whether a question is open here."""
        return question in self._open

    def _of_asker(self, asker: str, question: str) -> _Open:
        self._expire()
        found = self._open.get(question)
        if found is None or found.asker != asker:
            raise NotFound("no such question is open")
        return found

    def _of_archive(self, archive: str, question: str) -> _Open:
        self._expire()
        found = self._open.get(question)
        if found is None or found.asked.archive != archive or not found.offered:
            raise NotFound("nobody waits for this answer")
        return found

    def _room(self, found: _Open, size: int) -> bool:
        if not found.sheets:
            return True  # One page always fits, so nothing stands still.
        total = sum(each.bytes for each in self._open.values())
        inside = found.bytes + size <= WINDOW_BYTES and total + size <= TOTAL_BYTES
        return inside and len(found.sheets) < WINDOW_PAGES

    async def _wait(self, found: _Open, until_ns: int) -> bool:
        """Wait for a change; return False once the time is over."""
        left_ns = min(until_ns, found.until_ns) - self._monotonic()
        if left_ns <= 0:
            return False
        found.changed.clear()
        try:
            async with asyncio.timeout(left_ns / NS):
                await found.changed.wait()
        except TimeoutError:
            return self._monotonic() < until_ns
        return True

    def _expire(self) -> None:
        now_ns = self._monotonic()
        for question in [key for key, each in self._open.items() if each.until_ns <= now_ns]:
            self._forget(question)

    def _forget(self, question: str) -> None:
        self._open.pop(question).changed.set()
