"""A DICOMweb archive as the hub uses it: store, ask whether it has an instance, fetch and compare.

Source: DICOM PS3.18 sections 10.4 (retrieve), 10.5 (store), 10.6 (search).
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

import httpx

from asepsis.core.errors import FramingError, InputError, Unavailable
from asepsis.core.wire.dicomweb import (
    DICOM,
    RELATED,
    MultipartLimits,
    MultipartReader,
    PartBegun,
    PartData,
    related_boundary,
)
from asepsis.core.wire.dicomweb_answer import (
    ANSWER_BYTES_MAX,
    DataSetDigest,
    StoreAnswer,
    lists_instance,
    read_store_answer,
)
from asepsis.hub.delivery.outgoing_http import Bound, first_words, read_bounded
from asepsis.hub.delivery.ports import HeldImage

JSON: Final = "application/dicom+json"
OK: Final = 200
NO_CONTENT: Final = 204
_WITH_ANSWER: Final = frozenset({200, 202, 409})
"""Statuses of a store request that say of each instance what became of it."""


class WebArchive:
    """One archive behind an address that was judged.

    Args:
        there: The address.
    """

    def __init__(self, there: Bound) -> None:
        self._there = there

    async def store(self, images: Sequence[HeldImage]) -> tuple[int, str, StoreAnswer]:
        """Store images in one request; nothing of it is held in memory but the piece on its way.

        Args:
            images: What to store, each open.

        Returns:
            HTTP status, the first words of an answer that lists nothing, and what it lists.

        Raises:
            Unavailable: No answer, or one that asks to come again.
            InputError: An answer that cannot be read.
            TransientError: An image cannot be read now.
            SignatureInvalid: The file of an image was changed; nothing complete was sent of it.
        """
        boundary = secrets.token_hex(20)
        heads = [_head(boundary, first=not number) for number in range(len(images))]
        end = f"\r\n--{boundary}--\r\n".encode()
        length = sum(len(head) for head in heads) + sum(image.length for image in images) + len(end)

        async def body() -> AsyncIterator[bytes]:
            for head, image in zip(heads, images, strict=True):
                yield head
                async for piece in image.pieces():
                    yield piece
            yield end

        headers = {
            "Content-Type": f'{RELATED}; type="{DICOM}"; boundary={boundary}',
            "Content-Length": str(length),
            "Accept": JSON,
        }
        async with self._there.send("POST", "/studies", content=body(), headers=headers) as answer:
            if answer.status_code not in _WITH_ANSWER:
                return answer.status_code, await first_words(answer), StoreAnswer(frozenset(), {})
            data = await read_bounded(answer, bytes_max=ANSWER_BYTES_MAX)
            found = read_store_answer(data or b"{}")
            return answer.status_code, "", found

    async def lists(self, instance: str) -> bool:
        """Say whether a search of the archive lists an instance, by its UID.

        Raises:
            Unavailable: No answer.
            InputError: An answer that cannot be read.
        """
        path = f"/instances?SOPInstanceUID={instance}&limit=1"
        async with self._there.send("GET", path, headers={"Accept": JSON}) as answer:
            if answer.status_code not in {OK, NO_CONTENT}:
                return False
            data = await read_bounded(answer, bytes_max=ANSWER_BYTES_MAX)
        return lists_instance(data, instance)

    async def has_the_same(self, image: HeldImage) -> bool:
        """Fetch an image back and compare its data set, bit for bit.

        Args:
            image: What the archive must have; read through once beside the archive's answer.

        Raises:
            Unavailable: No answer, or it ended early.
            TransientError: The image cannot be read now.
        """
        path = f"/studies/{image.study}/series/{image.series}/instances/{image.instance}"
        accept = f'{RELATED}; type="{DICOM}"; transfer-syntax=*'
        async with self._there.send("GET", path, headers={"Accept": accept}) as answer:
            if answer.status_code != OK:
                return False
            try:
                theirs = await _digest_of_answer(answer, bytes_max=2 * image.length + 65_536)
            except InputError:
                return False
        ours = DataSetDigest()
        async for piece in image.pieces():
            ours.feed(piece)
        return theirs == (ours.byte_count, ours.digest())

    async def probe(self) -> None:
        """Ask a question that changes nothing.

        Raises:
            Unavailable: No answer, or not the answer of a DICOMweb service.
        """
        async with self._there.send("GET", "/studies?limit=1", headers={"Accept": JSON}) as answer:
            if answer.status_code not in {OK, NO_CONTENT}:
                raise Unavailable(f"the archive answers {answer.status_code} to a search")


def _head(boundary: str, *, first: bool) -> bytes:
    # No empty line before the first delimiter, which some readers take for a part; and no transfer
    # syntax beside the media type, which Orthanc takes for another one: it stands in the file.
    begin = "" if first else "\r\n"
    return f"{begin}--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()


async def _digest_of_answer(answer: httpx.Response, *, bytes_max: int) -> tuple[int, bytes]:
    """Return length and digest of the one data set of a multipart answer."""
    limits = MultipartLimits(parts_max=1, part_bytes_max=bytes_max)
    boundary = related_boundary(answer.headers.get("content-type", ""))
    reader = MultipartReader(boundary, limits=limits)
    found = DataSetDigest()
    begun = False
    async for chunk in _chunks(answer):
        for event in reader.feed(chunk):
            begun = begun or isinstance(event, PartBegun)
            if isinstance(event, PartData):
                found.feed(event.data)
    reader.finish()
    if not begun:
        raise FramingError("the archive gives no instance")
    return found.byte_count, found.digest()


async def _chunks(answer: httpx.Response) -> AsyncGenerator[bytes]:
    try:
        async for chunk in answer.aiter_bytes(131_072):
            yield chunk
    except httpx.HTTPError as error:
        raise Unavailable(f"the answer ended early ({type(error).__name__})") from error
