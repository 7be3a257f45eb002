"""The parser's side of a question: asks through a slot of the process that has the key."""

import asyncio
import json
import secrets
import socket
from typing import Final

from asepsis.core.errors import FramingError, NotPermitted, Unavailable
from asepsis.core.wire import relay
from asepsis.core.wire.relay import Asked, Page
from asepsis.edge.gateway.imaging.asking import FRAME_BYTES_MAX, HEAD, Frame

SLOT_S: Final = 10.0
"""Longest wait for a free slot, seconds."""


class Asker:
    """All slots of the gateway; for one event loop.

    Args:
        slots: Conversations with the process that asks the hub.
        lost: Told once when it is gone.

    Resource handling: `open` takes the sockets; they end with this process.
    """

    def __init__(self, slots: list[socket.socket], *, lost: asyncio.Event) -> None:
        self._sockets = slots
        self._lost = lost
        self._free: asyncio.Queue[_Slot] = asyncio.Queue()
        self._ending: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin."""
        for each in self._sockets:
            each.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=each, limit=FRAME_BYTES_MAX)
            self._free.put_nowait(_Slot(reader, writer, self._lost))

    async def ask(self, asked: Asked) -> "Answers":
        """Ask and return what will be answered.

        Raises:
            NotPermitted: The hub refuses the question for good.
            Unavailable: The hub does not answer, or too many questions are open.
        """
        try:
            async with asyncio.timeout(SLOT_S):
                slot = await self._free.get()
        except TimeoutError as error:
            raise Unavailable("too many questions are open") from error
        try:
            await slot.call(Frame.ASK, relay.encode(asked))
        except BaseException:
            self._free.put_nowait(slot)
            raise
        return Answers(self, slot, asked.id)

    def end(self, slot: "_Slot", question: str) -> None:
        """Say that nobody waits for a question any more, and free its slot after that."""
        task = asyncio.get_running_loop().create_task(self._end(slot, question))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, slot: "_Slot", question: str) -> None:
        try:
            await slot.call(Frame.END, question.encode("ascii"))
        except (Unavailable, NotPermitted):
            pass  # The hub has forgotten it, or will by its deadline.
        finally:
            self._free.put_nowait(slot)


class Answers:
    """The pages of one answer, in order.

    Args:
        asker: Whose slot it is.
        slot: The conversation; given back by `end`.
        question: Its id.
    """

    def __init__(self, asker: Asker, slot: "_Slot", question: str) -> None:
        self._asker = asker
        self._slot = slot
        self._question = question
        self._after = 0

    async def next(self, *, within_s: float) -> Page | bytes | None:
        """Return the next page, or None if there is none in time.

        Raises:
            FramingError: No page.
            NotPermitted: The question is lost.
            Unavailable: The hub does not answer.
        """
        until_s = asyncio.get_running_loop().time() + within_s
        while True:
            body = json.dumps([self._question, self._after]).encode()
            kind, data = await self._slot.call(Frame.NEXT, body)
            if kind != Frame.NOTHING:
                self._after += 1
                return data if kind == Frame.BYTES else relay.decode_page(data)
            if asyncio.get_running_loop().time() >= until_s:
                return None

    def end(self) -> None:
        """Give the slot back; the question is forgotten unless its kind is kept."""
        self._asker.end(self._slot, self._question)


class _Slot:
    """One conversation; a call that is cancelled is still heard to its end before the next."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._lost = lost
        self._calling: asyncio.Task[tuple[int, bytes]] | None = None

    async def call(self, kind: Frame, body: bytes) -> tuple[int, bytes]:
        """Return kind and body of the answer to one frame.

        Raises:
            NotPermitted: The hub refuses it for good.
            Unavailable: It does not answer now.
        """
        if self._calling is not None and not self._calling.done():
            await asyncio.wait({self._calling})
        self._calling = asyncio.get_running_loop().create_task(self._call(kind, body))
        found, data = await asyncio.shield(self._calling)
        if found == Frame.FAILED:
            transient, code, text = json.loads(data)
            raise Unavailable(str(text)) if transient else NotPermitted(f"{code}: {text}")
        return found, data

    async def _call(self, kind: Frame, body: bytes) -> tuple[int, bytes]:
        try:
            self._writer.write(HEAD.pack(kind, len(body)) + body)
            await self._writer.drain()
            found, length = HEAD.unpack(await self._reader.readexactly(HEAD.size))
            if length > FRAME_BYTES_MAX:
                raise FramingError("an answer that is too long")
            return found, await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            self._lost.set()
            raise Unavailable("the process that asks the hub is gone") from error


def fresh_id() -> str:
    """Return the id of a new question."""
    return secrets.token_hex(16)
