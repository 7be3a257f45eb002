"""Where an archive reaches us: its word about commitments, and what it stores because we asked.

Event reports come on whatever association; the one port is what the archive knows us by.

Source: DICOM PS3.4 section J.3.3; PS3.7 sections 10.1.1 and D.3.3.4 (role selection).
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    FramingError,
    InputError,
    LimitExceeded,
    Unavailable,
)
from asepsis.core.wire.relay import DataSet
from asepsis.edge.gateway.imaging import datasets, dimse, pdu
from asepsis.edge.gateway.imaging.arriving import Arrival, Moves
from asepsis.edge.gateway.imaging.dimse import Command, Field, Status, Tag
from asepsis.edge.gateway.imaging.pdu_values import (
    AnsweredContext,
    AssociateAccept,
    AssociateRequest,
    ContextResult,
    PduType,
    Pdv,
    Rejection,
    RoleSelection,
)
from asepsis.edge.gateway.imaging.pdustream import PduStream, abort_reason
from asepsis.edge.gateway.imaging.requestor import Pair
from asepsis.edge.gateway.imaging.services import COMMITMENT, SYNTAXES

REQUEST_S: Final = 10.0
IDLE_S: Final = 30.0
PDU_BYTES_MAX: Final = 262_144
ASSOCIATIONS_MAX: Final = 16
UNKNOWN: Final = Rejection(1, 1, 3)
"""Calling AE title not recognised; PS3.8 table 9-21."""

Hear = Callable[[DataSet], bool]
"""Takes event information; returns whether somebody waits for it."""


class Hearing:
    """Event reports of one association.

    Args:
        stream: The connection; owned by the caller.
        contexts: Presentation context -> transfer syntax.
        hear: Takes what is reported.
    """

    def __init__(self, stream: PduStream, contexts: Mapping[int, str], hear: Hear) -> None:
        self._stream = stream
        self._contexts = contexts
        self._hear = hear
        self._command = bytearray()
        self._data = bytearray()
        self._request: Command | None = None

    async def run(self, *, within_s: float) -> None:
        """Hear until the association ends, or nothing comes for a while.

        Raises:
            InputError: The archive keeps no protocol.
            TimeoutError: Nothing came in time.
            Unavailable: The connection is gone.
        """
        while True:
            kind, body = await self._stream.read(within_s=within_s)
            if kind is PduType.RELEASE_RQ:
                await self._stream.send(pdu.RELEASE_RP)
                return
            if kind is PduType.ABORT:
                return
            if kind is not PduType.DATA:
                raise FramingError(f"an unexpected PDU of type {kind}")
            for value in pdu.read_pdvs(body):
                await self._value(value)

    async def _value(self, value: Pdv) -> None:
        if value.context not in self._contexts:
            raise FramingError("a presentation context that was not accepted")
        if value.is_command != (self._request is None):
            raise FramingError("a command and a data set in the wrong order")
        waiting = self._command if value.is_command else self._data
        waiting += value.data
        if len(waiting) > datasets.DATA_BYTES_MAX:
            raise LimitExceeded("a report that is too long")
        if not value.is_last:
            return
        if value.is_command:
            await self._begun(value.context)
        else:
            await self._reported(value.context)

    async def _begun(self, context: int) -> None:
        command = Command.decode(bytes(self._command))
        self._command.clear()
        number = command.number(Tag.FIELD)
        if number == Field.N_EVENT_REPORT_RQ and command.has_data_set:
            self._request = command
            return
        if number & 0x8000 or command.has_data_set:
            raise FramingError(f"command {number:#06x} is no report")
        await self._answer(context, command, Status.UNRECOGNISED_OPERATION)

    async def _reported(self, context: int) -> None:
        request, self._request = self._request, None
        data = bytes(self._data)
        self._data.clear()
        if request is None:
            raise FramingError("a data set without its command")
        if request.uid(Tag.SOP_CLASS) != COMMITMENT:
            await self._answer(context, request, Status.SOP_CLASS_NOT_SUPPORTED)
            return
        document, _ = datasets.decode(data, self._contexts[context])
        known = self._hear(document)
        # A word that nobody waits for any more is taken all the same: it is asked for anew.
        await self._answer(context, request, Status.SUCCESS if known else Status.INVALID_INSTANCE)

    async def _answer(self, context: int, request: Command, status: int) -> None:
        head = dimse.response(request, status)
        await self._stream.send_message(context, head, command=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """Where one archive reports to.

    Attributes:
        socket: Bound.
        context: TLS; None on a device segment only.
        address: The archive's.
        calling: Its AE title.
        called: Ours.
        answer_s: Longest silence while it stores, seconds.
    """

    socket: socket.socket
    context: ssl.SSLContext | None
    address: str
    calling: str
    called: str
    answer_s: float


class EarServer:
    """Takes associations of one archive that report, or store what we asked for.

    Args:
        ear: Where.
        hear: Takes what is reported; None where it is not asked to commit.
        moves: What is taken of what it stores; None where it is not asked to.

    Resource handling: `open` listens until this process ends.
    """

    def __init__(self, ear: Ear, hear: Hear | None, moves: Moves | None = None) -> None:
        self._ear = ear
        self._hear = hear
        self._moves = moves
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen."""
        await asyncio.get_running_loop().create_server(
            lambda: PduStream(pdu_bytes_max=PDU_BYTES_MAX, pdu_s=REQUEST_S, begun=self._begin),
            sock=self._ear.socket,
            ssl=self._ear.context,
        )

    def _begin(self, stream: PduStream) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: PduStream) -> None:
        name = stream.transport.get_extra_info("peername")
        if not name or name[0] != self._ear.address or len(self._tasks) > ASSOCIATIONS_MAX:
            stream.transport.abort()
            return
        try:
            await self._associated(stream)
        except InputError as error:
            await stream.abort(reason=abort_reason(error))
        except (AsepsisError, TimeoutError):
            await stream.abort()
        finally:
            await stream.close()

    async def _associated(self, stream: PduStream) -> None:
        kind, body = await stream.read(within_s=REQUEST_S)
        if kind is not PduType.ASSOCIATE_RQ:
            raise FramingError("the first PDU is no association request")
        request = pdu.decode_request(bytes(body))
        if (request.calling, request.called) != (self._ear.calling, self._ear.called):
            await stream.send(pdu.encode_rejection(UNKNOWN))
            return
        stream.peer_bytes_max = request.pdu_bytes_max
        stored = self._stored(request)
        if stored and self._moves is not None:
            accept = _accept(request, {number: pair[1] for number, pair in stored.items()})
            await stream.send(pdu.encode_accept(accept, request=request))
            await Arrival(stream, stored, self._moves, answer_s=self._ear.answer_s).run()
            return
        reported = self._reported(request)
        await stream.send(pdu.encode_accept(_accept(request, reported), request=request))
        await Hearing(stream, reported, self._hear or _nobody).run(within_s=IDLE_S)

    def _stored(self, request: AssociateRequest) -> dict[int, Pair]:
        """Return the contexts in which it stores what the present move asks for."""
        move = self._moves.current if self._moves is not None else None
        if move is None:
            return {}
        found = {
            each.number: (each.abstract_syntax, move.syntax_of(each)) for each in request.contexts
        }
        return {number: pair for number, pair in found.items() if pair[1]}

    def _reported(self, request: AssociateRequest) -> dict[int, str]:
        """Return the contexts in which it reports what it committed."""
        if self._hear is None:
            return {}
        return {
            context.number: syntax
            for context in request.contexts
            if context.abstract_syntax == COMMITMENT
            and (syntax := _first(context.transfer_syntaxes))
        }


