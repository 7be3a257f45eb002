"""Requests of operators to devices; without the setting every route says that it is off."""

from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.registry.requests.http import DeviceRoutes, PeopleRoutes
from asepsis.hub.registry.requests.mailboxes import Mailboxes


def open_requests(core: Core) -> Feature:
    """Open the routes."""
    mailboxes = Mailboxes(core.clocks.monotonic, on=core.settings.devices.carry_requests)
    people = PeopleRoutes(
        mailboxes, exists=core.registry.device, store=core.store, audit=core.audit_log
    )
    return Feature(
        clinical=DeviceRoutes(mailboxes, core.store.clock).routes(),
        people=people.routes(),
        revoked=mailboxes.drop,
    )
