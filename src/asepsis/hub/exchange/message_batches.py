"""Batches of HL7 v2 messages: judged one by one, durable by the group, then live where current.

A group is stored as it came; only messages that are refused for good and devices that the gateway
may not speak for are left out of it, so that what is stored can be read again without any other
source. Whether a message is stored is told for each; whether a *request* failed says nothing
about its groups, which the gateway sends again under their numbers.

Source: REQ-MSG-006 to REQ-MSG-012; standard/frames.md section 10.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from asepsis.core.errors import (
    ContentMismatch,
    InputError,
    LimitExceeded,
    NotFound,
    NotPermitted,
    TransientError,
)
from asepsis.core.journal.ports import Append, Link, Outcome, Receipt
from asepsis.core.mapping.hl7_device import eui64_device
from asepsis.core.mapping.pcd04 import is_alert
from asepsis.core.mapping.pcim import ASSOCIATION_TYPE, is_association
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.wire import message_record
from asepsis.core.wire.hl7 import Delimiters, Message, MessageReader
from asepsis.core.wire.hl7_header import Header
from asepsis.core.wire.message_record import (
    BatchGroup,
    Found,
    MessageEntry,
    MessageFindings,
    MessagePeer,
)
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action, decide
from asepsis.hub.exchange.intake import Intake
from asepsis.hub.exchange.message_alarms import MessageAlarms
from asepsis.hub.exchange.message_live import LiveMessages

MESSAGES_MAX: Final = 1_024
"""Messages of one batch, all groups together."""
READERS_MAX: Final = 1_024
TYPE_BYTES_MAX: Final = 64
"""Longest MSH-9 whose reading is remembered."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One message that is refused for good.

    Attributes:
        sequence: Number of its group.
        index: Its place in the group.
        code: Code of the error.
        detail: One sentence for a person.
    """

    sequence: int
    index: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A batch that was understood; nothing of it is stored yet.

    Attributes:
        groups: Each group with its messages.
        count: Messages in all.
    """

    groups: Sequence[tuple[BatchGroup, Sequence[MessageEntry]]]
    count: int


class _Judged(NamedTuple):
    group: BatchGroup
    record: bytes
    kept: Sequence[tuple[MessageEntry, Message]]


