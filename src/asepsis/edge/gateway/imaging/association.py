"""One association with a modality: request, contexts, C-ECHO, C-STORE, release.

The data set of a C-STORE goes into the spool as it comes off the wire; it is never decoded here.
A peer that breaks the protocol is told so by A-ABORT; one that asks for what it may not is told by
a rejection or a status, because a person at the modality reads those.

Source: DICOM PS3.8 sections 7 and 9; PS3.7 sections 9.1.1 and 9.1.5; PS3.4 annex B.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from asepsis.core.errors import (
    BackPressure,
    FramingError,
    InputError,
    LimitExceeded,
    TransientError,
    TrustError,
)
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.imaging import dimse, pdu, policy
from asepsis.edge.gateway.imaging.channel import Written
from asepsis.edge.gateway.imaging.deposit import Deposit
from asepsis.edge.gateway.imaging.dimse import Command, Field, Status, Tag
from asepsis.edge.gateway.imaging.imaging_findings import ImagingFinding
from asepsis.edge.gateway.imaging.operations import Inquiry, Operations, Party
from asepsis.edge.gateway.imaging.pdu_values import (
    AssociateAccept,
    AssociateRequest,
    ContextResult,
    PduType,
    Pdv,
    RoleSelection,
    UserIdentity,
)
from asepsis.edge.gateway.imaging.pdustream import PduStream, abort_reason
from asepsis.edge.gateway.imaging.policy import Certificate, Door, Peer, Refused
from asepsis.edge.gateway.imaging.sealedfile import SealedWriter
from asepsis.edge.gateway.imaging.services import ROLES
from asepsis.edge.gateway.imaging.vault import describe
from asepsis.edge.gateway.rate import Bucket

REQUEST_S: Final = 10.0
"""ARTIM: longest time from the connection to its request, seconds."""
EVERYBODY: Final = frozenset({"store", "query", "worklist"})
"""Roles of a peer of which no user is asked: its entry binds it."""


@dataclass(frozen=True, slots=True)
class ProvenUser:
    """A user whose proof held.

    Attributes:
        name: Who it is.
        roles: What they may do.
        answer: Server response for the peer.
    """

    name: str
    roles: frozenset[str]
    answer: bytes = b""


class Prover(Protocol):
    """Judges proofs of users, in a process that has the keys for it."""

    async def prove(self, identity: UserIdentity) -> ProvenUser:
        """Return the user.

        Raises:
            TrustError: The proof does not hold.
            TransientError: Nobody can tell now.
        """
        ...


@dataclass(slots=True)
class Counter:
    """Associations that are open, by peer and of the listener."""

    of_peer: dict[str, int] = field(default_factory=dict[str, int])
    connections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the associations of a listener share.

    Attributes:
        door: Listener and peers.
        deposit: Where instances go.
        prover: Who judges users.
        findings: Told what people should know.
        counter: Open associations.
        buckets: Rates by peer.
        inquiry: What archives and worklists are asked with.
        monotonic: Seconds.
    """

    door: Door
    deposit: Deposit
    prover: Prover
    findings: Findings
    counter: Counter
    buckets: dict[str, Bucket]
    inquiry: Inquiry
    monotonic: Callable[[], float]


@dataclass(slots=True)
class _Incoming:
    """A C-STORE whose data set is on its way.

    Attributes:
        command: The request.
        context: Its presentation context.
        until_s: When it must be complete, monotonic seconds.
        token: Of the spool; 0 without a file.
        writer: Where the data set goes; None once it is refused, and the rest is thrown away.
        status: Why it was refused.
        comment: The same in words.
    """

    command: Command
    context: int
    until_s: float
    token: int = 0
    writer: SealedWriter | None = None
    status: int = Status.SUCCESS
    comment: str = ""


