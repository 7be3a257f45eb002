"""Queries, worklists, steps and retrievals of one association: asked elsewhere, answered here.

An operation runs beside the reading of the association, so that C-CANCEL and the answers to what a
C-GET returns are heard. What nobody answers is a failure, never an empty success.

Source: DICOM PS3.4 annexes C, F and K; PS3.7 sections 9.1.2 to 9.1.4, 9.3.2, 10.1.3 and 10.1.5.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    FramingError,
    InputError,
    LimitExceeded,
    TransientError,
    TrustError,
)
from asepsis.core.wire.relay import PENDING, Asked, Begun, DataSet, Kind
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.imaging import commitments, datasets, dimse
from asepsis.edge.gateway.imaging.asker import Answers, Asker, fresh_id
from asepsis.edge.gateway.imaging.dimse import Command, Field, Status, Tag
from asepsis.edge.gateway.imaging.imaging_findings import ImagingFinding
from asepsis.edge.gateway.imaging.movement import MoveDestination, Movement
from asepsis.edge.gateway.imaging.pdu_values import Pdv
from asepsis.edge.gateway.imaging.pdustream import PduStream
from asepsis.edge.gateway.imaging.policy import Peer
from asepsis.edge.gateway.imaging.requestor import Pair
from asepsis.edge.gateway.imaging.retrieval import Counts, Retrieval
from asepsis.edge.gateway.imaging.services import KINDS, STEPS

QUERY_S: Final = 300.0
RETRIEVAL_S: Final = 3_600.0
"""Longest time of a query, and of a retrieval, at the hub."""
_FAILED_UIDS: Final = "00080058"
_IN: Final = frozenset({Kind.MOVE, Kind.GET})


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """What a gateway asks archives and worklists with.

    Attributes:
        asker: Asks the hub; None where no peer may ask.
        destinations: AE title -> where images of a C-MOVE may go.
        answer_s: Longest silence of an archive, seconds.
        wait_s: Longest wait for the answer to a step, seconds.
    """

    asker: Asker | None
    destinations: Mapping[str, MoveDestination]
    answer_s: float
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """What the operations of an association know of it.

    Attributes:
        stream: The connection.
        peer: Whose association it is.
        calling: AE title that it uses.
        user: Who its user was proven to be.
        contexts: Accepted contexts -> SOP class and transfer syntax.
        returning: Pairs that it takes from a C-GET -> context.
        inquiry: What the gateway asks with.
        findings: Told what people should know.
    """

    stream: PduStream
    peer: Peer
    calling: str
    user: str
    contexts: Mapping[int, Pair]
    returning: Mapping[Pair, int]
    inquiry: Inquiry
    findings: Findings


@dataclass(frozen=True, slots=True)
class _Request:
    """A request whose data set is on its way or complete."""

    command: Command
    context: int
    kind: Kind
    syntax: str


class Operations:
    """The operations of one association, one at a time.

    Args:
        party: What they know of it.

    Resource handling: `close` ends what runs.
    """

    def __init__(self, party: Party) -> None:
        self._party = party
        self._collecting: _Request | None = None
        self._data = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._stored: asyncio.Queue[Command] = asyncio.Queue(1)
        self._messages = 0

    @property
    def collecting(self) -> bool:
        """Whether a data set is on its way."""
        return self._collecting is not None

    def takes(self, context: int, command: Command) -> bool:
        """Begin with a command and return True, or return False where it is another's.

        Raises:
            FramingError: It comes at a time when it may not.
        """
        number = command.number(Tag.FIELD)
        running = self._task is not None and not self._task.done()
        if number == Field.C_CANCEL_RQ:
            self._cancelled = running
            return True
        if number == Field.C_STORE_RSP and running and self._stored.empty():
            self._stored.put_nowait(command)
            return True
        abstract, syntax = self._party.contexts[context]
        kind = KINDS.get((abstract, number))
        if kind is None or not command.has_data_set:
            return False
        if running:
            raise FramingError("a request before the last one was answered")
        self._collecting = _Request(command, context, kind, syntax)
        self._data.clear()
        return True

    def add(self, value: Pdv) -> None:
        """Take a part of a data set; the last one begins the operation.

        Raises:
            FramingError: It belongs to no request.
            LimitExceeded: A longer one than a query or step has.
        """
        request = self._collecting
        if request is None or value.context != request.context:
            raise FramingError("a data set without its command")
        if len(self._data) + len(value.data) > datasets.DATA_BYTES_MAX:
            raise LimitExceeded("a data set that is too long")
        self._data += value.data
        if value.is_last:
            self._collecting, self._cancelled = None, False
            work = self._serve(request, bytes(self._data))
            self._task = asyncio.get_running_loop().create_task(work)

    async def close(self) -> None:
        """End what runs; a fault of our own is raised, whatever a peer did is not."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(AsepsisError, TimeoutError, asyncio.CancelledError):
            await self._task

    async def _serve(self, request: _Request, data: bytes) -> None:
        """Answer a request; if even that cannot be done, end the association."""
        answered = False
        try:
            try:
                await self._run(request, data)
            except (InputError, TrustError, TransientError, TimeoutError) as error:
                # Of a trust or input error the asker is the cause, and a person can help it.
                failed = _failure(request.kind, error)
                self._note(request.kind, failed, str(error))
                await self._respond(request, failed, comment=str(error))
            answered = True
        finally:
            if not answered:
                await self._party.stream.abort()
                await self._party.stream.close()

    async def _run(self, request: _Request, data: bytes) -> None:
        abstract = self._party.contexts[request.context][0]
        requested = request.kind in {Kind.MPPS_SET, Kind.COMMIT}
        tag = Tag.REQUESTED_SOP_CLASS if requested else Tag.SOP_CLASS
        if request.command.uid(tag) != abstract:
            await self._respond(request, Status.SOP_CLASS_NOT_SUPPORTED)
            return
        document, charset = datasets.decode(data, request.syntax)
        if request.kind is Kind.MOVE:
            await self._move(request, document, charset)
            return
        asked = self._asked(request, document, charset, tuple(self._party.returning))
        answers = await self._ask(asked)
        try:
            if request.kind is Kind.GET:
                await self._get(request, answers)
            elif request.kind in STEPS:
                await self._step(request, answers)
            elif request.kind is Kind.COMMIT:
                # Kept at the hub: the archive's word comes as an event report, as late as it may.
                await self._finish(request, Status.SUCCESS, "")
            else:
                await self._find(request, answers)
        finally:
            answers.end()

    def _asked(
        self, request: _Request, document: DataSet, charset: str, contexts: tuple[Pair, ...]
    ) -> Asked:
        peer, kind, command = self._party.peer, request.kind, request.command
        instance = ""
        if kind in STEPS:
            create = kind is Kind.MPPS_CREATE
            instance = command.uid(Tag.SOP_INSTANCE if create else Tag.REQUESTED_SOP_INSTANCE)
        elif kind is Kind.COMMIT:
            instance = commitments.judge(command, document)
        return Asked(
            id=fresh_id(),
            kind=kind,
            archive=peer.target(kind),
            device=peer.device,
            calling=self._party.calling,
            user=self._party.user[:120],
            instance=instance,
            dataset=document,
            charset=charset[:120],
            destination=command.text(Tag.MOVE_DESTINATION)[:16],
            contexts=contexts[:127] if kind in _IN else (),
            deadline_s=RETRIEVAL_S if kind in _IN else QUERY_S,
        )

    async def _ask(self, asked: Asked) -> Answers:
        asker = self._party.inquiry.asker
        if asker is None:
            raise TransientError("nobody can be asked")
        return await asker.ask(asked)

    async def _find(self, request: _Request, answers: Answers) -> None:
        given, most = 0, self._party.peer.limits.matches_max
        while True:
            page = await answers.next(within_s=self._party.inquiry.answer_s)
            if self._cancelled:
                await self._respond(request, Status.CANCELLED)
                return
            if page is None or isinstance(page, bytes):
                raise TransientError("the archive does not answer")
            for match in page.matches:
                given += 1
                if given > most:
                    self._note(request.kind, Status.OUT_OF_RESOURCES, "too many matches")
                    comment = f"more than {most} match: ask for less"
                    await self._respond(request, Status.OUT_OF_RESOURCES, comment=comment)
                    return
                data = datasets.encode(match.dataset, match.charset, request.syntax)
                await self._respond(request, Status.PENDING, data=data)
            if page.last:
                await self._finish(request, page.status, page.comment)
                return

    async def _step(self, request: _Request, answers: Answers) -> None:
        """Say what the worklist's owner says; if it is away, that the step is kept until it is."""
        page = await answers.next(within_s=self._party.inquiry.wait_s)
        if page is None or isinstance(page, bytes):
            self._party.findings.note(ImagingFinding.STEP_KEPT, self._party.peer.name)
            await self._respond(request, Status.SUCCESS)
            return
        data = b""
        if page.matches:
            match = page.matches[0]
            data = datasets.encode(match.dataset, match.charset, request.syntax)
        await self._finish(request, page.status, page.comment, data=data)

    async def _get(self, request: _Request, answers: Answers) -> None:
        retrieval = Retrieval(answers, answer_s=self._party.inquiry.answer_s)
        status, comment = await retrieval.run(
            self._give,
            lambda counts: self._pending(request, counts),
            cancelled=lambda: self._cancelled,
        )
        await self._retrieved(request, retrieval.counts, status, comment)

    async def _move(self, request: _Request, document: DataSet, charset: str) -> None:
        title = request.command.text(Tag.MOVE_DESTINATION)
        destination = self._party.inquiry.destinations.get(title)
        if destination is None or title not in self._party.peer.move_to:
            self._note(request.kind, Status.DESTINATION_UNKNOWN, title)
            await self._respond(request, Status.DESTINATION_UNKNOWN, comment="not declared")
            return
        message = request.command.number(Tag.MESSAGE_ID)
        async with Movement(destination, originator=(self._party.calling, message)) as movement:
            asked = self._asked(request, document, charset, movement.pairs)
            answers = await self._ask(asked)
            try:
                retrieval = Retrieval(answers, answer_s=self._party.inquiry.answer_s)
                status, comment = await retrieval.run(
                    movement.store,
                    lambda counts: self._pending(request, counts),
                    cancelled=lambda: self._cancelled,
                )
            finally:
                answers.end()
        await self._retrieved(request, retrieval.counts, status, comment)

    async def _give(self, begun: Begun, pieces: AsyncIterator[bytes]) -> int:
        """Return one instance of a C-GET on this association; a broken one ends it.

        Raises:
            FramingError: The peer answers another message.
            TransientError: The instance did not come whole.
        """
        stream = self._party.stream
        context = self._party.returning.get((begun.sop_class, begun.transfer_syntax))
        if context is None:
            async for _ in pieces:
                continue
            return Status.SOP_CLASS_NOT_SUPPORTED
        self._messages = self._messages % 0xFFFF + 1
        head = dimse.store_request(
            self._messages, sop_class=begun.sop_class, sop_instance=begun.sop_instance
        )
        await stream.send_message(context, head, command=True)
        try:
            await _send_pieces(stream, context, pieces)
        except (AsepsisError, TimeoutError):
            await stream.abort()
            await stream.close()
            raise
        async with asyncio.timeout(self._party.inquiry.answer_s):
            answer = await self._stored.get()
        if answer.number(Tag.RESPONDED_ID) != self._messages:
            raise FramingError("an answer to another message")
        return answer.number(Tag.STATUS)

    async def _pending(self, request: _Request, counts: Counts) -> None:
        await self._respond(request, Status.PENDING, counts=counts.elements(final=False))

    async def _retrieved(
        self, request: _Request, counts: Counts, status: int, comment: str
    ) -> None:
        data = b""
        if counts.failed_uids:
            element = {"vr": "UI", "Value": counts.failed_uids}
            data = datasets.encode({_FAILED_UIDS: element}, "", request.syntax)
        await self._finish(request, status, comment, data=data, counts=counts.elements(final=True))

    async def _finish(
        self,
        request: _Request,
        status: int,
        comment: str,
        *,
        data: bytes = b"",
        counts: Mapping[Tag, int] | None = None,
    ) -> None:
        status = Status.UNABLE if status in (PENDING, 0xFF01) else status
        if status not in (Status.SUCCESS, Status.CANCELLED):
            self._note(request.kind, status, comment)
        await self._respond(request, status, comment=comment, data=data, counts=counts)

    async def _respond(
        self,
        request: _Request,
        status: int,
        *,
        comment: str = "",
        data: bytes = b"",
        counts: Mapping[Tag, int] | None = None,
    ) -> None:
        head = dimse.response(
            request.command, status, comment=comment, data_set=bool(data), counts=counts
        )
        await self._party.stream.send_message(request.context, head, command=True)
        if data:
            await self._party.stream.send_message(request.context, data, command=False)

    def _note(self, kind: Kind, status: int, reason: str) -> None:
        self._party.findings.note(
            ImagingFinding.NOT_ANSWERED,
            self._party.peer.name,
            kind=kind.value,
            status=f"{status:04X}",
            reason=reason[:120],
        )


async def _send_pieces(stream: PduStream, context: int, pieces: AsyncIterator[bytes]) -> None:
    """Send a data set; its end leaves once it is known to be whole."""
    waiting = b""
    async for piece in pieces:
        if waiting:
            await stream.send_message(context, waiting, command=False, last=False)
        waiting = piece
    await stream.send_message(context, waiting, command=False)


def _failure(kind: Kind, error: Exception) -> int:
    if kind in STEPS or kind is Kind.COMMIT:
        return Status.PROCESSING_FAILURE
    if isinstance(error, TrustError):
        return Status.NOT_AUTHORISED
    if isinstance(error, LimitExceeded):
        return Status.OUT_OF_RESOURCES
    return Status.UNABLE