@dataclass(slots=True)
class BatchLane:
    """Takes batches on `/hl7v2`.

    Attributes:
        intake: What the lanes share.
        live: Where current values go.
        alarms: Follows alerts.
    """

    intake: Intake
    live: LiveMessages
    alarms: MessageAlarms
    _readers: dict[str, MessageReader] = field(default_factory=dict[str, MessageReader])
    _showing: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def receive(
        self, principal: Principal, batch: Opened, *, epoch: int
    ) -> Sequence[Refusal]:
        """Take the messages of a batch; return those that are refused for good.

        Args:
            principal: The gateway.
            batch: From `open_batch`.
            epoch: Its boot epoch.

        Raises:
            InputError: The epoch is over.
            TrustError: Another group was stored under a number.
            TransientError: The journal is full or busy. Groups may be stored all the same; the
                gateway sends the batch again.
        """
        refusals: list[Refusal] = []
        unfit: dict[str, NotPermitted] = {}
        judged = [
            self._judge(principal, group, entries, refusals, unfit)
            for group, entries in batch.groups
        ]
        for device, error in unfit.items():
            await self.intake.refused(principal, device, error)
        wall_ns = self.intake.clocks.wall()
        receipts = await self._store(principal.name, epoch, judged, wall_ns)
        await self._alert(principal, judged, epoch=epoch, wall_ns=wall_ns)
        stored = [
            one
            for one, receipt in zip(judged, receipts, strict=True)
            if receipt.outcome is Outcome.STORED
        ]
        showing = self._show(principal, stored, epoch=epoch, wall_ns=wall_ns)
        if all(self._supervised(one, epoch) for one in stored):
            # The gateway need not wait for that. Tasks begin in the order in which they were made,
            # and nothing suspends this one: no older batch comes after a newer one.
            task = asyncio.get_running_loop().create_task(self._show_later(showing))
            self._showing.add(task)
            task.add_done_callback(self._showing.discard)
        else:
            await showing
        return refusals

    async def _alert(
        self, principal: Principal, judged: Sequence[_Judged], *, epoch: int, wall_ns: int
    ) -> None:
        """Tell what alerts say, durably, before they are answered; also of what came again."""
        told = False
        for one in judged:
            if not any(is_alert(message) for _, message in one.kept):
                continue
            age_ms = one.group.age_ms
            prompt = self.live.is_prompt(principal.name, one.kept, epoch=epoch, age_ms=age_ms)
            told |= await self.alarms.take(
                principal, one.kept, epoch=epoch, prompt=prompt, now_ns=wall_ns
            )
        if told:
            await self.intake.supervisor.settled()

    async def _show(
        self, principal: Principal, stored: Sequence[_Judged], *, epoch: int, wall_ns: int
    ) -> None:
        for one in stored:
            await self.live.offer(
                principal, one.kept, epoch=epoch, age_ms=one.group.age_ms, now_ns=wall_ns
            )

    async def _show_later(self, showing: Coroutine[None, None, None]) -> None:
        # A device that was let go of meanwhile stays dark until its next message.
        with suppress(TransientError):
            await showing

    def _supervised(self, one: _Judged, epoch: int) -> bool:
        """Whether every device of a group was put under supervision in this epoch."""
        peers = {_peer(entry) for entry, _ in one.kept}
        highest = self.intake.supervisor.epoch
        return all(highest(device) >= epoch for peer in peers for _, device in peer.devices)

    async def _store(
        self, producer: str, epoch: int, judged: Sequence[_Judged], wall_ns: int
    ) -> Sequence[Receipt]:
        """Append every group; they are queued in order and mostly share one commit."""
        results = await asyncio.gather(
            *(
                self.intake.journal.append(
                    Append(
                        lane=Lane.MESSAGE,
                        account=Account.MESSAGE,
                        producer=producer,
                        epoch=epoch,
                        sequence=one.group.sequence,
                        kind=message_record.KIND_GROUP,
                        body=one.record,
                        received_at_ns=wall_ns,
                        # Of what came, so that a repetition is known whatever was left out.
                        link=Link.of(one.group.body),
                    )
                )
                for one in judged
            ),
            return_exceptions=True,
        )
        receipts: list[Receipt] = []
        for result in results:
            if isinstance(result, BaseException):
                raise result
            receipts.append(result)
        return receipts

    def _judge(
        self,
        principal: Principal,
        group: BatchGroup,
        entries: Sequence[MessageEntry],
        refusals: list[Refusal],
        unfit: dict[str, NotPermitted],
    ) -> _Judged:
        reader = self._reader(principal.name)
        kept: list[tuple[MessageEntry, Message]] = []
        whole = True
        fits: dict[tuple[MessagePeer, Delimiters, str], MessagePeer] = {}
        for entry in entries:
            try:
                message, kind = self._open(principal, reader, entry.body, unfit)
                known, fitting = _peer(entry), (_peer(entry), message.delimiters, kind)
                peer = fits.get(fitting)
                if peer is None:
                    peer = fits[fitting] = self._fit(principal, known, fitting[1:], unfit)
                found = self._compare(peer, message)
            except (InputError, NotPermitted) as error:
                refusals.append(Refusal(group.sequence, entry.index, error.code, str(error)))
                whole = False
                continue
            same = peer is known and not found
            whole = whole and same
            kept.append((entry if same else _with_peer(entry, peer, found), message))
        record = group.body if whole else _written([entry for entry, _ in kept])
        return _Judged(group, record, kept)

    def _open(
        self,
        principal: Principal,
        reader: MessageReader,
        body: bytes,
        unfit: dict[str, NotPermitted],
    ) -> tuple[Message, str]:
        """Read a message; return it and its type.

        Raises:
            InputError: Malformed.
            NotPermitted: Only a named source brings messages of this type; audited under the type.
        """
        message = reader.parse(body)
        kind = message_type(message)
        try:
            self.intake.directory.check_source(principal.name, source_type(message, kind))
        except NotPermitted as error:
            unfit[kind] = error
            raise
        return message, kind

    def _fit(
        self,
        principal: Principal,
        peer: MessagePeer,
        form: tuple[Delimiters, str],
        unfit: dict[str, NotPermitted],
    ) -> MessagePeer:
        """Return the peer without devices that the gateway may not bring such data of."""
        delimiters, kind = form
        devices: list[tuple[bytes, str]] = []
        for word, device in peer.devices:
            try:
                self._check(principal, word, device, delimiters)
                self.intake.directory.check_type(principal.name, device, kind)
            except NotPermitted as error:
                unfit[device] = error
                continue
            devices.append((word, device))
        if len(devices) == len(peer.devices):
            return peer
        return MessagePeer(peer.name, peer.zone, tuple(devices))

    def _check(
        self, principal: Principal, word: bytes, device: str, delimiters: Delimiters
    ) -> None:
        """Refuse a device that is not declared, is revoked, signs its own data or is another's.

        Raises:
            NotPermitted: One of these.
        """
        decide(principal, Action.SUBMIT_HL7V2, device)
        try:
            facts = self.intake.directory.device(device)
        except NotFound as error:
            raise NotPermitted("the device is not admitted") from error
        if facts.signs:
            raise NotPermitted("the device signs its data; others do not speak for it")
        named = eui64_device(word, delimiters)
        if named is not None and named != device:
            raise NotPermitted("the message names another device than its gateway says")

    def _compare(self, peer: MessagePeer, message: Message) -> Found:
        """Return what the hub itself finds out about a message.

        Raises:
            ContentMismatch: The profile of one of its devices refuses it.
        """
        judge, found = self.intake.judge, Found(0)
        if judge is None:
            return found
        for _, device in peer.devices:
            reason = judge.refusal(device, message)
            if reason:
                raise ContentMismatch(reason)
            if judge.names_another(device, message):
                found = Found.OTHER_PATIENT
        return found

    def _reader(self, name: str) -> MessageReader:
        reader = self._readers.get(name)
        if reader is None:
            if len(self._readers) >= READERS_MAX:
                self._readers.clear()
            reader = self._readers[name] = MessageReader()
        return reader