class Association:
    """One association, from its request to its end.

    Args:
        stream: The connection; owned by the caller.
        place: What it shares.
        address: Where the peer is.
        certificate: What TLS has verified of it; None in clear text.
    """

    def __init__(
        self, stream: PduStream, place: Place, *, address: str, certificate: Certificate | None
    ) -> None:
        self._stream = stream
        self._place = place
        self._address = address
        self._certificate = certificate
        self._contexts: dict[int, tuple[str, str]] = {}
        self._command = bytearray()
        self._incoming: _Incoming | None = None
        self._user = ""
        self._may_store = False
        self._operations: Operations | None = None

    async def serve(self) -> None:
        """Serve the association to its end.

        Raises:
            InputError: The peer breaks the protocol; it was told.
            TimeoutError: The peer is too slow.
            TransientError: The connection or the spool is gone.
        """
        kind, body = await self._stream.read(within_s=REQUEST_S)
        try:
            if kind is not PduType.ASSOCIATE_RQ:
                raise FramingError("the first PDU is no association request")
            request = pdu.decode_request(bytes(body))
        except InputError:
            await self._stream.abort(reason=2)
            raise
        try:
            peer = self._place.door.admit(request, self._address, self._certificate)
            user = await self._prove(peer, request)
        except Refused as refusal:
            self._place.findings.note(
                ImagingFinding.REJECTED,
                self._address,
                calling=request.calling,
                called=request.called,
                reason=str(refusal),
            )
            await self._stream.send(pdu.encode_rejection(refusal.answer))
            return
        await self._admitted(peer, request, user)

    async def _admitted(self, peer: Peer, request: AssociateRequest, user: ProvenUser) -> None:
        open_now = self._place.counter.of_peer
        if open_now.get(peer.name, 0) >= peer.limits.associations_max:
            self._place.findings.note(ImagingFinding.TOO_MANY_ASSOCIATIONS, peer.name)
            await self._stream.send(pdu.encode_rejection(policy.LOCAL_LIMIT))
            return
        open_now[peer.name] = open_now.get(peer.name, 0) + 1
        key = "" if self._certificate is None else self._certificate.key
        self._place.deposit.seen(peer.name, self._address, key)
        try:
            await self._accept(peer, request, user)
            await self._converse(peer, request)
        finally:
            open_now[peer.name] -= 1
            self._abandon()
            if self._operations is not None:
                await self._operations.close()

    async def _prove(self, peer: Peer, request: AssociateRequest) -> ProvenUser:
        if not peer.forms:
            return ProvenUser("", EVERYBODY)
        identity = request.identity
        if identity is None or policy.FORMS.get(identity.kind) not in peer.forms:
            self._place.findings.note(ImagingFinding.USER_REFUSED, peer.name, reason="no proof")
            raise Refused("brings no proof of a user that is asked of it", policy.NO_REASON)
        try:
            return await self._place.prover.prove(identity)
        except TrustError as error:
            self._place.findings.note(ImagingFinding.USER_REFUSED, peer.name, reason=str(error))
            raise Refused("its user's proof does not hold", policy.NO_REASON) from error
        except TransientError as error:
            raise Refused("nobody can judge its user now", policy.CONGESTION) from error

    async def _accept(self, peer: Peer, request: AssociateRequest, user: ProvenUser) -> None:
        answers = policy.negotiate(request, peer, roles=user.roles)
        proposed = {context.number: context for context in request.contexts}
        for answer in answers:
            abstract = proposed[answer.number].abstract_syntax
            if answer.result == ContextResult.ACCEPTED:
                self._contexts[answer.number] = (abstract, answer.transfer_syntax)
            elif answer.result == ContextResult.ABSTRACT_SYNTAX:
                self._place.findings.note(
                    ImagingFinding.UNDECLARED_CLASS, peer.name, sop_class=abstract
                )
        wanted = request.identity is not None and request.identity.answer_wanted
        selected = policy.returned(request, peer, roles=user.roles)
        accept = AssociateAccept(
            contexts=answers,
            pdu_bytes_max=self._place.door.listener.pdu_bytes_max,
            identity_answer=user.answer if peer.forms and wanted else None,
            roles=selected,
        )
        self._user = user.name
        self._may_store = "store" in user.roles
        self._operations = self._begin_operations(peer, request, selected)
        self._stream.peer_bytes_max = request.pdu_bytes_max
        self._stream.pdu_s = peer.limits.pdu_s
        await self._stream.send(pdu.encode_accept(accept, request=request))

    def _begin_operations(
        self, peer: Peer, request: AssociateRequest, selected: tuple[RoleSelection, ...]
    ) -> Operations:
        taken = {role.sop_class for role in selected}
        party = Party(
            stream=self._stream,
            peer=peer,
            calling=request.calling,
            user=self._user,
            contexts=self._contexts,
            returning={pair: n for n, pair in self._contexts.items() if pair[0] in taken},
            inquiry=self._place.inquiry,
            findings=self._place.findings,
        )
        return Operations(party)

    async def _converse(self, peer: Peer, request: AssociateRequest) -> None:
        try:
            while True:
                kind, body = await self._stream.read(within_s=self._patience_s(peer))
                if kind is PduType.DATA:
                    for value in pdu.read_pdvs(body):
                        await self._value(peer, request, value)
                elif kind is PduType.RELEASE_RQ:
                    await self._stream.send(pdu.RELEASE_RP)
                    return
                elif kind is PduType.ABORT:
                    return
                else:
                    raise FramingError(f"an unexpected PDU of type {kind}")
        except InputError as error:
            await self._stream.abort(reason=abort_reason(error))
            raise

    def _patience_s(self, peer: Peer) -> float:
        collecting = self._operations is not None and self._operations.collecting
        if self._incoming is None and not self._command and not collecting:
            return peer.limits.idle_s
        if self._incoming is None:
            return peer.limits.pdu_s
        left_s = self._incoming.until_s - self._place.monotonic()
        return max(0.001, min(peer.limits.pdu_s, left_s))

    async def _value(self, peer: Peer, request: AssociateRequest, value: Pdv) -> None:
        if value.context not in self._contexts:
            raise FramingError("a presentation context that was not accepted")
        if value.is_command:
            await self._command_part(peer, value)
            return
        if self._operations is not None and self._operations.collecting:
            self._operations.add(value)
            return
        incoming = self._incoming
        if incoming is None or incoming.context != value.context:
            raise FramingError("a data set without its command")
        self._fill(peer, incoming, value)
        if value.is_last:
            self._incoming = None
            await self._complete(peer, request, incoming)

    async def _command_part(self, peer: Peer, value: Pdv) -> None:
        collecting = self._operations is not None and self._operations.collecting
        if self._incoming is not None or collecting:
            raise FramingError("a command in the middle of a data set")
        self._command += value.data
        if len(self._command) > dimse.COMMAND_BYTES_MAX:
            raise LimitExceeded("a command that is too long")
        if value.is_last:
            command = Command.decode(bytes(self._command))
            self._command.clear()
            await self._commanded(peer, value.context, command)

    async def _commanded(self, peer: Peer, context: int, command: Command) -> None:
        number = command.number(Tag.FIELD)
        if self._operations is not None and self._operations.takes(context, command):
            return
        if number == Field.C_ECHO_RQ and not command.has_data_set:
            await self._answer(context, command, Status.SUCCESS)
            return
        if number != Field.C_STORE_RQ or not command.has_data_set:
            if command.has_data_set or number & 0x8000:
                raise FramingError(f"command {number:#06x} is none that a storage provider takes")
            await self._answer(context, command, Status.UNRECOGNISED_OPERATION)
            return
        limits = peer.limits
        self._incoming = incoming = _Incoming(
            command, context, self._place.monotonic() + limits.message_s
        )
        abstract, _ = self._contexts[context]
        command.uid(Tag.SOP_INSTANCE)
        others = {dimse.VERIFICATION, *ROLES}
        if abstract in others or command.uid(Tag.SOP_CLASS) != abstract:
            incoming.status = Status.SOP_CLASS_NOT_SUPPORTED
            incoming.comment = "SOP class is not that of the context"
            return
        if abstract not in peer.sop_classes or not self._may_store:
            # Accepted for what a C-GET returns, and for nothing that is sent here.
            incoming.status = Status.NOT_AUTHORISED
            return
        await self._wait_turn(peer)
        try:
            incoming.token, incoming.writer = await self._place.deposit.open(
                bytes_max=limits.instance_bytes_max
            )
        except BackPressure as error:
            incoming.status, incoming.comment = Status.OUT_OF_RESOURCES, str(error)

    async def _wait_turn(self, peer: Peer) -> None:
        """Read a peer no faster than it may send."""
        bucket = self._place.buckets[peer.name]
        while (wait_s := bucket.wait_s(self._place.monotonic())) > 0:
            self._place.findings.note(ImagingFinding.RATE, peer.name)
            await asyncio.sleep(wait_s)

    def _fill(self, peer: Peer, incoming: _Incoming, value: Pdv) -> None:
        if incoming.writer is None:
            return
        try:
            incoming.writer.write(value.data)
            if value.is_last:
                incoming.writer.finish()
        except (LimitExceeded, TransientError) as error:
            too_long = isinstance(error, LimitExceeded)
            kind = ImagingFinding.OVERSIZED if too_long else ImagingFinding.SPOOL
            self._place.findings.note(kind, peer.name, code=error.code)
            self._let_go(incoming)
            incoming.status, incoming.comment = Status.OUT_OF_RESOURCES, describe(error)

    async def _complete(self, peer: Peer, request: AssociateRequest, incoming: _Incoming) -> None:
        if incoming.writer is None:
            await self._answer(
                incoming.context, incoming.command, incoming.status, incoming.comment
            )
            return
        incoming.writer.close()
        abstract, syntax = self._contexts[incoming.context]
        outcome = await self._place.deposit.finish(
            Written(
                token=incoming.token,
                peer=peer.name,
                device=peer.device,
                sop_class=abstract,
                sop_instance=incoming.command.uid(Tag.SOP_INSTANCE),
                transfer_syntax=syntax,
                calling=request.calling,
                called=request.called,
                user=self._user,
                length=incoming.writer.length,
                ack=peer.ack,
            )
        )
        if outcome.status != Status.SUCCESS:
            self._place.findings.note(
                ImagingFinding.REFUSED, peer.name, status=f"{outcome.status:04X}"
            )
        await self._answer(incoming.context, incoming.command, outcome.status, outcome.comment)

    async def _answer(self, context: int, command: Command, status: int, comment: str = "") -> None:
        data = dimse.response(command, status, comment=comment)
        await self._stream.send_message(context, data, command=True)

    def _let_go(self, incoming: _Incoming) -> None:
        if incoming.writer is not None:
            incoming.writer.close()
            incoming.writer = None
            self._place.deposit.drop(incoming.token)

    def _abandon(self) -> None:
        """Forget a data set that will not be completed; its sender was told nothing."""
        if self._incoming is not None:
            self._let_go(self._incoming)
            self._incoming = None
