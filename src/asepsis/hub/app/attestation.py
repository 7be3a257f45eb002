"""Attestation: what devices state of themselves, and what people decide about it."""

import secrets

from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.registry.attestation.http import DeviceRoutes, PeopleRoutes
from asepsis.hub.registry.attestation.people import Decisions
from asepsis.hub.registry.attestation.service import AttestationService


def build_attestation(core: Core) -> Decisions:
    """Return what people decide; the console reads it too."""
    return Decisions(core.store, core.audit_log, core.registry)


def open_attestation(core: Core, decisions: Decisions) -> Feature:
    """Open the routes of devices and people."""
    service = AttestationService(
        store=core.store,
        audit=core.audit_log,
        registry=core.registry,
        monotonic=core.clocks.monotonic,
        random=secrets.token_bytes,
    )
    return Feature(clinical=DeviceRoutes(service).routes(), people=PeopleRoutes(decisions).routes())
