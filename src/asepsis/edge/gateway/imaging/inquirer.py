"""Asks an archive or worklist by DIMSE: the half without key, identity or files.

Source: DICOM PS3.4 annexes C, F and K; PS3.7 sections 9.1 and 10.1.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    FramingError,
    InputError,
    LimitExceeded,
    NotPermitted,
    TransientError,
    Unavailable,
)
from asepsis.core.wire import relay
from asepsis.core.wire.relay import Asked, Begun, Kind, Match, Page
from asepsis.edge.gateway.imaging import datasets, dimse, pdu
from asepsis.edge.gateway.imaging.answering import FRAME_BYTES_MAX, HEAD, Frame
from asepsis.edge.gateway.imaging.archive_commitment import ArchiveCommitments
from asepsis.edge.gateway.imaging.arriving import Move, Moves, Send
from asepsis.edge.gateway.imaging.dimse import Command, Field, Status, Tag
from asepsis.edge.gateway.imaging.pdu_values import PduType, Pdv
from asepsis.edge.gateway.imaging.requestor import Pair, Remote, Requestor, associate
from asepsis.edge.gateway.imaging.services import (
    CLASSES,
    EXPLICIT,
    GET_STUDY,
    IMPLICIT,
    MOVE_STUDY,
    STEPS,
    SYNTAXES,
)

MATCHES_OF_A_PAGE: Final = 50
PAGE_AFTER_S: Final = 0.2
"""Matches are handed on after this, few as they may be."""
PIECE_BYTES: Final = 262_144
_PENDING: Final = frozenset({0xFF00, 0xFF01})


class Inquirer:
    """Serves one lane: one question at a time, an association for each.

    Args:
        reader: Frames of the other half.
        writer: Where pages go.
        remote: The archive or worklist.
        matches_max: Most matches of one query.
        queries: Whether anything but commitments is asked of it.
        commitments: Asks it to commit; None where it is not asked to.
        moves: Its moves, where it stores to us what is retrieved; None where it offers C-GET.

    Resource handling: `run` returns when the other half is gone.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        remote: Remote,
        *,
        matches_max: int,
        queries: bool = True,
        commitments: ArchiveCommitments | None = None,
        moves: Moves | None = None,
    ) -> None:
        self._moves = moves
        self._queries = queries
        self._commitments = commitments
        self._reader = reader
        self._writer = writer
        self._remote = remote
        self._matches_max = matches_max

    async def run(self) -> None:
        """Answer what comes until nothing comes any more."""
        while True:
            try:
                kind, body = await self._frame()
                if kind == Frame.QUESTION:
                    await self._serve(relay.decode_asked(body))
            except Unavailable:
                return

    async def _serve(self, asked: Asked) -> None:
        """Answer one question; another frame meanwhile means that nobody waits any more."""
        work = asyncio.create_task(self._answer(asked))
        stop = asyncio.create_task(self._frame())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                stop.result()
                last = Page(last=True, status=Status.CANCELLED)
            else:
                last = work.result()
        finally:
            stop.cancel()
            await asyncio.gather(stop, return_exceptions=True)
        await self._write(Frame.LAST, relay.encode(last))

    async def _answer(self, asked: Asked) -> Page:
        """Return the last page; the others are sent."""
        try:
            return await self._ask(asked)
        except (TransientError, TimeoutError, NotPermitted) as error:
            kept = asked.kind in relay.DURABLE
            text = str(error)[:200] or "no answer"
            return Page(last=True, retry=kept, status=Status.UNABLE, comment=text)
        except LimitExceeded as error:
            return Page(last=True, status=Status.OUT_OF_RESOURCES, comment=str(error)[:200])
        except AsepsisError as error:
            failed = Status.PROCESSING_FAILURE if asked.kind in STEPS else Status.UNABLE
            return Page(last=True, status=failed, comment=str(error)[:200])

    async def _ask(self, asked: Asked) -> Page:
        if asked.kind is Kind.COMMIT:
            if self._commitments is None:
                raise NotPermitted("this archive is not asked to commit")
            return await self._commitments.ask(asked)
        asks = CLASSES.get(asked.kind)
        if asks is None or not self._queries:
            raise InputError("this is not asked of an archive here")
        if asked.kind not in {Kind.MOVE, Kind.GET}:
            return await self._associated(asked, asks)
        if self._moves is not None:
            return await self._associated(asked, MOVE_STUDY)
        return await self._associated(asked, GET_STUDY, returned=asked.contexts)

    async def _associated(
        self, asked: Asked, wanted: str, *, returned: Sequence[Pair] = ()
    ) -> Page:
        pairs: list[Pair] = [(wanted, EXPLICIT), (wanted, IMPLICIT)]
        returned = returned[: pdu.CONTEXTS_MAX - len(pairs)]
        classes = dict.fromkeys(pair[0] for pair in returned)
        user = await associate(self._remote, [*pairs, *returned], providing=tuple(classes))
        try:
            exchange = _Exchange(user, self._remote, wanted)
            page = await self._exchange(exchange, asked)
        except BaseException:
            await user.abort()
            raise
        await user.release()
        return page

    async def _exchange(self, exchange: "_Exchange", asked: Asked) -> Page:
        if asked.kind in {Kind.FIND_STUDY, Kind.FIND_WORKLIST}:
            return await exchange.find(asked, self._send, most=self._matches_max)
        if asked.kind in {Kind.MOVE, Kind.GET}:
            if self._moves is not None:
                return await exchange.move(asked, self._send, self._moves)
            return await exchange.get(asked, self._send)
        return await exchange.step(asked)

    async def _send(self, page: Page | bytes) -> None:
        if isinstance(page, bytes):
            await self._write(Frame.BYTES, page)
        else:
            await self._write(Frame.PAGE, relay.encode(page))

    async def _write(self, kind: Frame, body: bytes) -> None:
        self._writer.write(HEAD.pack(kind, len(body)) + body)
        await self._writer.drain()

    async def _frame(self) -> tuple[int, bytes]:
        try:
            kind, length = HEAD.unpack(await self._reader.readexactly(HEAD.size))
            if length > FRAME_BYTES_MAX:
                raise Unavailable("the other half says what it may not")
            return kind, await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Unavailable("the other half is gone") from error


