"""The features that stand on the core, in the order in which they are opened."""

from collections.abc import Sequence

from asepsis.hub.app.associations import build_associations, open_associations
from asepsis.hub.app.attestation import (
    attested_words,
    build_attestation,
    open_attestation,
)
from asepsis.hub.app.audit import open_audit
from asepsis.hub.app.campaigns import build_campaigns, open_campaigns
from asepsis.hub.app.compliance import build_compliance, open_compliance
from asepsis.hub.app.console import open_console, updates_of
from asepsis.hub.app.core import Core
from asepsis.hub.app.ddi import open_ddi
from asepsis.hub.app.delegations import open_delegations
from asepsis.hub.app.delivery import build_delivery, open_delivery
from asepsis.hub.app.feature import Feature
from asepsis.hub.app.imaging import build_images, open_imaging
from asepsis.hub.app.records import open_records
from asepsis.hub.app.relay import open_relay
from asepsis.hub.app.releases import build_releases, open_releases
from asepsis.hub.app.requests import open_requests
from asepsis.hub.app.scribe import build_scribe
from asepsis.hub.app.ward import open_ward


def open_features(core: Core) -> Sequence[Feature]:
    """Open every feature; each has a file of its own beside this one."""
    associations = build_associations(core)
    book, service = associations.book, associations.service
    compliance = build_compliance(core, associations)
    records = open_records(core, service, compliance.judge.book)
    images = build_images(core)
    attestation = build_attestation(core)
    releases = build_releases(core)
    campaigns = build_campaigns(core, releases.releases, releases.director)
    delivery = build_delivery(core, compliance.judge, images, build_scribe(core, associations))
    return (
        open_associations(associations),
        open_compliance(core, compliance),
        open_console(
            core,
            book,
            service,
            records.trends,
            delivery.service,
            attested=attested_words(attestation),
            updates=updates_of(core, releases, campaigns),
        ),
        open_ward(core, book, service),
        records.feature,
        open_delivery(core, delivery),
        open_imaging(core, delivery.service, images),
        open_relay(core, delivery, images),
        open_delegations(core),
        open_attestation(core, attestation),
        open_requests(core),
        open_releases(releases),
        open_campaigns(core, campaigns),
        open_ddi(core),
        open_audit(core),
    )
