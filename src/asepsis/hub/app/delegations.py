"""Delegations: their routes, and the look for what ends soon."""

from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.registry.delegations.bypass import BypassRoutes
from asepsis.hub.registry.delegations.http import DelegationRoutes
from asepsis.hub.registry.delegations.pair_service import PairService
from asepsis.hub.registry.delegations.pairs import PairBook
from asepsis.hub.registry.delegations.service import DelegationService


def open_delegations(core: Core) -> Feature:
    """Open what people decide about gateways and what gateways report."""
    service = DelegationService(core.store, audit=core.audit_log, registry=core.registry)
    routes = DelegationRoutes(service)
    bypass = BypassRoutes(
        core.store, audit=core.audit_log, registry=core.registry, delegations=service
    )
    pairs = PairBook(core.clocks.monotonic, paired=core.registry.delegations.paired)
    core.exchange = core.exchange.fencing(pairs.check)
    pair = PairService(
        core.store,
        audit=core.audit_log,
        registry=core.registry,
        journal=core.journal,
        book=pairs,
        heard=core.exchange.intake.gateway_heard,
    )
    return Feature(
        clinical=[*routes.clinical(), *pair.clinical()],
        people=[*routes.people(), *bypass.routes()],
        restore=pair.restore,
        work={"delegations": service.run},
    )
