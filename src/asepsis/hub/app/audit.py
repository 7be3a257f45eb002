"""The audit log as others read it, and its way to audit repositories."""

from pathlib import Path

from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.audit.views.forwarding import AuditForwarder, AuditRepository
from asepsis.hub.audit.views.http import AuditEventRoutes
from asepsis.hub.audit.witness_http import WitnessRoutes


def open_audit(core: Core) -> Feature:
    """Open the FHIR view, the witnesses' routes, and one forwarder for each repository.

    Raises:
        ConfigError: A file of a repository cannot be read.
    """
    hub = core.settings.names[0]
    forwarders = {
        where.name: AuditForwarder(
            core.store,
            AuditRepository(
                where.host,
                where.port,
                ca_file=Path(where.ca_file),
                chain_file=where.chain_file,
                key_file=where.key_file,
            ),
            name=where.name,
            hub=hub,
            holder=core.holder,
        )
        for where in core.settings.audit.repositories
    }

    async def status() -> object:
        return {name: "waits" if each.waiting else "follows" for name, each in forwarders.items()}

    witnessing = WitnessRoutes(core.store, core.audit_log, core.signer, heads=core.audit)
    return Feature(
        clinical=witnessing.clinical(),
        people=[
            *AuditEventRoutes(core.store, core.audit_log, hub=hub).routes(),
            *witnessing.people(),
        ],
        work={f"audit to {name}": each.run for name, each in forwarders.items()},
        status={"audit_repositories": status} if forwarders else {},
    )
