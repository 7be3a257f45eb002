"""Brings instances to a PACS: the half that speaks DICOM, without key, identity or files.

The other half (`archives_app.py`) holds the gateway's key and reads nothing but what the hub says;
what it hands over here is a file, in pieces, and whether it was whole. Until that word the last
piece stays here, so a file that was cut or changed is never complete at the PACS.

Source: DICOM PS3.4 section B.2.3 (statuses of C-STORE).
"""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    FramingError,
    InputError,
    LimitExceeded,
    TransientError,
    Unavailable,
)
from asepsis.edge.gateway.imaging import part10
from asepsis.edge.gateway.imaging.part10 import Meta
from asepsis.edge.gateway.imaging.requestor import Pair, Remote, Requestor, associate
from asepsis.edge.gateway.imaging.without_patient import OBJECT_BYTES_MAX, Protect

HEAD: Final = struct.Struct(">BI")
FRAME_BYTES_MAX: Final = 1 << 20
PAIRS_MAX: Final = 64
"""SOP classes and transfer syntaxes that one association is asked for: those seen last."""
IDLE_S: Final = 5.0
"""An association without work is released after this, seconds."""
_WARNING: Final = 0xB000
_RETRY: Final = frozenset({0xA700, 0x0110})


class FrameType(IntEnum):
    """Frames between the two halves."""

    PIECE = 1
    WHOLE = 2
    BROKEN = 3
    OUTCOME = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an instance, in the hub's words.

    Attributes:
        outcome: `accepted`, `refused` for good, or `retry`.
        code: DIMSE status in hex, or our own word.
        text: For people.
    """

    outcome: str
    code: str = ""
    text: str = ""


def outcome_of(status: int, comment: str) -> Outcome:
    """Turn a DIMSE status into an outcome; a warning means that the PACS has the instance."""
    code = f"{status:04X}"
    if status == 0 or status & 0xF000 == _WARNING:
        return Outcome("accepted", code, comment)
    if status in _RETRY or status & 0xFF00 == 0xA700:
        return Outcome("retry", code, comment)
    return Outcome("refused", code, comment)


class DimseSender:
    """Stores the files of one lane to one PACS, each as it is stored.

    Args:
        reader: Frames of the other half.
        writer: Where outcomes go.
        remote: The PACS.
        protect: Takes the patient out of what it gets; None where it gets what was stored.

    Resource handling: `run` returns when the other half is gone, and releases its association.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        remote: Remote,
        *,
        protect: Protect | None = None,
    ) -> None:
        self._protect = protect
        self._reader = reader
        self._writer = writer
        self._remote = remote
        self._user: Requestor | None = None
        self._pairs: dict[Pair, None] = {}

    async def run(self) -> None:
        """Store what comes until nothing comes any more."""
        try:
            while await self._one():
                continue
        finally:
            await self._release()

    async def _one(self) -> bool:
        waiting = asyncio.ensure_future(self._frame())
        done, _ = await asyncio.wait({waiting}, timeout=IDLE_S)
        if not done:
            await self._release()
        try:
            kind, first = await waiting
        except Unavailable:
            return False
        file = _File(self._frame, kind, first)
        try:
            outcome = await self._store(file)
        except FramingError as error:
            outcome = Outcome("refused", error.code, str(error))
        except (AsepsisError, TimeoutError) as error:
            await self._forget()
            outcome = Outcome("retry", getattr(error, "code", "time"), str(error))
        try:
            await file.skip()
        except Unavailable:
            return False
        body = json.dumps([outcome.outcome, outcome.code, outcome.text[:400]]).encode()
        self._writer.write(HEAD.pack(FrameType.OUTCOME, len(body)) + body)
        await self._writer.drain()
        return True

    async def _store(self, file: "_File") -> Outcome:
        """Store one file.

        Raises:
            FramingError: It is no DICOM file.
            AsepsisError: The PACS cannot be reached, refuses us, or keeps no protocol.
            TimeoutError: It is too slow.
        """
        if self._protect is None:
            return await self._stored(await file.meta(), file.data_set())
        data = await file.whole(bytes_max=OBJECT_BYTES_MAX)
        try:
            changed = await asyncio.to_thread(self._protect, data)
            found = part10.decode_head(changed)
        except InputError as error:
            return Outcome("refused", error.code, f"the patient cannot be taken out: {error}")
        if found is None:
            return Outcome("refused", FramingError.code, "the patient cannot be taken out")
        return await self._stored(found[0], _one_piece(changed[found[1] :]))

    async def _stored(self, meta: Meta, data_set: AsyncIterator[bytes]) -> Outcome:
        pair = (meta.sop_class, meta.transfer_syntax)
        user = await self._association(pair)
        if pair not in user.accepted:
            return Outcome("refused", "context", "the PACS does not take this class and syntax")
        status, comment = await user.store(pair, meta.sop_instance, data_set)
        return outcome_of(status, comment)

    async def _association(self, pair: Pair) -> Requestor:
        user = self._user
        if user is not None and (pair in user.accepted or pair in user.refused):
            return user
        await self._release()
        self._pairs.pop(pair, None)
        self._pairs[pair] = None
        while len(self._pairs) > PAIRS_MAX:
            del self._pairs[next(iter(self._pairs))]
        self._user = await associate(self._remote, tuple(self._pairs))
        return self._user

    async def _release(self) -> None:
        user, self._user = self._user, None
        if user is not None:
            await user.release()

    async def _forget(self) -> None:
        user, self._user = self._user, None
        if user is not None:
            await user.abort()

    async def _frame(self) -> tuple[int, bytes]:
        try:
            kind, length = HEAD.unpack(await self._reader.readexactly(HEAD.size))
            if length > FRAME_BYTES_MAX:
                raise LimitExceeded("a piece that is too long")
            return kind, await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Unavailable("the other half is gone") from error


