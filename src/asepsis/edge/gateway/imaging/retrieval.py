"""What an archive returns for C-GET and C-MOVE: instance by instance to whoever takes them.

Source: DICOM PS3.4 sections C.4.2 and C.4.3; PS3.7 sections 9.1.3 and 9.1.4.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import FramingError, TransientError
from asepsis.core.wire.relay import Begun, Page
from asepsis.edge.gateway.imaging.asker import Answers
from asepsis.edge.gateway.imaging.dimse import Status, Tag

FAILED_UIDS_MAX: Final = 1_000
"""UIDs named in the last response; the counts are right in any case."""
_WARNING: Final = 0xB000
_FAILURE: Final = 0xA000

Store = Callable[[Begun, AsyncIterator[bytes]], Awaitable[int]]
"""Stores one instance and returns its status; reads the pieces to their end unless it raises."""
Tell = Callable[["Counts"], Awaitable[None]]


@dataclass(slots=True)
class Counts:
    """Sub-operations of one retrieval."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(default_factory=list[str])

    def note(self, begun: Begun, status: int) -> None:
        """Count one sub-operation."""
        if status == Status.SUCCESS:
            self.completed += 1
        elif status & 0xF000 == _WARNING:
            self.warning += 1
        else:
            self.failed += 1
            if len(self.failed_uids) < FAILED_UIDS_MAX:
                self.failed_uids.append(begun.sop_instance)

    def elements(self, *, final: bool) -> dict[Tag, int]:
        """Return the elements of a response; the last one has nothing remaining."""
        found = {
            Tag.COMPLETED: min(self.completed, 0xFFFF),
            Tag.FAILED: min(self.failed, 0xFFFF),
            Tag.WARNING: min(self.warning, 0xFFFF),
        }
        return found if final else {Tag.REMAINING: self.remaining, **found}

    def status(self, said: int) -> int:
        """Return the status of the whole.

        Args:
            said: The archive's own.
        """
        if said >= _FAILURE and said & 0xF000 != _WARNING:
            return said
        if not self.failed:
            return said
        some = self.completed or self.warning
        return Status.SUB_OPERATIONS_FAILED if some else Status.NO_SUB_OPERATION


class Retrieval:
    """Takes an answer apart.

    Args:
        answers: The pages.
        answer_s: Longest silence of the archive, seconds.
    """

    def __init__(self, answers: Answers, *, answer_s: float) -> None:
        self._answers = answers
        self._answer_s = answer_s
        self.counts = Counts()

    async def run(
        self, store: Store, tell: Tell, *, cancelled: Callable[[], bool]
    ) -> tuple[int, str]:
        """Store every instance; return status and comment of the whole.

        Raises:
            FramingError: The answer keeps no order.
            TransientError: The archive or the hub is gone, or an instance came broken.
        """
        while True:
            page = await self._page()
            if isinstance(page, bytes):
                raise FramingError("bytes of an instance that had not begun")
            if page.begun is not None:
                self.counts.remaining = page.remaining
                self.counts.note(page.begun, await store(page.begun, self._pieces()))
                await tell(self.counts)
            if page.last:
                return self.counts.status(page.status), page.comment
            if cancelled():
                return Status.CANCELLED, ""

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            page = await self._page()
            if isinstance(page, bytes):
                yield page
                continue
            if page.ended == "whole":
                return
            raise TransientError("an instance did not come whole")

    async def _page(self) -> Page | bytes:
        page = await self._answers.next(within_s=self._answer_s)
        if page is None:
            raise TransientError("the archive does not answer")
        return page
