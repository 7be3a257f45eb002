"""The use cases of associations: state, audit entries and events in one transaction, then the book.

Whoever asks, the decision is made on rows read in the transaction that writes it, by the pure rules
beside this file; so two hubs, or a person and ADT at the same moment, never confirm two patients on
one device.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from asepsis.core.errors import AsepsisError, InputError, NotFound, TransientError
from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.patient import PLACE_CHARS_MAX, PatientId, Place
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.registry.associations import acts, carried, records, sightings
from asepsis.hub.registry.associations.book import AssociationBook
from asepsis.hub.registry.associations.records import Rows, Touched
from asepsis.hub.registry.associations.rules import Reason
from asepsis.hub.registry.associations.scene import DeviceUse, Scene
from asepsis.hub.registry.associations.unplaced import act_of
from asepsis.hub.store.outbox import Event, publish
from asepsis.hub.store.store import Store

log: Final = logging.getLogger("asepsis.hub.associations")

FOLLOW_EVERY_S: Final = 0.5
"""Pause between looks at what other hubs changed."""
LIST_MAX: Final = 500

T = TypeVar("T")
Decide = Callable[[Scene], T]


class AssociationService:
    """What people, ADT and devices do about associations; belongs to one event loop.

    Args:
        store: Where the state stands.
        audit: Gets an entry for each change and each act.
        book: What is answered from memory; this service keeps it up to date.
        wake_relay: Called after a commit that wrote an event, such as `OutboxRelay.wake`.
        fresh_id: Makes ids of associations.
    """

    def __init__(
        self,
        store: Store,
        *,
        audit: AuditLog,
        book: AssociationBook,
        wake_relay: Callable[[], None] = lambda: None,
        fresh_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.rows: Final = Rows(store.sealer)
        self._store = store
        self._audit = audit
        self._book = book
        self._wake_relay = wake_relay
        self._fresh_id = fresh_id
        self._changed: list[Callable[[str], object]] = []
        self._refreshing = asyncio.Lock()

    def on_changed(self, callback: Callable[[str], object]) -> None:
        """Call back, without waiting, with each device whose association is another now."""
        self._changed.append(callback)

    async def load(self) -> None:
        """Fill the book; call it before the first listener opens."""
        await self.refresh()

    async def run(self) -> None:
        """Follow what other hubs change, until cancelled."""
        while True:
            with suppress(TransientError):
                await self.refresh()
            await asyncio.sleep(FOLLOW_EVERY_S)

    async def propose(
        self, device: str, patient: PatientId, *, actor: str, basis: Basis = Basis.PERSON
    ) -> Association:
        """Propose a device for a patient.

        Raises:
            InputError: Not a device name.
            NotFound: The hub knows no such patient.
            Conflict: It is confirmed for this patient already.
        """
        name = DeviceId.parse(device).uri
        return await self.change(
            Touched(devices=[name], patients=[patient]),
            lambda scene: acts.propose(scene, name, patient, actor=actor, basis=basis),
            actor=actor,
        )

    async def associate(self, device: str, patient: PatientId, *, actor: str) -> Association:
        """Propose and confirm at the bedside, in one act; errors as `propose` and `confirm`."""
        name = DeviceId.parse(device).uri

        def work(scene: Scene) -> Association:
            made = acts.propose(scene, name, patient, actor=actor, basis=Basis.PERSON)
            return acts.confirm(scene, made.id, actor=actor, basis=Basis.PERSON)

        return await self.change(Touched(devices=[name], patients=[patient]), work, actor=actor)

    async def confirm(
        self, association: str, *, actor: str, basis: Basis = Basis.PERSON
    ) -> Association:
        """Confirm a proposal, from now; see `acts.confirm` for what is refused."""
        return await self._decide(
            association, lambda s: acts.confirm(s, association, actor=actor, basis=basis), actor
        )

    async def reject(self, association: str, *, actor: str, reason: str) -> Association:
        """Decline a proposal; see `acts.reject` for what is refused."""
        return await self._decide(
            association, lambda s: acts.reject(s, association, reason=reason), actor
        )

    async def end(self, association: str, *, actor: str, reason: str) -> Association:
        """End a confirmed association now; see `acts.end` for what is refused."""
        return await self._decide(
            association, lambda s: acts.end(s, association, reason=reason), actor
        )

    async def assign_late(
        self, device: str, patient: PatientId, *, start_ns: int, end_ns: int, actor: str
    ) -> Association:
        """Assign a time that is over; see `acts.assign_late` for what is refused."""
        name = DeviceId.parse(device).uri
        return await self.change(
            Touched(devices=[name], patients=[patient]),
            lambda scene: acts.assign_late(
                scene, name, patient, start_ns=start_ns, end_ns=end_ns, actor=actor
            ),
            actor=actor,
        )

    async def place_device(
        self, device: str, place: Place | None, *, fixed: bool, actor: str
    ) -> None:
        """Say where a device stands; one that moves loses its association.

        Raises:
            InputError: Not a device name, or not a place for a device.
        """
        name = DeviceId.parse(device).uri
        await self.change(
            Touched(devices=[name], places=[place] if place is not None else []),
            lambda scene: acts.place_device(scene, name, place, fixed=fixed),
            actor=actor,
            act=("place-device", name, {"place": place.key() if place else None, "fixed": fixed}),
        )

    async def set_ward_rule(self, ward: str, *, follow_adt: bool, actor: str) -> None:
        """Let the fixed monitors of a ward follow ADT from now, or no longer.

        What is confirmed goes on until something ends it.

        Raises:
            InputError: Not the name of a ward.
        """
        Place(ward, "", "")
        if len(ward) > PLACE_CHARS_MAX:
            raise InputError("not the name of a ward")

        def work(connection: Connection) -> None:
            since_ns = self._store.clock() if follow_adt else None
            records.set_rule(connection, ward, since_ns=since_ns, person=actor)
            self._audit.note(
                connection, actor=actor, action="set-ward-rule", subject=ward, follow_adt=follow_adt
            )

        await self._store.write(work)
        await self.refresh()

    async def forget_device(self, device: str) -> None:
        """End what a revoked device was used for and take it from its place, which is noted."""
        await self.change(
            Touched(devices=[device]),
            lambda scene: acts.unplace(scene, device, Reason.REVOKED),
            actor="hub",
            act=act_of(self._book.placed(device)),
        )

    async def sighted(self, device: str, *, epoch: int, state: ClinicalState, at_ns: int) -> None:
        """Take a change of a device's signed clinical state; see `sightings.sighted`."""
        await self._sight(
            device,
            lambda s: sightings.sighted(s, device, epoch=epoch, state=state, at_ns=at_ns),
        )

    async def switched_on(
        self, device: str, *, epoch: int, at_ns: int, last_ns: int | None
    ) -> None:
        """Take the first sign of a new boot epoch; see `sightings.switched_on`."""
        await self._sight(
            device,
            lambda s: sightings.switched_on(s, device, epoch=epoch, at_ns=at_ns, last_ns=last_ns),
        )

    async def out_of_sight(self, device: str, *, at_ns: int) -> None:
        """Take that states of a device are missing; see `sightings.out_of_sight`."""
        await self._sight(device, lambda s: sightings.out_of_sight(s, device, at_ns=at_ns))

    async def seen_whole(self, device: str) -> None:
        """Take that nothing of a device is missing any more; see `sightings.seen_whole`."""
        await self._sight(device, lambda s: sightings.seen_whole(s, device))

    async def seen_again(self, device: str) -> None:
        """Take that a device is in sight, and that nobody knows what it did in between."""
        await self._sight(device, lambda s: sightings.seen_again(s, device))

    def concerns(self, device: str) -> bool:
        """Say whether a device stands somewhere, is somebody's, or is proposed to be."""
        book = self._book
        if book.placed(device) is not None or book.now(device) is not None:
            return True
        return any(proposal.device == device for proposal in book.proposals())

    def awaited(self, wards: frozenset[str]) -> Mapping[str, PatientId]:
        """Return the devices of wards whose own word is waited for; see `carried.awaited`."""
        return carried.awaited(self._book, wards)

    async def uses(self) -> Sequence[DeviceUse]:
        """Return the last known use of every device that signs its states."""
        return await self._store.read(records.all_uses)

    async def history(
        self,
        *,
        device: str | None = None,
        patient: PatientId | None = None,
        merged: bool = False,
        from_ns: int = 0,
        to_ns: int = acts.FOREVER_NS,
    ) -> Sequence[Association]:
        """Return confirmed intervals that overlap [from_ns, to_ns), by beginning.

        Ask at the time of reading and keep no copy: late news and late assignments change the past.

        Args:
            device: Only of this device.
            patient: Only under this identifier.
            merged: Also under those that were merged with it; not by default, because what is over
                was charted under the identifier that it names.
            from_ns: Nanoseconds since 1970.
            to_ns: Nanoseconds since 1970.

        Raises:
            InputError: Neither device nor patient.
        """
        if device is None and patient is None:
            raise InputError("a history is of a device or of a patient")
        return await self._store.read(
            lambda c: self.rows.history(
                c, device=device, patient=patient, merged=merged, from_ns=from_ns, to_ns=to_ns
            )
        )

    async def listed(self, state: AssociationState, *, limit: int = 100) -> Sequence[Association]:
        """Return associations in a state, the newest first, at most `LIST_MAX`."""
        size = min(max(limit, 1), LIST_MAX)
        return await self._store.read(lambda c: self.rows.listed(c, state=state, rows_max=size))

    async def association(self, association: str) -> Association:
        """Return one association.

        Raises:
            NotFound: No such association.
        """
        found = await self._store.read(lambda c: self.rows.one(c, association))
        if found is None:
            raise NotFound("no such association")
        return found

    async def change(
        self,
        touched: Touched,
        decide: Decide[T],
        *,
        actor: str,
        act: tuple[str, str, dict[str, Any]] | None = None,
        refresh: bool = True,
    ) -> T:
        """Let a pure rule decide on what stands, and write what it changed.

        Args:
            touched: What it is about.
            decide: Changes the scene, or raises: then nothing is changed.
            actor: Who, for the audit log.
            act: Action, subject and details of an entry beside those of the changes.
            refresh: Whether the book follows before this returns; who makes many changes in a row
                calls `refresh` once afterwards.

        Raises:
            AsepsisError: Whatever `decide` raises.
            Unavailable: The store does not answer; nothing was changed.
        """

        def work(connection: Connection) -> tuple[T, bool]:
            return self._decided(connection, touched, decide, actor=actor, act=act)

        result, published = await self._store.write(work)
        if published:
            self._wake_relay()
        if refresh:
            await self.refresh()
        return result

    async def refresh(self) -> None:
        """Bring the book up to what is committed, if it is behind; tell whose device changed."""
        # One at a time: what was read first must not overwrite what was read later.
        async with self._refreshing:
            if await self._store.read(records.version) == self._book.version:
                return
            present = await self._store.read(self.rows.present)
            devices = self._book.load(present)
        self._tell_followers(devices)

    def _decided(
        self,
        connection: Connection,
        touched: Touched,
        decide: Decide[T],
        *,
        actor: str,
        act: tuple[str, str, dict[str, Any]] | None,
    ) -> tuple[T, bool]:
        loaded = self.rows.load(
            connection, touched, now_ns=self._store.clock(), fresh_id=self._fresh_id
        )
        result = decide(loaded.scene)
        changed = self.rows.save(connection, loaded)
        if act is not None:
            self._audit.note(connection, actor=actor, action=act[0], subject=act[1], **act[2])
        for association in changed:
            self._tell(connection, association, actor)
        return result, bool(changed)

    def _tell(self, connection: Connection, association: Association, actor: str) -> None:
        data = as_event(association)
        self._audit.note(
            connection,
            actor=actor,
            action=f"association-{association.state.value}",
            subject=association.device,
            **data,
        )
        publish(
            connection,
            Event(
                topic=f"association.{association.state.value}",
                version=1,
                at_ns=self._store.clock(),
                subject=association.device,
                data=data,
            ),
        )

    async def _decide(self, association: str, decide: Decide[T], actor: str) -> T:
        found = await self.association(association)
        touched = Touched(devices=[found.device], patients=[found.patient])
        return await self.change(touched, decide, actor=actor)

    async def _sight(self, device: str, decide: Decide[None]) -> None:
        touched = Touched(devices=[device])
        await self.change(touched, decide, actor=f"device:{device}", refresh=False)

    def _tell_followers(self, devices: Collection[str]) -> None:
        for device in devices:
            for callback in self._changed:
                try:
                    callback(device)
                except AsepsisError as error:
                    # The change stands; a follower that cannot take it catches up by itself.
                    log.error("a follower of associations failed: %s", error.code)  # noqa: TRY400


def as_event(association: Association) -> dict[str, Any]:
    """Return what an event and an audit detail say of an association."""
    return {
        "association": association.id,
        "patient": association.patient.key(),
        "place": association.place.key() if association.place is not None else None,
        "basis": association.basis.value,
        "start_ns": association.start_ns,
        "end_ns": association.end_ns,
        "proposed_by": association.proposed_by,
        "confirmed_by": association.confirmed_by,
        "reason": association.end_reason,
    }
