"""The ward view: beds, devices and the live hub, brought together for one stream."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from asepsis.core.errors import IdentityRevoked, NotFound
from asepsis.core.model.association import Association, AssociationState
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.model.patient import Place
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.console.live import WardFeed
from asepsis.hub.console.live_http import ward_route
from asepsis.hub.console.live_model import (
    Connection,
    DeviceFacts,
    Link,
    Occupant,
    PlacedDevice,
    WardBed,
    WardClocks,
)
from asepsis.hub.exchange.supervisor import Supervisor
from asepsis.hub.registry.associations.book import AssociationBook, Bed
from asepsis.hub.registry.associations.rules import Reason
from asepsis.hub.registry.associations.service import AssociationService
from asepsis.hub.registry.associations.unplaced import last_places
from asepsis.hub.registry.book import IdentityBook

REVOKED_SHOWN_NS: Final = 12 * 3_600 * 1_000_000_000
"""A revoked device stays on the tile of its last bed this long, or until another one comes."""
COUNT_EVERY_NS: Final = 250_000_000
"""Devices that are heard and stand nowhere are looked for this often: when a thousand of them
return at once, the beds must not be made anew for each."""
NAME_TAIL: Final = 6
NO_BED: Final = "No bed"


def open_ward(core: Core, associations: AssociationBook, service: AssociationService) -> Feature:
    """Open the ward view.

    Args:
        core: What the hub stands on.
        associations: Who is where now.
        service: Who was where.
    """
    supervisor = core.exchange.supervisor
    placement = WardPlacement(associations, core.book, supervisor, core.clocks.monotonic)
    feed = WardFeed(
        placement,
        BookDevices(core.book, supervisor),
        core.live,
        clocks=WardClocks(core.clocks.wall, core.clocks.monotonic),
        stream=secrets.token_hex(8),
    )
    core.live.attach(feed)

    def revoked(name: str) -> None:
        placement.revoked(name)
        feed.revoked(name)

    async def restore() -> None:
        """Put devices that were revoked where they stood, or at a patient, back on their tiles."""
        since_ns = core.clocks.wall() - REVOKED_SHOWN_NS
        stood = await core.store.read(lambda c: last_places(c, since_ns=since_ns))
        for name in core.book.revoked():
            for was in await service.history(device=name, from_ns=since_ns):
                if was.end_reason == Reason.REVOKED:
                    placement.was_revoked_at(name, was.place)
            if name in stood:
                placement.was_revoked_at(name, stood[name])

    async def opened(person: str, ward: str) -> None:
        await core.store.write(
            lambda connection: core.audit_log.note(
                connection, actor=f"person:{person}", action="watch-ward", subject=f"ward:{ward}"
            )
        )

    return Feature(
        people=(ward_route(feed, opened=opened),),
        restore=restore,
        work={"ward view": feed.run},
        revoked=revoked,
    )


@dataclass(slots=True)
class _Gone:
    """A revoked device: its last bed, when it went, and what stood beside it, once known."""

    bed: WardBed
    at_ns: int
    beside: frozenset[str] | None = None


@dataclass(slots=True)
class WardPlacement:
    """The association book as the ward view's `Placement`.

    Attributes:
        associations: Who is where now.
        identities: What each name is.
        supervisor: Who is heard.
        monotonic: Monotonic clock, nanoseconds.
    """

    associations: AssociationBook
    identities: IdentityBook
    supervisor: Supervisor
    monotonic: Callable[[], int]
    _gone: dict[str, _Gone] = field(default_factory=dict[str, "_Gone"])
    _revocations: int = 0
    _heard: int = 0
    _counted_ns: int = 0
    _version: object = None
    _beds: tuple[WardBed, ...] = ()

    @property
    def version(self) -> object:
        """Changes with the book and revocations at once, and soon with who is heard."""
        now_ns = self.monotonic()
        if now_ns - self._counted_ns >= COUNT_EVERY_NS:
            self._counted_ns, self._heard = now_ns, len(self.supervisor.watched())
        return self.associations.version, self._heard, self._revocations

    def beds(self) -> Sequence[WardBed]:
        """Return every bed, and after them every device that is heard and stands at none."""
        version = self.version
        if version != self._version:
            self._version = version
            self._forget_old()
            placed = [self._bed(bed) for bed in self.associations.beds()]
            placed += self._emptied(placed)
            self._beds = (*placed, *self._unplaced(placed))
        return self._beds

    def revoked(self, name: str) -> None:
        """Keep a revoked device where it stood: it is a condition there, not an empty tile."""
        for bed in self.beds():
            if any(device.name == name for device in bed.devices):
                self._gone[name] = _Gone(bed, self.monotonic())
        self._revocations += 1

    def was_revoked_at(self, name: str, place: Place | None) -> None:
        """Keep a device where it stood when it was revoked, before this hub started."""
        bed = WardBed(key=f"device|{name}", ward="", label=NO_BED)
        if place is not None:
            bed = WardBed(key=place.key(), ward=place.point_of_care, label=_label(place))
        self._gone[name] = _Gone(bed, self.monotonic())
        self._revocations += 1

    def _bed(self, bed: Bed) -> WardBed:
        place = bed.place
        names = set(bed.devices) | {
            a.device for a in bed.associations if not self._stands_elsewhere(a, bed)
        }
        devices = [self._placed(name, bed) for name in sorted(names)]
        key = place.key()
        return WardBed(
            key=key,
            ward=place.point_of_care,
            label=_label(place),
            devices=(*devices, *self._gone_from(key, names)),
        )

    def _stands_elsewhere(self, association: Association, bed: Bed) -> bool:
        placed = self.associations.placed(association.device)
        return placed is not None and placed.place != bed.place

    def _placed(self, name: str, bed: Bed) -> PlacedDevice:
        confirmed = self.associations.now(name)
        if confirmed is not None:
            known = bed.patient
            same = known is not None and known.id == confirmed.patient
            return PlacedDevice(
                name=name,
                link=Link.CONFIRMED,
                patient=Occupant(
                    id=confirmed.patient.value,
                    name=known.name if known and same else "",
                    birth_date=known.birth_date if known and same else "",
                ),
                association=confirmed.id,
            )
        for association in bed.associations:
            proposed = association.state is AssociationState.PROPOSED
            if association.device == name and proposed:
                return PlacedDevice(name=name, link=Link.PROPOSED, association=association.id)
        return PlacedDevice(name=name)

    def _gone_from(self, key: str, names: set[str]) -> list[PlacedDevice]:
        """Return the revoked devices that stood here, until another one comes in their place."""
        standing = frozenset(names - self._gone.keys())
        here: list[PlacedDevice] = []
        for name, gone in tuple(self._gone.items()):
            if gone.bed.key != key or name in names:
                continue
            gone.beside = standing if gone.beside is None else gone.beside & standing
            if standing <= gone.beside:
                here.append(PlacedDevice(name=name))
            else:
                del self._gone[name]
        return here

    def _emptied(self, placed: Sequence[WardBed]) -> list[WardBed]:
        """Return the beds that only a revoked device is left of."""
        known = {bed.key for bed in placed}
        beds = [gone.bed for gone in self._gone.values()]
        left = {bed.key: bed for bed in beds if bed.key not in known and bed.ward}
        return [
            replace(bed, devices=tuple(self._gone_from(key, set())))
            for key, bed in sorted(left.items())
        ]

    def _forget_old(self) -> None:
        """Forget revoked devices that were shown long enough, or that a person listed anew."""
        now_ns = self.monotonic()
        for name, gone in tuple(self._gone.items()):
            if now_ns - gone.at_ns > REVOKED_SHOWN_NS or self._admitted(name):
                del self._gone[name]

    def _admitted(self, name: str) -> bool:
        try:
            return self.identities.device(name).kind is PrincipalKind.DEVICE
        except (NotFound, IdentityRevoked):
            return False

    def _unplaced(self, beds: Sequence[WardBed]) -> list[WardBed]:
        placed = {device.name for bed in beds for device in bed.devices}
        heard = {*self.supervisor.watched(), *self._gone}
        return [
            WardBed(key=f"device|{name}", ward="", label=NO_BED, devices=(PlacedDevice(name=name),))
            for name in sorted(heard - placed)
        ]


def _label(place: Place) -> str:
    short = [f"Room {place.room}"] if place.room else []
    short += [f"Bed {place.bed}"] if place.bed else []
    return ", ".join(short) or place.label()


@dataclass(frozen=True, slots=True)
class BookDevices:
    """The identity book and the supervisor as the ward view's `Devices`.

    Attributes:
        identities: What each name is.
        supervisor: Who is present, and what they do.
    """

    identities: IdentityBook
    supervisor: Supervisor
    _models: dict[str, str] = field(default_factory=dict[str, str])

    def facts(self, name: str) -> DeviceFacts:
        """Return the facts of a device, admitted, revoked or unknown."""
        signs = revoked = False
        try:
            entry = self.identities.device(name)
            self._models[name], signs = entry.model, entry.origin_spki is not None
        except IdentityRevoked:
            revoked = True
        except NotFound:
            self._models.pop(name, None)
        model = self._models.get(name, "")
        short = name.rpartition("/" if "/" in name else ":")[2][-NAME_TAIL:]
        return DeviceFacts(
            name=name,
            label=f"{model or 'Device'} …{short}",
            connection=Connection.REVOKED if revoked else self._connection(name),
            state=None if revoked else self.supervisor.clinical_state(name),
            signs=signs,
        )

    def _connection(self, name: str) -> Connection:
        if self.supervisor.is_present(name):
            return Connection.LIVE
        return Connection.SILENT if name in self.supervisor.watched() else Connection.NEVER
