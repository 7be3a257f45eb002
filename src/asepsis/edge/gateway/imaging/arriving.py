"""What an archive stores to us because we asked it to: the sub-operations of our C-MOVE.

They come on an association of the archive's own, which does not say what it is for. So there is
one move of an archive at a time, and only while there is one anything is taken.

Source: DICOM PS3.4 sections B.2 and C.4.2; PS3.7 section 9.1.1 (move originator).
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Final

from asepsis.core.errors import AsepsisError, FramingError, LimitExceeded, Unavailable
from asepsis.core.wire.relay import Begun, Page
from asepsis.edge.gateway.imaging import dimse, pdu
from asepsis.edge.gateway.imaging.dimse import Command, Field, Status, Tag
from asepsis.edge.gateway.imaging.pdu_values import PduType, Pdv, ProposedContext
from asepsis.edge.gateway.imaging.pdustream import PduStream
from asepsis.edge.gateway.imaging.requestor import Pair

PIECE_BYTES: Final = 262_144
Send = Callable[[Page | bytes], Awaitable[None]]


class Move:
    """One C-MOVE that is under way.

    Args:
        titles: Our AE title, and the archive's own, which some name in its place as originator.
        message: Its message id.
        pairs: SOP classes and transfer syntaxes that whoever asked takes.
        send: Takes the pages of the answer.

    Attributes:
        remaining: Sub-operations that the archive says are left.
        progress: Pieces that came; whoever waits for the archive sees that it is not silent.
        broken: Why it cannot come to a good end; None as long as it can.
    """

    def __init__(
        self, *, titles: Collection[str], message: int, pairs: Sequence[Pair], send: Send
    ) -> None:
        self._titles = frozenset(titles)
        self._message = message
        self._pairs = frozenset(pairs)
        self._send = send
        self._turn = asyncio.Lock()
        self.remaining = 0
        self.progress = 0
        self.broken: AsepsisError | None = None

    def syntax_of(self, context: ProposedContext) -> str:
        """Return the transfer syntax in which a context is taken; empty if it is not."""
        wanted = (
            s for s in context.transfer_syntaxes if (context.abstract_syntax, s) in self._pairs
        )
        return next(wanted, "")

    def is_origin_of(self, command: Command) -> bool:
        """Whether a C-STORE is a sub-operation of this move; an archive may leave out of which."""
        title = command.text(Tag.MOVE_ORIGINATOR)
        named = Tag.MOVE_ORIGINATOR_MESSAGE in command.elements
        return (not title or title in self._titles) and (
            not named or command.number(Tag.MOVE_ORIGINATOR_MESSAGE) == self._message
        )

    async def take(self, begun: Begun, pieces: AsyncIterator[bytes]) -> None:
        """Hand one instance on, after the one before.

        Raises:
            AsepsisError: It did not come whole; the move is broken then.
            TimeoutError: The same, because the archive is too slow.
        """
        async with self._turn:
            self.remaining = max(0, self.remaining - 1)
            try:
                await self._send(Page(begun=begun, remaining=self.remaining))
                async for piece in pieces:
                    self.progress += 1
                    await self._send(piece)
                await self._send(Page(ended="whole"))
            except BaseException:
                self.broken = Unavailable("an instance did not come whole from the archive")
                raise

    async def settled(self) -> None:
        """Wait for the instance that is on its way.

        Raises:
            AsepsisError: One did not come whole.
        """
        async with self._turn:
            if self.broken is not None:
                raise self.broken


class Moves:
    """The moves of one archive, one after the other; for one event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self.current: Move | None = None

    @asynccontextmanager
    async def under_way(self, move: Move) -> AsyncGenerator[None]:
        """Let a move be the one whose instances are taken; waits for the one before."""
        async with self._turn:
            self.current = move
            try:
                yield
            finally:
                self.current = None


class Arrival:
    """Instances of one association of the archive.

    Args:
        stream: The connection; owned by the caller.
        contexts: Presentation context -> SOP class and transfer syntax.
        moves: What of it is taken.
        answer_s: Longest silence, seconds.
    """

    def __init__(
        self, stream: PduStream, contexts: Mapping[int, Pair], moves: Moves, *, answer_s: float
    ) -> None:
        self._stream = stream
        self._contexts = contexts
        self._moves = moves
        self._answer_s = answer_s
        self._values: list[Pdv] = []

    async def run(self) -> None:
        """Take instances until the association ends.

        Raises:
            AsepsisError: The archive keeps no protocol, or the connection or the asker is gone.
            TimeoutError: Nothing came in time.
        """
        data = bytearray()
        while (value := await self._next()) is not None:
            if not value.is_command:
                raise FramingError("a data set without its command")
            data += value.data
            if len(data) > dimse.COMMAND_BYTES_MAX:
                raise LimitExceeded("a command that is too long")
            if value.is_last:
                command = Command.decode(bytes(data))
                data.clear()
                status = await self._do(value.context, command)
                answer = dimse.response(command, status)
                await self._stream.send_message(value.context, answer, command=True)

    async def _do(self, context: int, command: Command) -> int:
        number = command.number(Tag.FIELD)
        if number == Field.C_ECHO_RQ and not command.has_data_set:
            return Status.SUCCESS
        if number & 0x8000 or number != Field.C_STORE_RQ or not command.has_data_set:
            raise FramingError(f"command {number:#06x} is none that we asked for")
        sop_class, syntax = self._contexts[context]
        begun = Begun(
            sop_class=command.uid(Tag.SOP_CLASS),
            sop_instance=command.uid(Tag.SOP_INSTANCE),
            transfer_syntax=syntax,
        )
        move = self._moves.current
        if move is None or begun.sop_class != sop_class or not move.is_origin_of(command):
            async for _ in self._pieces():
                continue
            return Status.NOT_AUTHORISED
        await move.take(begun, self._pieces())
        return Status.SUCCESS

    async def _pieces(self) -> AsyncIterator[bytes]:
        waiting = bytearray()
        while True:
            value = await self._next()
            if value is None or value.is_command:
                raise Unavailable("the archive ended in the middle of an instance")
            waiting += value.data
            if len(waiting) >= PIECE_BYTES or value.is_last:
                for at in range(0, len(waiting), PIECE_BYTES):
                    yield bytes(waiting[at : at + PIECE_BYTES])
                waiting.clear()
            if value.is_last:
                return

    async def _next(self) -> Pdv | None:
        """Return the next value; None once the association has ended."""
        while not self._values:
            kind, body = await self._stream.read(within_s=self._answer_s)
            if kind is PduType.RELEASE_RQ:
                await self._stream.send(pdu.RELEASE_RP)
                return None
            if kind is PduType.ABORT:
                return None
            if kind is not PduType.DATA:
                raise FramingError(f"an unexpected PDU of type {kind}")
            self._values = list(pdu.read_pdvs(body))
        value = self._values.pop(0)
        if value.context not in self._contexts:
            raise FramingError("a presentation context that was not accepted")
        return value