def _nobody(document: DataSet) -> bool:
    """Take a word that nobody asked for."""
    del document
    return False


def _first(proposed: tuple[str, ...]) -> str:
    return next((syntax for syntax in SYNTAXES if syntax in proposed), "")


def _accept(request: AssociateRequest, contexts: Mapping[int, str]) -> AssociateAccept:
    """Accept what reports need: the archive is provider of the service although it calls us."""
    refused = ContextResult.ABSTRACT_SYNTAX
    return AssociateAccept(
        contexts=tuple(
            AnsweredContext(each.number, ContextResult.ACCEPTED, contexts[each.number])
            if each.number in contexts
            else AnsweredContext(each.number, refused, each.transfer_syntaxes[0])
            for each in request.contexts
        ),
        pdu_bytes_max=PDU_BYTES_MAX,
        roles=tuple(
            RoleSelection(COMMITMENT, user=False, provider=role.provider)
            for role in request.roles
            if role.sop_class == COMMITMENT
        ),
    )


def bind(host: str, port: int) -> socket.socket:
    """Bind where an archive reports to; a confined process cannot.

    Raises:
        Unavailable: The address is taken or not ours.
    """
    try:
        return socket.create_server((host, port), backlog=ASSOCIATIONS_MAX)
    except OSError as error:
        raise Unavailable(f"{host} port {port}: {error.strerror}") from error
