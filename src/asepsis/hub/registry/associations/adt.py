"""Follows the message lane and applies what ADT says, from a durable cursor of its own.

A message is applied, then the cursor moves: a hub that dies in between applies it again, and the
rules find that it was said before. So the lane can also be replayed from its start.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Final

from asepsis.core.errors import AsepsisError, InputError, TransientError
from asepsis.core.journal.ports import Record
from asepsis.core.mapping.adt import AdtEvent, AdtPatient, choose_id, is_adt, read_adt
from asepsis.core.mapping.pcim import is_association, read_association
from asepsis.core.mapping.sender_time import zone_of
from asepsis.core.model.lanes import Lane
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageEntry, MessageFindings, decode
from asepsis.hub.registry.associations import carried, movements, reports
from asepsis.hub.registry.associations.movements import Movement
from asepsis.hub.registry.associations.ports import FollowedJournal
from asepsis.hub.registry.associations.records import Touched
from asepsis.hub.registry.associations.rules import Effect
from asepsis.hub.registry.associations.scene import Scene
from asepsis.hub.registry.associations.service import AssociationService

log: Final = logging.getLogger("asepsis.hub.associations")

CONSUMER: Final = "hub:adt"
RECORDS_MAX: Final = 64
"""Records read at once."""
RETRY_S: Final = 1.0
PACE_S: Final = 0.1
"""Pause after a look: every look costs the journal a commit, however much it found."""
_ADT: Final = b"ADT"
_ASSOCIATION: Final = b"69136"
"""Code of what an association message observes."""
_HEAD_BYTES: Final = 512
"""MSH-9 stands in the first 512 bytes; what has no ADT there is passed over unread."""

_NOTED: Final = {Effect.MERGE: "merge-patients", Effect.MOVE_VISIT: "move-visit"}
"""Events that get an audit entry of their own."""


class AdtFollower:
    """Applies the ADT messages of the message lane, in the order in which they came.

    Args:
        journal: The durable log.
        service: What they are applied to.
        authorities: Assigning authorities whose identifiers this hub goes by, in order; empty
            takes the first identifier of a message.
        entered_at_device: Wards whose devices carry the patient's identifier; see `carried`.
    """

    def __init__(
        self,
        journal: FollowedJournal,
        service: AssociationService,
        *,
        authorities: Sequence[str] = (),
        entered_at_device: Collection[str] = (),
    ) -> None:
        self._journal = journal
        self._service = service
        self._authorities = tuple(authorities)
        self._wards = frozenset(entered_at_device)
        self._counts: Counter[str] = Counter()
        self._done = 0

    async def register(self) -> None:
        """Name the consumer; nothing of the lane expires before it was applied."""
        await self._journal.register(CONSUMER, {Lane.MESSAGE: True})
        end = self.end
        first = await self._journal.pull(CONSUMER, Lane.MESSAGE, records_max=1)
        self._done = first[0].position - 1 if first else end

    @property
    def end(self) -> int:
        """Position of the newest record of the lane."""
        return self._journal.subscribe(Lane.MESSAGE).position

    def passed(self, position: int) -> bool:
        """Say whether every message up to a position is applied."""
        return self._done >= position

    async def run(self) -> None:
        """Follow the lane until cancelled."""
        tail = self._journal.subscribe(Lane.MESSAGE)
        while True:
            end = tail.position  # Taken before the look, so nothing can fall between.
            try:
                count = await self.step()
                if not count:
                    await tail.beyond(end)
                elif count < RECORDS_MAX:
                    await asyncio.sleep(PACE_S)
            except TransientError as error:
                log.info("ADT waits: %s", error)
                await asyncio.sleep(RETRY_S)

    async def step(self) -> int:
        """Apply the next records; return how many there were.

        Raises:
            TransientError: Journal or store does not answer; nothing is lost.
        """
        records = await self._journal.pull(CONSUMER, Lane.MESSAGE, records_max=RECORDS_MAX)
        for record in records:
            await self.take(record)
            self._done = record.position
        if records:
            await self._service.refresh()
            await self._journal.commit(CONSUMER, Lane.MESSAGE, self._done)
        return len(records)

    async def take(self, record: Record) -> None:
        """Apply one record; one that was applied before changes nothing.

        Raises:
            TransientError: The store does not answer; what came before in the record may be done.
        """
        body = record.append.body
        awaited = self._service.awaited(self._wards)
        if _ADT not in body and _ASSOCIATION not in body and not awaited:
            return  # Nearly every record: observations only, of which nothing need be cut apart.
        try:
            entries = decode(
                record.append.kind, record.append.body, sequence=record.append.sequence
            )
        except InputError:
            self._counts["unreadable"] += 1
            return
        for entry in entries:
            if _ADT in entry.body[:_HEAD_BYTES] or _ASSOCIATION in entry.body:
                await self._apply(record, entry)
            elif awaited and entry.findings is not None:
                await self._hear(entry.body, entry.findings, awaited)

    async def status(self) -> object:
        """Return the lag in records, and what became of messages since the start."""
        end = self.end
        return {"behind": max(end - self._done, 0) if self._done else 0, **self._counts}

    async def _apply(self, record: Record, entry: MessageEntry) -> None:
        arrived_ns = record.append.received_at_ns
        actor, zone = f"adt:{record.append.producer}", None
        try:
            if entry.findings is not None:
                actor = f"adt:{entry.findings.peer.name}"
                zone = zone_of(entry.findings.peer.zone)
                # A message that waited in a gateway came when the gateway took it.
                arrived_ns = min(entry.findings.arrived_at_ns, arrived_ns)
            message = Message.parse(entry.body)
            if is_adt(message):
                await self.apply(message, actor=actor, zone=zone, arrived_ns=arrived_ns)
            elif is_association(message) and entry.findings is not None:
                devices = dict(entry.findings.peer.devices)
                actor = f"pcim:{entry.findings.peer.name}"
                await self.report(message, devices, actor=actor, zone=zone, arrived_ns=arrived_ns)
        except TransientError:
            raise
        except AsepsisError as error:
            # What it says cannot be used; the lane goes on. Without words of the message.
            self._counts["refused"] += 1
            log.warning("an ADT message is not used: %s %s", error.code, error)

    async def _hear(
        self, body: bytes, findings: MessageFindings, awaited: Mapping[str, PatientId]
    ) -> None:
        """Take a device's word about whom it is used for, if it is waited for."""
        try:
            message = Message.parse(body)
        except AsepsisError:
            return  # Whoever charts it says so.
        device = carried.speaker(message, dict(findings.peer.devices))
        patient = awaited.get(device or "")
        if device is None or patient is None:
            return
        if not carried.names(message, patient, authorities=self._authorities):
            self._counts["device names another patient"] += 1
            return
        await self.hear(device, patient, arrived_ns=findings.arrived_at_ns)

    async def hear(self, device: str, patient: PatientId, *, arrived_ns: int) -> None:
        """Take it that a device names the patient that is proposed for it.

        Args:
            device: Its name.
            patient: Whom it names, by the identifier that this hub goes by.
            arrived_ns: When its message came, nanoseconds since 1970.

        Raises:
            TransientError: The store does not answer; nothing was changed.
        """
        changed = await self._service.change(
            Touched(devices=[device], patients=[patient]),
            lambda scene: carried.apply(scene, device, patient, arrived_ns=arrived_ns),
            actor=f"device:{device}",
        )
        self._counts["device"] += changed

    async def apply(
        self, message: Message, *, actor: str, zone: tzinfo | None, arrived_ns: int
    ) -> None:
        """Apply one message; the book follows with `AssociationService.refresh`.

        Args:
            message: Parsed, of type ADT.
            actor: Who is noted in the audit log.
            zone: The sender's zone, for times without offset.
            arrived_ns: When it came, nanoseconds since 1970.

        Raises:
            InputError: No trigger, no patient, or no identifier to go by.
            TransientError: The store does not answer; nothing was changed.
        """
        event = read_adt(message, zone=zone)
        ids = [choose_id(patient.ids, self._authorities) for patient in event.patients]
        moves = [
            found
            for one, chosen in zip(event.patients, ids, strict=True)
            if (found := movements.movement(event, self._known(one), chosen, arrived_ns=arrived_ns))
        ]
        if not moves:
            self._counts["not handled"] += 1
            return
        await self._service.change(
            _touched(moves),
            lambda scene: _decide(scene, event, ids, moves),
            actor=actor,
            act=_act(moves),
            refresh=False,
        )
        self._counts[moves[0].effect.value] += 1

    async def report(
        self,
        message: Message,
        devices: Mapping[bytes, str],
        *,
        actor: str,
        zone: tzinfo | None,
        arrived_ns: int,
    ) -> None:
        """Apply one association message (PCIM); whether its source is named was judged before.

        Args:
            message: Parsed; `is_association` holds.
            devices: The devices that its gateway may speak for, by the words of the message.
            actor: Who is noted.
            zone: The sender's zone, for times without offset.
            arrived_ns: When it came, nanoseconds since 1970.

        Raises:
            InputError: It does not say one patient and one device that is known here.
            NotFound: The hub knows no such patient.
            TransientError: The store does not answer; nothing was changed.
        """
        found = read_association(message, zone=zone)
        device = devices.get(found.word)
        if device is None:
            raise InputError("the association names a device that its gateway does not speak for")
        patient = choose_id(found.patients, self._authorities)
        await self._service.change(
            Touched(devices=[device], patients=[patient]),
            lambda scene: reports.apply(
                scene, found, device, patient, actor=actor, arrived_ns=arrived_ns
            ),
            actor=actor,
            refresh=False,
        )
        self._counts["association"] += 1

    def _known(self, one: AdtPatient) -> AdtPatient:
        """Leave out merged identifiers of authorities that this hub does not go by."""
        if not self._authorities:
            return one
        merged = tuple(old for old in one.merged if old.authority in self._authorities)
        return replace(one, merged=merged)


def _decide(
    scene: Scene, event: AdtEvent, ids: Sequence[PatientId], moves: Sequence[Movement]
) -> None:
    for one, chosen in zip(event.patients, ids, strict=True):
        movements.learn(scene, chosen, one)
    movements.apply(scene, moves)


def _touched(moves: Sequence[Movement]) -> Touched:
    return Touched(
        patients=[patient for move in moves for patient in (move.patient, *move.merged)],
        places=[move.place for move in moves if move.place is not None],
    )


def _act(moves: Sequence[Movement]) -> tuple[str, str, dict[str, object]] | None:
    """Return the audit entry that an event gets beside those of what it changed."""
    action = _NOTED.get(moves[0].effect)
    if action is None:
        return None
    merged = [{"into": m.patient.key(), "from": [one.key() for one in m.merged]} for m in moves]
    return action, "patients", {"merged": merged, "charts": "unchanged"}
