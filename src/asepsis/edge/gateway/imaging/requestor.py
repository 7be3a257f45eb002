"""An association that we ask for: C-ECHO and C-STORE to a PACS, bytes as they are stored.

Source: DICOM PS3.8 sections 7 and 9; PS3.7 sections 9.1.1 and 9.1.5; PS3.4 annex B.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import (
    FramingError,
    IdentityInvalid,
    InputError,
    LimitExceeded,
    NotPermitted,
    Unavailable,
)
from asepsis.edge.gateway.imaging import dimse, pdu
from asepsis.edge.gateway.imaging.dimse import VERIFICATION, Command, Field, Tag
from asepsis.edge.gateway.imaging.pdu_values import (
    AssociateAccept,
    AssociateRequest,
    ContextResult,
    PduType,
    ProposedContext,
    RoleSelection,
    UserIdentity,
)
from asepsis.edge.gateway.imaging.pdustream import PduStream

PDU_BYTES_MAX: Final = 262_144
IMPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
_TRANSIENT: Final = 2

Pair = tuple[str, str]
"""SOP class and transfer syntax."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A storage provider elsewhere.

    Attributes:
        host: Address.
        port: TCP port.
        called: Its AE title.
        calling: Ours.
        tls: TLS context; None on a device segment only.
        server_name: Name that its certificate must carry; empty for `host`.
        identity: User that it is told; None for none.
        connect_s: Longest wait for the connection, seconds.
        pdu_s: Longest time for one PDU, seconds.
        answer_s: Longest wait for an answer, seconds.
        dial: Connects instead of this process, which may not be able to; blocks, so it gets a
            thread. Raises TransientError.
    """

    host: str
    port: int
    called: str
    calling: str
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    identity: UserIdentity | None = None
    connect_s: float = 10.0
    pdu_s: float = 30.0
    answer_s: float = 60.0
    dial: Callable[[], socket.socket] | None = None


class Requestor:
    """One open association; made by `associate`.

    Attributes:
        accepted: Pairs that the provider takes -> presentation context.
        refused: Pairs that it was asked for and does not take.

    Resource handling: `release` or `abort` ends it.
    """

    def __init__(self, stream: PduStream, remote: Remote, accept: AssociateAccept,
                 proposed: dict[int, Pair]) -> None:  # fmt: skip
        self._stream = stream
        self._remote = remote
        self._messages = 0
        self.accepted: dict[Pair, int] = {}
        self.refused: set[Pair] = set(proposed.values())
        for context in accept.contexts:
            pair = proposed.get(context.number)
            if pair is None or context.result != ContextResult.ACCEPTED:
                continue
            if context.transfer_syntax != pair[1]:
                raise FramingError("the provider chose a transfer syntax that nobody proposed")
            self.accepted[pair] = context.number
            self.refused.discard(pair)
        stream.peer_bytes_max = accept.pdu_bytes_max

    async def echo(self) -> int:
        """Return the status of a C-ECHO.

        Raises:
            InputError: Verification was not proposed or not accepted, or no protocol is kept.
            TimeoutError: No answer in time.
            Unavailable: The connection is gone.
        """
        context = self._context((VERIFICATION, IMPLICIT_LITTLE_ENDIAN))
        self._messages += 1
        numbers = {
            Tag.FIELD: int(Field.C_ECHO_RQ),
            Tag.MESSAGE_ID: self._messages & 0xFFFF,
            Tag.DATA_SET_TYPE: dimse.NO_DATA_SET,
        }
        request = dimse.command(numbers, uids={Tag.SOP_CLASS: VERIFICATION})
        await self._stream.send_message(context, request, command=True)
        return (await self._answer(context)).number(Tag.STATUS)

    async def store(
        self,
        pair: Pair,
        sop_instance: str,
        data_set: AsyncIterator[bytes],
        *,
        originator: tuple[str, int] | None = None,
    ) -> tuple[int, str]:
        """Store one instance; return status and error comment.

        The last bytes leave once `data_set` has ended, so one that fails at its end, because its
        hash is wrong, is never complete at the provider.

        Args:
            pair: SOP class and transfer syntax, one of `accepted`.
            sop_instance: UID.
            data_set: The encoded data set in pieces, as it is stored.
            originator: AE title and message id of the C-MOVE that it is for.

        Raises:
            InputError: The provider keeps no protocol.
            TimeoutError: It is too slow.
            Unavailable: The connection is gone.
        """
        context = self._context(pair)
        self._messages += 1
        request = dimse.store_request(
            self._messages & 0xFFFF,
            sop_class=pair[0],
            sop_instance=sop_instance,
            originator=originator,
        )
        await self._stream.send_message(context, request, command=True)
        waiting = b""
        async for piece in data_set:
            if waiting:
                await self._stream.send_message(context, waiting, command=False, last=False)
            waiting = piece
        await self._stream.send_message(context, waiting, command=False)
        answer = await self._answer(context)
        return answer.number(Tag.STATUS), answer.text(Tag.ERROR_COMMENT)

    @property
    def stream(self) -> PduStream:
        """The connection, for services that have their own order of messages."""
        return self._stream

    async def answer(self, context: int, *, within_s: float) -> Command:
        """Return the response to the last message, which has no data set.

        Raises:
            InputError: The provider keeps no protocol.
            TimeoutError: It is too slow.
            Unavailable: The connection is gone.
        """
        async with asyncio.timeout(within_s):
            return await self._answer(context)

    def next_message(self) -> int:
        """Return the id of the next message."""
        self._messages += 1
        return self._messages & 0xFFFF

    async def release(self) -> None:
        """End the association as both sides want it, and the connection."""
        try:
            await self._stream.send(pdu.RELEASE_RQ)
            await self._stream.read(within_s=self._remote.pdu_s)
        except (Unavailable, TimeoutError, InputError):
            return
        finally:
            await self._stream.close()

    async def abort(self) -> None:
        """End it at once."""
        await self._stream.abort(by_user=True)
        await self._stream.close()

    def _context(self, pair: Pair) -> int:
        found = self.accepted.get(pair)
        if found is None:
            raise NotFoundContext("the provider does not take this class in this transfer syntax")
        return found

    async def _answer(self, context: int) -> Command:
        data = bytearray()
        while True:
            kind, body = await self._stream.read(within_s=self._remote.answer_s)
            if kind is PduType.ABORT:
                raise Unavailable("the provider aborted the association")
            if kind is not PduType.DATA:
                raise FramingError(f"an unexpected PDU of type {kind}")
            for value in pdu.read_pdvs(body):
                if value.context != context or not value.is_command:
                    raise FramingError("an answer in another context")
                data += value.data
                if len(data) > dimse.COMMAND_BYTES_MAX:
                    raise LimitExceeded("an answer that is too long")
                if value.is_last:
                    return self._judge(Command.decode(bytes(data)))

    def _judge(self, answer: Command) -> Command:
        if answer.number(Tag.RESPONDED_ID) != self._messages & 0xFFFF:
            raise FramingError("an answer to another message")
        return answer


class NotFoundContext(InputError):  # noqa: N818 - names the finding
    """The provider takes no such SOP class, or not in this transfer syntax."""

    code = InputError.code


async def associate(
    remote: Remote, pairs: Collection[Pair], *, providing: Collection[str] = ()
) -> Requestor:
    """Ask for an association with one context a pair, so that nobody can ask us to convert.

    Args:
        remote: The provider.
        pairs: At most 128.
        providing: SOP classes of which we are provider: we take what a C-GET returns.

    Raises:
        IdentityInvalid: Its certificate does not hold.
        InputError: It keeps no protocol.
        LimitExceeded: Too many pairs.
        NotPermitted: It refuses us for good.
        Unavailable: Nobody there, too slow, or it refuses us for now.
    """
    if len(pairs) > pdu.CONTEXTS_MAX:
        raise LimitExceeded(f"{len(pairs)} presentation contexts")
    proposed = {2 * number + 1: pair for number, pair in enumerate(pairs)}
    request = AssociateRequest(
        called=remote.called,
        calling=remote.calling,
        contexts=tuple(
            ProposedContext(number, pair[0], (pair[1],)) for number, pair in proposed.items()
        ),
        pdu_bytes_max=PDU_BYTES_MAX,
        identity=remote.identity,
        roles=tuple(RoleSelection(uid, user=False, provider=True) for uid in providing),
    )
    stream = await _connect(remote)
    try:
        await stream.send(pdu.encode_request(request))
        kind, body = await stream.read(within_s=remote.answer_s)
        return Requestor(stream, remote, _judge(kind, bytes(body)), proposed)
    except TimeoutError as error:
        await stream.close()
        raise Unavailable("no answer to the association request") from error
    except BaseException:
        await stream.close()
        raise


def _judge(kind: PduType, body: bytes) -> AssociateAccept:
    if kind is PduType.ASSOCIATE_AC:
        return pdu.decode_accept(body)
    if kind is PduType.ASSOCIATE_RJ:
        rejection = pdu.decode_rejection(body)
        text = f"association rejected (source {rejection.source}, reason {rejection.reason})"
        raise Unavailable(text) if rejection.result == _TRANSIENT else NotPermitted(text)
    if kind is PduType.ABORT:
        raise Unavailable("the provider aborted the association")
    raise FramingError(f"an unexpected PDU of type {kind}")


async def _connect(remote: Remote) -> PduStream:
    name = (remote.server_name or remote.host) if remote.tls else None
    loop = asyncio.get_running_loop()

    def made() -> PduStream:
        return PduStream(pdu_bytes_max=PDU_BYTES_MAX, pdu_s=remote.pdu_s)

    try:
        async with asyncio.timeout(remote.connect_s):
            if remote.dial is None:
                _, stream = await loop.create_connection(
                    made, remote.host, remote.port, ssl=remote.tls, server_hostname=name
                )
            else:
                plain = await loop.run_in_executor(None, remote.dial)
                plain.setblocking(False)
                _, stream = await loop.create_connection(
                    made, sock=plain, ssl=remote.tls, server_hostname=name
                )
    except ssl.SSLCertVerificationError as error:
        raise IdentityInvalid(f"the provider's certificate: {error.verify_message}") from error
    except OSError as error:  # Also TimeoutError.
        raise Unavailable(f"no connection to the provider ({type(error).__name__})") from error
    return stream