class _Exchange:
    """Messages of one association, from the request to its last response."""

    def __init__(self, user: Requestor, remote: Remote, wanted: str) -> None:
        self._user = user
        self._answer_s = remote.answer_s
        self._title = remote.calling
        self._titles = (remote.calling, remote.called)
        self._values: deque[Pdv] = deque()
        found = [s for s in SYNTAXES if (wanted, s) in user.accepted]
        if not found:
            raise NotPermitted("the archive does not offer this service")
        self._syntax = found[0]
        self._class = wanted
        self._context = user.accepted[wanted, self._syntax]
        self._of = {context: pair for pair, context in user.accepted.items()}

    async def find(self, asked: Asked, send: Send, *, most: int) -> Page:
        """Return the last page of a C-FIND; raises as `_command`, LimitExceeded over `most`."""
        await self._request(asked, {Tag.FIELD: Field.C_FIND_RQ, Tag.PRIORITY: 0})
        loop, matches, found = asyncio.get_running_loop(), list[Match](), 0
        since = loop.time()
        while True:
            _, command = await self._command()
            status = command.number(Tag.STATUS)
            data = await self._collect() if command.has_data_set else b""
            if status not in _PENDING:
                if matches:
                    await send(Page(matches=tuple(matches)))
                return _last(command)
            found += 1
            if found > most:
                raise LimitExceeded(f"more than {most} match: ask for less")
            document, charset = datasets.decode(data, self._syntax)
            matches.append(Match(dataset=document, charset=charset[:120]))
            if len(matches) >= MATCHES_OF_A_PAGE or loop.time() - since > PAGE_AFTER_S:
                await send(Page(matches=tuple(matches)))
                matches, since = [], loop.time()

    async def step(self, asked: Asked) -> Page:
        """Return the answer to N-CREATE or N-SET; raises as `_command`."""
        if asked.kind is Kind.MPPS_CREATE:
            numbers = {Tag.FIELD: Field.N_CREATE_RQ}
            uids = {Tag.SOP_CLASS: self._class, Tag.SOP_INSTANCE: asked.instance}
        else:
            numbers = {Tag.FIELD: Field.N_SET_RQ}
            uids = {
                Tag.REQUESTED_SOP_CLASS: self._class,
                Tag.REQUESTED_SOP_INSTANCE: asked.instance,
            }
        await self._request(asked, numbers, uids)
        _, command = await self._command()
        data = await self._collect() if command.has_data_set else b""
        page = _last(command)
        if not data:
            return page
        document, charset = datasets.decode(data, self._syntax)
        match = Match(dataset=document, charset=charset[:120])
        return Page(last=True, status=page.status, comment=page.comment, matches=(match,))

    async def get(self, asked: Asked, send: Send) -> Page:
        """Return the last page of a C-GET; raises as `_command`."""
        await self._request(asked, {Tag.FIELD: Field.C_GET_RQ, Tag.PRIORITY: 0})
        remaining = 0
        while True:
            context, command = await self._command()
            if command.number(Tag.FIELD) == Field.C_STORE_RQ:
                remaining = max(0, remaining - 1)
                await self._returned(context, command, send, remaining)
                continue
            if command.has_data_set:
                await self._collect()
            if command.number(Tag.STATUS) not in _PENDING:
                return _last(command)
            if Tag.REMAINING in command.elements:
                remaining = command.number(Tag.REMAINING)

    async def move(self, asked: Asked, send: Send, moves: Moves) -> Page:
        """Return the last page of a C-MOVE to ourselves; raises as `_command`."""
        message = self._user.next_message()
        title, pairs = self._title, asked.contexts
        move = Move(titles=self._titles, message=message, pairs=pairs, send=send)
        async with moves.under_way(move):
            head = dimse.command(
                {
                    Tag.FIELD: Field.C_MOVE_RQ,
                    Tag.PRIORITY: 0,
                    Tag.MESSAGE_ID: message,
                    Tag.DATA_SET_TYPE: dimse.HAS_DATA_SET,
                },
                uids={Tag.SOP_CLASS: self._class},
                titles={Tag.MOVE_DESTINATION: title},
            )
            await self._ask(head, asked)
            while True:
                command = await self._moving(move)
                if command.has_data_set:
                    await self._collect()
                if command.number(Tag.STATUS) not in _PENDING:
                    break
                if Tag.REMAINING in command.elements:
                    move.remaining = command.number(Tag.REMAINING)
            await move.settled()
        if command.number(Tag.STATUS) == Status.DESTINATION_UNKNOWN:
            raise NotPermitted(f"the archive does not store to {title}: is it entered there?")
        return _last(command)

    async def _moving(self, move: Move) -> Command:
        """Return the next response; an archive that stores is not silent."""
        while True:
            before = move.progress
            try:
                return (await self._command())[1]
            except TimeoutError:
                if move.progress == before:
                    raise

    async def _returned(self, context: int, command: Command, send: Send, remaining: int) -> None:
        pair = self._of[context]
        begun = Begun(
            sop_class=command.uid(Tag.SOP_CLASS),
            sop_instance=command.uid(Tag.SOP_INSTANCE),
            transfer_syntax=pair[1],
        )
        if begun.sop_class != pair[0]:
            raise FramingError("an instance of another class than its context")
        await send(Page(begun=begun, remaining=remaining))
        async for piece in self._pieces():
            await send(piece)
        await send(Page(ended="whole"))
        answer = dimse.response(command, Status.SUCCESS)
        await self._user.stream.send_message(context, answer, command=True)

    async def _request(
        self, asked: Asked, numbers: Mapping[Tag, int], uids: Mapping[Tag, str] | None = None
    ) -> None:
        head = dimse.command(
            {
                **numbers,
                Tag.MESSAGE_ID: self._user.next_message(),
                Tag.DATA_SET_TYPE: dimse.HAS_DATA_SET,
            },
            uids=uids or {Tag.SOP_CLASS: self._class},
        )
        await self._ask(head, asked)

    async def _ask(self, head: bytes, asked: Asked) -> None:
        data = datasets.encode(asked.dataset, asked.charset, self._syntax)
        await self._user.stream.send_message(self._context, head, command=True)
        await self._user.stream.send_message(self._context, data, command=False)

    async def _command(self) -> tuple[int, Command]:
        """Return the next command and its context.

        Raises:
            FramingError: No protocol is kept.
            TimeoutError: The archive is silent.
            Unavailable: It is gone.
        """
        data = bytearray()
        while True:
            value = await self._value()
            if not value.is_command:
                raise FramingError("a data set without its command")
            data += value.data
            if len(data) > dimse.COMMAND_BYTES_MAX:
                raise LimitExceeded("a command that is too long")
            if value.is_last:
                return value.context, Command.decode(bytes(data))

    async def _collect(self) -> bytes:
        data = bytearray()
        async for piece in self._pieces():
            data += piece
            if len(data) > datasets.DATA_BYTES_MAX:
                raise FramingError("the archive sends a data set that is too long")
        return bytes(data)

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Return a data set in pieces; a view of a PDU does not outlive the next one."""
        waiting = bytearray()
        while True:
            value = await self._value()
            if value.is_command:
                raise FramingError("a command in the middle of a data set")
            waiting += value.data
            if len(waiting) >= PIECE_BYTES or value.is_last:
                for at in range(0, len(waiting), PIECE_BYTES):
                    yield bytes(waiting[at : at + PIECE_BYTES])
                waiting.clear()
            if value.is_last:
                return

    async def _value(self) -> Pdv:
        while not self._values:
            kind, body = await self._user.stream.read(within_s=self._answer_s)
            if kind is PduType.ABORT:
                raise Unavailable("the archive aborted the association")
            if kind is not PduType.DATA:
                raise FramingError(f"an unexpected PDU of type {kind}")
            self._values.extend(pdu.read_pdvs(body))
        value = self._values.popleft()
        if value.context not in self._of:
            raise FramingError("an answer in a context that nobody proposed")
        return value


def _last(command: Command) -> Page:
    def count(tag: Tag) -> int:
        return command.number(tag) if tag in command.elements else 0

    return Page(
        last=True,
        status=command.number(Tag.STATUS),
        comment=command.text(Tag.ERROR_COMMENT)[:200],
        completed=count(Tag.COMPLETED),
        failed=count(Tag.FAILED),
        warning=count(Tag.WARNING),
    )