class _File:
    """One file as it comes from the other half."""

    def __init__(
        self, frame: "Callable[[], Awaitable[tuple[int, bytes]]]", kind: int, first: bytes
    ) -> None:
        self._frame = frame
        self._kind = kind
        self._ahead = first

    async def meta(self) -> Meta:
        """Read the head.

        Raises:
            FramingError: No DICOM file.
            TransientError: The hub's file was cut.
        """
        head = b""
        while True:
            if self._kind == FrameType.BROKEN:
                raise TransientError("the hub's file did not come whole")
            if self._kind != FrameType.PIECE:
                raise FramingError("a file that ends in its head")
            head += self._ahead
            found = part10.decode_head(head)
            if found is not None:
                self._ahead = head[found[1] :]
                return found[0]
            await self._next()

    async def data_set(self) -> AsyncIterator[bytes]:
        """Return the data set.

        Raises:
            TransientError: The hub's file was cut or changed.
        """
        while self._kind == FrameType.PIECE:
            if self._ahead:
                yield self._ahead
            await self._next()
        if self._kind != FrameType.WHOLE:
            raise TransientError("the hub's file did not come whole")

    async def whole(self, *, bytes_max: int) -> bytes:
        """Return the file with its head, once the other half has said that it is whole.

        Raises:
            FramingError: It is too long.
            TransientError: The hub's file was cut or changed.
        """
        found = bytearray()
        async for piece in self.data_set():
            found += piece
            if len(found) > bytes_max:
                raise FramingError(f"over {bytes_max} bytes: too long to take the patient out")
        return bytes(found)

    async def skip(self) -> None:
        """Read what is left of it."""
        while self._kind == FrameType.PIECE:
            await self._next()

    async def _next(self) -> None:
        self._kind, self._ahead = await self._frame()


async def _one_piece(data: bytes) -> AsyncIterator[bytes]:
    yield data
