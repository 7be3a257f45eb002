"""Attestation: what devices state of themselves, and what people decide about it."""

import secrets
from collections.abc import Awaitable, Callable

from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.registry.attestation.http import DeviceRoutes, PeopleRoutes
from asepsis.hub.registry.attestation.people import Decisions
from asepsis.hub.registry.attestation.service import AttestationService
from asepsis.hub.registry.attestation.standing import TONES, State, words


def build_attestation(core: Core) -> Decisions:
    """Return what people decide; the console reads it too."""
    return Decisions(core.store, core.audit_log, core.registry)


def attested_words(decisions: Decisions) -> Callable[[str], Awaitable[tuple[str, str, str]]]:
    """Return what the console shows of a device: words, tone, and how its TPM is known."""

    async def look(name: str) -> tuple[str, str, str]:
        device = await decisions.device(name)
        now_ns = decisions.store.clock()
        state = State.NONE if device is None else device.state(now_ns)
        return words(device, now_ns=now_ns), TONES[state], device.tpm if device else ""

    return look


def open_attestation(core: Core, decisions: Decisions) -> Feature:
    """Open the routes of devices and people."""
    service = AttestationService(
        store=core.store,
        audit=core.audit_log,
        registry=core.registry,
        monotonic=core.clocks.monotonic,
        random=secrets.token_bytes,
    )
    if core.settings.devices.renew == "unless-refused":
        core.registry.before_renewal = service.require_not_refused
    return Feature(clinical=DeviceRoutes(service).routes(), people=PeopleRoutes(decisions).routes())
