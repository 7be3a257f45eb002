"""Kind `stow`: the hub itself stores images in an archive that speaks DICOMweb.

One request carries up to `in_flight` instances, streamed from their sealed files. Success is what
the archive's answer lists as stored; what it lists as failed, or does not list, is not.

Source: DICOM PS3.18 section 10.5 (store transaction).
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import structlog

from asepsis.core.errors import NotFound, SignatureInvalid
from asepsis.core.wire.dicomweb_store import Failure
from asepsis.core.wire.mllp_client import Answered, Verdict
from asepsis.hub.delivery.archive_web import WebArchive
from asepsis.hub.delivery.line import Line
from asepsis.hub.delivery.model import Item, Refusal
from asepsis.hub.delivery.outgoing_http import HttpOut
from asepsis.hub.delivery.ports import HeldImage, HeldImages
from asepsis.hub.delivery.progress import instance_of

WAIT_S: Final = 60.0
IDLE_S: Final = 5.0
"""How long a connection stays open with nothing to send."""
AGAIN_S: Final = 2.0
"""Pause before what the archive could not take now is offered again."""
_PASSING: Final = range(0xA700, 0xA800)
"""Out of resources: every status A7xx; PS3.4 table B.2-1."""

log = structlog.get_logger("delivery")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """One instance of a request: its number in the line, and its open file."""

    number: int
    image: HeldImage


class StowSender:
    """Serves destinations of this kind.

    Args:
        out: Connects to judged addresses.
        images: What the hub holds.
    """

    def __init__(self, out: HttpOut, images: HeldImages) -> None:
        self._out = out
        self._images = images

    async def __call__(self, line: Line) -> None:
        """Send what the line has until something fails.

        Raises:
            TransientError: No answer; what was not answered is sent again.
            TrustError: The address or certificate is not what it must be.
            InputError: The archive's answer cannot be read; as no answer.
            ConfigError: The address is no URL.
        """
        while True:
            await line.arrival(0, wait_s=WAIT_S)
            if not line.look(0, items_max=1):
                continue
            async with self._out.bound(line.destination) as there:
                archive = WebArchive(there)
                while found := line.look(0, items_max=line.destination.options.in_flight):
                    if await self._store(line, archive, found):
                        await asyncio.sleep(AGAIN_S)
                    await line.arrival(0, wait_s=IDLE_S)

    async def probe(self, line: Line) -> None:
        """Ask an archive something that changes nothing; errors as a call."""
        async with self._out.bound(line.destination) as there:
            await WebArchive(there).probe()

    async def _store(
        self, line: Line, archive: WebArchive, found: Sequence[tuple[int, Item]]
    ) -> bool:
        """Store some instances; return whether one of them is to be offered again later."""
        async with AsyncExitStack() as stack:
            loaded: list[_Loaded] = []
            for number, item in found:
                try:
                    image = await self._images.open(instance_of(item.body))
                except (NotFound, SignatureInvalid) as error:
                    line.refused(number, Refusal(error.code, str(error)))
                    continue
                stack.callback(image.close)
                loaded.append(_Loaded(number, image))
            return bool(loaded) and await self._request(line, archive, loaded)

    async def _request(self, line: Line, archive: WebArchive, loaded: Sequence[_Loaded]) -> bool:
        try:
            status, text, answer = await archive.store([each.image for each in loaded])
        except SignatureInvalid as error:
            # The archive got half a request; which of several files is broken, each says alone.
            if len(loaded) == 1:
                line.refused(loaded[0].number, Refusal(error.code, str(error)))
                return False
            return await self._one_by_one(line, archive, loaded)
        if not (answer.stored or answer.failed) and len(loaded) > 1:
            return await self._one_by_one(line, archive, loaded)
        again = False
        for each in loaded:
            uid = each.image.instance
            if uid in answer.stored:
                again |= await self._stored(line, archive, each)
            elif uid in answer.failed:
                again |= await self._failed(line, archive, each, answer.failed[uid])
            elif 400 <= status < 500 and not answer.stored:
                line.refused(each.number, Refusal(f"HTTP {status}", text))
            else:
                again |= not _error(line, each, "unlisted", "the answer does not list the instance")
        return again

    async def _one_by_one(self, line: Line, archive: WebArchive, loaded: Sequence[_Loaded]) -> bool:
        again = False
        for each in loaded:
            again |= await self._request(line, archive, [each])
        return again

    async def _stored(self, line: Line, archive: WebArchive, each: _Loaded) -> bool:
        """Take the archive's word that it stored an instance, or look whether it did."""
        if line.destination.commits and not (
            await archive.lists(each.image.instance) and await archive.has_the_same(each.image)
        ):
            text = "the archive says that it stored it, and does not give it back"
            return not _error(line, each, "uncommitted", text)
        line.accept(each.number)
        return False

    async def _failed(self, line: Line, archive: WebArchive, each: _Loaded, reason: int) -> bool:
        """Take the archive's word that it did not store an instance."""
        if reason == Failure.DUPLICATE and await archive.has_the_same(each.image):
            line.accept(each.number)  # A repetition, for example after a crash.
            return False
        code = f"{reason:04X}"
        if reason in _PASSING or reason == Failure.PROCESSING:
            return not _error(line, each, code, "the archive could not store it")
        line.refused(each.number, Refusal(code, "the archive refuses it"))
        return False


def _error(line: Line, each: _Loaded, code: str, text: str) -> bool:
    """Note an answer after which an instance may be offered again; say whether it is settled."""
    verdict = Verdict(number=each.number, answered=Answered.ERROR, code=code, text=text)
    settled = line.settled(verdict)
    log.warning("an image was not stored", destination=line.destination.name, code=code)
    return settled
