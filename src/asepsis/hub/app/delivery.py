"""Delivery: destinations, their lines, dead letters, and what gateways fetch."""

import ipaddress
import random
import ssl
from dataclasses import dataclass

from asepsis.core.compliance.gate import ChartGate
from asepsis.core.errors import ConfigError
from asepsis.core.trust import tls
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.delivery.dialer import Dialer
from asepsis.hub.delivery.fhir import HttpSender
from asepsis.hub.delivery.http_outbound import OutboundRoutes
from asepsis.hub.delivery.http_people import DeliveryRoutes
from asepsis.hub.delivery.http_subscription import SubscriptionRoutes
from asepsis.hub.delivery.line_values import LineParts
from asepsis.hub.delivery.mllp import MllpSender
from asepsis.hub.delivery.model import Kind, Options
from asepsis.hub.delivery.outgoing_http import HttpOut
from asepsis.hub.delivery.people import DeadLetters
from asepsis.hub.delivery.ports import HeldImages
from asepsis.hub.delivery.route_book import RouteBook
from asepsis.hub.delivery.scribe import Scribe
from asepsis.hub.delivery.service import DeliveryService
from asepsis.hub.delivery.stow import StowSender
from asepsis.hub.opening import identity_files, read_certificate


@dataclass(frozen=True, slots=True)
class Delivery:
    """What other features ask.

    Attributes:
        service: Destinations and their lines; says what archives accepted.
        book: The routes of now.
        mllp: Connects to receivers.
        stow: Connects to archives.
        out: Speaks HTTP to destinations.
    """

    service: DeliveryService
    book: RouteBook
    mllp: MllpSender
    stow: StowSender
    out: HttpOut


def build_delivery(
    core: Core, gate: ChartGate | None, images: HeldImages, scribe: Scribe
) -> Delivery:
    """Return what delivers; it is filled by the feature's `restore`.

    Args:
        core: What the hub stands on.
        gate: Says what charts may have.
        images: What the hub holds for archives.
        scribe: Writes messages about what devices sent by the standard.

    Raises:
        ConfigError: The routes or own networks are wrong.
    """
    given, folder = core.settings.delivery, core.settings.folder()
    book = RouteBook(folder / given.routes if given.routes else None)
    try:
        own = [ipaddress.ip_network(text) for text in given.own_networks]
    except ValueError as error:
        raise ConfigError(f"delivery.own_networks: {error}") from error

    def context(options: Options) -> ssl.SSLContext:
        identity = identity_files(core.settings) if options.client_certificate else None
        root = folder / "ca" / "root.crt"
        try:
            trusted = ssl.PEM_cert_to_DER_cert(options.ca_pem) if options.ca_pem else None
        except ValueError as error:
            raise ConfigError("the destination's CA is no PEM certificate") from error
        return tls.client_context(root_der=trusted or read_certificate(root), identity=identity)

    dialer = Dialer(own=own)
    mllp = MllpSender(dialer, context)
    out = HttpOut(dialer, context)
    posts, stow = HttpSender(out), StowSender(out, images)
    service = DeliveryService(
        LineParts(
            journal=core.journal,
            store=core.store,
            gate=gate,
            routes=book.routes,
            scribe=scribe,
            monotonic=core.clocks.monotonic,
        ),
        audit=core.audit_log,
        senders={
            Kind.MLLP: mllp,
            Kind.FHIR: posts,
            Kind.REST_HOOK: posts,
            Kind.STOW: stow,
        },
        rng=random.Random(),  # noqa: S311 - jitter
    )
    return Delivery(service, book, mllp, stow, out)


def open_delivery(core: Core, built: Delivery) -> Feature:
    """Open what carries data out of the hub."""
    service = built.service
    probes = {Kind.MLLP: built.mllp.probe, Kind.STOW: built.stow.probe}
    dead_letters = DeadLetters(core.store, service, core.audit_log)
    return Feature(
        clinical=(*OutboundRoutes(service).routes(), *SubscriptionRoutes(service).routes()),
        people=DeliveryRoutes(service, dead_letters, core.store, probes).routes(),
        restore=service.open,
        work={"deliveries": service.run, "routes": built.book.run},
        close=service.close,
        status={"deliveries": service.status},
    )
