"""Devices with SWUpdate, RAUC or another client of the DDI interface; a listener of their own."""

import ssl
from typing import Final, cast

from asepsis.core.errors import ConfigError
from asepsis.core.trust import tls
from asepsis.core.trust.identity import PeerCertificate
from asepsis.hub.access.principal import ANONYMOUS
from asepsis.hub.access.rules import decide
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.fleet.ddi.files import Files
from asepsis.hub.fleet.ddi.held import Targets
from asepsis.hub.fleet.ddi.http import ClientRoutes
from asepsis.hub.fleet.ddi.http_files import FileRoutes
from asepsis.hub.fleet.ddi.http_people import PeopleRoutes
from asepsis.hub.fleet.ddi.identity import Credentials, Ways
from asepsis.hub.fleet.ddi.orders import Orders
from asepsis.hub.fleet.ddi.people import Decisions
from asepsis.hub.fleet.ddi.rules import Pace
from asepsis.hub.fleet.ddi.service import ClientService
from asepsis.hub.settings import Settings
from asepsis.hub.web.routing import Check, Router

FOLDER: Final = "ddi"
CA_BYTES_MAX: Final = 1_048_576
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


class Anybody:
    """Admission of the DDI listener: who asks is judged per request, by token or certificate."""

    def admit(self, peer: PeerCertificate | None, listener: str, now_ns: int) -> object:  # noqa: ARG002 - as the port
        """Return nobody in particular."""
        return ANONYMOUS


def ddi_context(settings: Settings, identity: tls.KeyAndChain) -> ssl.SSLContext:
    """Return the TLS context of the DDI listener.

    Raises:
        ConfigError: The file of CAs cannot be read, or certificates are required of nobody's CA.
    """
    given = settings.ddi
    authorities = read_authorities(settings, given.client_ca_file) if given.client_ca_file else ()
    if given.require_certificate and not authorities:
        raise ConfigError(
            "ddi.require_certificate needs ddi.client_ca_file", hint="see docs/reference/ddi.md"
        )
    context = tls.server_context(tls.Listener.DDI, identity=identity, issuing_der=authorities)
    if given.require_certificate:
        tls.require_client(context)
    return context


def read_authorities(settings: Settings, name: str) -> tuple[bytes, ...]:
    """Return the certificates of a PEM file in the data folder, DER.

    Raises:
        ConfigError: It cannot be read, or holds none.
    """
    path = settings.folder() / name
    try:
        with path.open("rb") as file:
            text = file.read(CA_BYTES_MAX).decode("ascii")
        blocks = [each.partition(_END)[0] for each in text.split(_BEGIN)[1:]]
        found = tuple(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{each}{_END}\n") for each in blocks)
    except (OSError, ValueError) as error:
        raise ConfigError(f"ddi.client_ca_file: {path} can not be read") from error
    if not found:
        raise ConfigError(f"ddi.client_ca_file: {path} holds no certificate")
    return found


def open_ddi(core: Core) -> Feature:
    """Open update clients; their listener only where it has an address."""
    settings, clock = core.settings.ddi, core.clocks.wall
    targets = Targets(core.store, clock)
    files = Files(
        core.settings.folder() / "hub" / FOLDER,
        bytes_max=settings.file_bytes_max,
        reserve_bytes=settings.reserve_bytes,
    )
    service = ClientService(core.store, core.audit_log, targets, clock)
    people = PeopleRoutes(
        Decisions(core.store, core.audit_log, targets, files, clock),
        Orders(core.store, core.audit_log, targets, service, clock),
    )
    if core.settings.listeners.ddi is None:
        return Feature(people=people.routes(), restore=targets.load)

    async def status() -> object:
        return {"targets_held": len(targets), "gateways": len(targets.gateways)}

    return Feature(
        people=people.routes(),
        ddi=_router(core, service, targets, files),
        restore=targets.load,
        work={"update clients": targets.follow},
        status={"ddi": status},
    )


def _router(core: Core, service: ClientService, targets: Targets, files: Files) -> Router:
    settings = core.settings.ddi
    credentials = Credentials(
        Ways(
            tenant=settings.tenant,
            target_tokens=settings.target_tokens,
            gateway_tokens=settings.gateway_tokens,
            certificates=bool(settings.client_ca_file),
        ),
        service,
        targets,
        wall=core.clocks.wall,
        monotonic=core.clocks.monotonic,
    )
    pace = Pace(sleep_s=settings.sleep_s, least_s=settings.least_s, spread=settings.spread)
    routes = ClientRoutes(service, FileRoutes(service, files), pace).routes()
    return Router(routes, check=cast("Check", decide), authenticate=credentials.authenticate)