def open_batch(body: bytes) -> Opened:
    """Read a batch; its messages are not looked into.

    Raises:
        InputError: Malformed, a group without messages, or too many of them.
    """
    groups: list[tuple[BatchGroup, Sequence[MessageEntry]]] = []
    count = 0
    for group in message_record.decode_batch(body):
        entries = message_record.decode_group(group.body, sequence=group.sequence)
        if not entries:
            raise InputError("a group has no messages")
        count += len(entries)
        if count > MESSAGES_MAX:
            raise LimitExceeded(f"a batch has at most {MESSAGES_MAX} messages")
        groups.append((group, entries))
    return Opened(groups, count)


def source_type(message: Message, kind: str) -> str:
    """Return as what a message is checked against the sources: associations by their content."""
    return ASSOCIATION_TYPE if kind == "ORU^R01" and is_association(message) else kind


def message_type(message: Message) -> str:
    """Return MSH-9.1 and MSH-9.2 as `ORU^R01`, as every reader of the lane will read them.

    Raises:
        InputError: MSH-9 is not valid in the declared character set.
    """
    (raw,) = message.first("MSH", 9)
    if raw.isascii() and len(raw) <= TYPE_BYTES_MAX:
        found = _type_of(raw, message.delimiters)
    else:
        found = _type_in(message.header)
    # Readers of ADT take the event from EVN-1 where MSH-9 names none.
    return found if found != "ADT^" else found + message.get("EVN-1")


@lru_cache(maxsize=1_024)
def _type_of(raw: bytes, delimiters: Delimiters) -> str:
    fields = [b"MSH", delimiters.encoding, *[b""] * 6, raw, *[b""] * 9]
    return _type_in(Header(fields, delimiters, marked=False))


def _type_in(header: Header) -> str:
    return f"{header.message_code}^{header.trigger_event}"


def _findings(entry: MessageEntry) -> MessageFindings:
    assert entry.findings is not None, "a message of a group has findings"  # noqa: S101 - our codec
    return entry.findings


def _peer(entry: MessageEntry) -> MessagePeer:
    return _findings(entry).peer


def _with_peer(entry: MessageEntry, peer: MessagePeer, found: Found) -> MessageEntry:
    old = _findings(entry)
    findings = MessageFindings(peer, old.offset_min, old.arrived_at_ns, old.found | found)
    return MessageEntry(entry.sequence, entry.index, entry.body, findings)


def _written(entries: Sequence[MessageEntry]) -> bytes:
    return message_record.encode_group([(_findings(entry), entry.body) for entry in entries])
