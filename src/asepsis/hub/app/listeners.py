"""The listeners: their TLS contexts, routers, and how they follow identity and makers."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Final, cast

import structlog

from asepsis.core.errors import TransientError, TrustError, Unavailable
from asepsis.core.trust import tls
from asepsis.hub.access.rules import decide
from asepsis.hub.app.core import Core
from asepsis.hub.app.ddi import Anybody, ddi_context
from asepsis.hub.app.feature import Feature
from asepsis.hub.audit.http import AuditRoutes
from asepsis.hub.console.errors import with_error_pages
from asepsis.hub.console.security import HEADERS
from asepsis.hub.delivery.consumers import Consumers
from asepsis.hub.delivery.http import consumer_routes, live_route
from asepsis.hub.exchange.rules import PATIENT
from asepsis.hub.fleet.ddi.http_people import STREAMED as MODULES
from asepsis.hub.fleet.releases.http import STREAMED as RELEASES
from asepsis.hub.imaging.http import STREAMED as STUDIES
from asepsis.hub.opening import (
    identity_files,
    identity_is_due,
    read_certificate,
    renew_identity,
)
from asepsis.hub.registry.http import EnrolmentRoutes, authenticate
from asepsis.hub.registry.http_people import DeviceRoutes, StatusSource
from asepsis.hub.revocation_list import FILE as CRL_FILE
from asepsis.hub.revocation_list import RevocationList
from asepsis.hub.web import limits
from asepsis.hub.web.listener import Listener
from asepsis.hub.web.routing import Check, Router
from asepsis.hub.web.server import Server

CARE_EVERY_S: Final = 10.0
"""Pause between two looks at the hub's own certificate and the list of makers, in seconds."""

_STREAMED: Final[Mapping[tls.Listener, frozenset[str]]] = {
    tls.Listener.CLINICAL: STUDIES,
    tls.Listener.PEOPLE: MODULES | RELEASES,
}

log = structlog.get_logger("hub")


def routers(
    core: Core, features: Sequence[Feature], status: Mapping[str, StatusSource]
) -> dict[tls.Listener, Router]:
    """Return the routers of the listeners, with every route there is."""
    check = cast("Check", decide)
    found = {
        tls.Listener.CLINICAL: Router(
            [
                *core.exchange.routes(),
                *consumer_routes(Consumers(core.journal)),
                live_route(core.live),
                *(route for each in features for route in each.clinical),
            ],
            check=check,
        ),
        tls.Listener.ENROLMENT: Router(
            EnrolmentRoutes(core.registry, core.signer, clock=core.clocks.wall).routes(),
            check=check,
            authenticate=authenticate,
        ),
        tls.Listener.PEOPLE: Router(
            [
                *DeviceRoutes(core.registry, status=status).routes(),
                *AuditRoutes(core.store, core.audit, log_=core.audit_log).routes(),
                live_route(core.live),
                *(route for each in features for route in each.people),
            ],
            check=check,
            authenticate=core.access.credentials.api(),
            mounts=[mount for each in features for mount in each.mounts],
        ),
    }
    for each in features:
        if each.ddi is not None:
            found[tls.Listener.DDI] = each.ddi
    return found


class ListenerSet:
    """Makes the listeners and keeps their certificates current.

    Args:
        core: What the hub stands on.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._files = identity_files(core.settings)
        self._contexts: dict[tls.Listener, ssl.SSLContext] = {}
        self._issuing: Sequence[bytes] = ()
        self._makers: Sequence[bytes] = ()

    async def open(self, apps: Mapping[tls.Listener, Router]) -> list[Listener]:
        """Return the listeners, ready to be served.

        Raises:
            ConfigError: The hub's certificate cannot be read.
            Unavailable: It is due and the signer does not answer.
        """
        core, files = self._core, self._files
        addresses = core.settings.listeners
        if identity_is_due(files, now_ns=core.clocks.wall()):
            await renew_identity(core.settings, core.signer, files)
        self._issuing = [read_certificate(core.settings.folder() / "ca" / "issuing.crt")]
        self._makers = await self._ask_makers()
        self._contexts = {
            tls.Listener.CLINICAL: tls.server_context(
                tls.Listener.CLINICAL, identity=files, issuing_der=self._issuing
            ),
            tls.Listener.ENROLMENT: self._enrolment_context(),
            tls.Listener.PEOPLE: tls.server_context(tls.Listener.PEOPLE, identity=files),
        }
        if addresses.ddi is not None:
            self._contexts[tls.Listener.DDI] = ddi_context(core.settings, files)
        places = {
            tls.Listener.CLINICAL: (addresses.clinical, limits.CLINICAL),
            tls.Listener.ENROLMENT: (addresses.enrolment, limits.BEFORE_IDENTITY),
            tls.Listener.PEOPLE: (addresses.people, limits.PEOPLE),
        }
        if addresses.ddi is not None:
            places[tls.Listener.DDI] = (addresses.ddi, limits.DDI)
        return [
            Listener(
                name=name.value,
                host=address.host,
                port=address.port,
                context=self._contexts[name],
                app=with_error_pages(apps[name]) if name is tls.Listener.PEOPLE else apps[name],
                admission=Anybody() if name is tls.Listener.DDI else core.book,
                limits=limit,
                idevid=name is tls.Listener.ENROLMENT,
                strangers=name is tls.Listener.DDI,
                patient=PATIENT if name is tls.Listener.CLINICAL else frozenset(),
                streams=_STREAMED.get(name, frozenset()),
                headers=HEADERS if name is tls.Listener.PEOPLE else [],
            )
            for name, (address, limit) in places.items()
        ]

    async def keep(self, server: Server) -> None:
        """Renew the hub's own certificate in time and follow the makers; connections go on."""
        core = self._core
        crl = RevocationList(
            core.settings.folder() / "run" / CRL_FILE, core.signer, clock=core.clocks.wall
        )
        while True:
            await crl.care()
            await asyncio.sleep(CARE_EVERY_S)
            try:
                if identity_is_due(self._files, now_ns=core.clocks.wall()):
                    await renew_identity(core.settings, core.signer, self._files)
                    for context in self._contexts.values():
                        tls.reload_identity(context, self._files)
                await self._follow_makers(server)
            except (TransientError, TrustError) as error:
                log.warning("the hub's own certificate is not renewed", code=error.code)

    def _enrolment_context(self) -> ssl.SSLContext:
        return tls.server_context(
            tls.Listener.ENROLMENT,
            identity=self._files,
            issuing_der=self._issuing,
            maker_der=self._makers,
        )

    async def _follow_makers(self, server: Server) -> None:
        """Take the makers that a person listed since: the enrolment listener gets a new context."""
        makers = await self._ask_makers()
        if set(makers) == set(self._makers):
            return
        self._makers = makers
        context = self._contexts[tls.Listener.ENROLMENT] = self._enrolment_context()
        server.reload_context(tls.Listener.ENROLMENT.value, context)

    async def _ask_makers(self) -> Sequence[bytes]:
        try:
            return (await self._core.signer.authorities()).makers_der
        except Unavailable:
            log.warning("the signer does not answer: the makers' certificates stay as they are")
            return self._makers
