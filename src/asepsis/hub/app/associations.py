"""Associations: the service, its followers of ADT and of clinical states, and its routes."""

import asyncio
from dataclasses import dataclass

from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.registry.associations.adt import AdtFollower
from asepsis.hub.registry.associations.book import AssociationBook
from asepsis.hub.registry.associations.http import AssociationRoutes
from asepsis.hub.registry.associations.service import AssociationService
from asepsis.hub.registry.associations.states import StateFollower


@dataclass(frozen=True, slots=True)
class Associations:
    """What other features ask.

    Attributes:
        book: What goes on now, in memory.
        service: What people decide, and what was.
        adt: Applies what ADT says.
        states: Applies what devices say of themselves.
    """

    book: AssociationBook
    service: AssociationService
    adt: AdtFollower
    states: StateFollower


def build_associations(core: Core) -> Associations:
    """Return book, service and followers; they are filled by the feature's `restore`."""
    book = AssociationBook()
    service = AssociationService(
        core.store, audit=core.audit_log, book=book, wake_relay=core.relay.wake
    )
    settings = core.settings.associations
    adt = AdtFollower(
        core.journal,
        service,
        authorities=settings.authorities,
        entered_at_device=settings.entered_at_device,
    )
    return Associations(book, service, adt, StateFollower(core.journal, service))


def open_associations(built: Associations) -> Feature:
    """Open what keeps and changes associations; name it before the features that ask it."""
    service, adt, states = built.service, built.adt, built.states
    revoked: asyncio.Queue[str] = asyncio.Queue()

    async def restore() -> None:
        await service.load()
        await adt.register()
        await states.restore()

    async def forget() -> None:
        while True:
            device = await revoked.get()
            states.forget(device)
            await service.forget_device(device)

    return Feature(
        people=AssociationRoutes(service, built.book).routes(),
        restore=restore,
        work={
            "associations": service.run,
            "ADT": adt.run,
            "clinical states": states.run,
            "revoked devices": forget,
        },
        revoked=revoked.put_nowait,
        status={"adt": adt.status, "clinical_states": states.status},
    )
