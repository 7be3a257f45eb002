"""Compliance: profiles, who judges what arrives, and the gate before charts."""

from collections.abc import Sequence
from dataclasses import dataclass

from asepsis.core.errors import AsepsisError
from asepsis.core.journal.ports import Record
from asepsis.core.model.observation import Numeric
from asepsis.hub.app.associations import Associations
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.app.records_readers import make_readers
from asepsis.hub.exchange.marks import MarkingFeed
from asepsis.hub.registry.compliance.book import ComplianceBook
from asepsis.hub.registry.compliance.http import ComplianceRoutes
from asepsis.hub.registry.compliance.judge import HubJudge
from asepsis.hub.registry.compliance.service import ComplianceService


@dataclass(frozen=True, slots=True)
class Compliance:
    """What other features ask.

    Attributes:
        judge: Marks what is shown; it is the `ChartGate` of chart delivery, too.
        service: Profiles and decisions.
    """

    judge: HubJudge
    service: ComplianceService


def build_compliance(core: Core, associations: Associations) -> Compliance:
    """Return judge and service; both are filled by the feature's `restore`."""

    def model_of(device: str) -> str:
        try:
            return core.book.device(device).model
        except AsepsisError:
            return ""  # Declared behind a gateway, or not known: only what was decided for it.

    judge = HubJudge(
        ComplianceBook(model_of), associations.book, associations.service, _measured_in
    )
    service = ComplianceService(
        store=core.store,
        audit=core.audit_log,
        book=judge.book,
        judge=judge,
        journal=core.journal,
        wake_relay=core.relay.wake,
    )
    return Compliance(judge, service)


def _measured_in(record: Record) -> list[tuple[str, int, Sequence[Numeric]]]:
    return [(one.device, one.start_ns, one.numerics) for one in make_readers().bundle(record)]


def open_compliance(core: Core, built: Compliance) -> Feature:
    """Open what keeps profiles, marks what arrives and watches how devices stand."""
    service, intake = built.service, core.exchange.intake
    intake.judge = built.judge
    intake.feed = MarkingFeed(intake.feed, built.judge)
    return Feature(
        people=ComplianceRoutes(service).routes(),
        restore=service.load,
        work={"compliance": service.run},
        revoked=service.forget,
        status={"compliance": service.status},
    )
