"""What the pages of the console ask; put together in `hub/app/console.py`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from litestar.di import NamedDependency

from asepsis.core.model.association import Association
from asepsis.hub.access.accounts import Accounts
from asepsis.hub.access.factors import SecondFactors
from asepsis.hub.access.http import Credentials
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.sessions import SessionService
from asepsis.hub.console.pages import Frame
from asepsis.hub.console.ports import Alarms, Decisions, Presence, Whereabouts
from asepsis.hub.console.trend import Chart
from asepsis.hub.console.updates import Updates
from asepsis.hub.delivery.people import DeadLetters
from asepsis.hub.delivery.service import DeliveryService
from asepsis.hub.registry.associations.book import Patient
from asepsis.hub.registry.http_people import StatusSource
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One console's.

    Attributes:
        frame: What stands around every page.
        credentials: Recognises people.
        accounts: Sign-in and passwords.
        factors: Second factors.
        sessions: Sessions of browsers.
        store: State, for what has no service.
        registry: Enrolment and revocation.
        presence: Who is heard.
        alarms: Alarm conditions.
        whereabouts: Whose device this is and where it stands.
        decisions: What people decide about associations.
        status: Section -> what it says now; filled before the listeners open.
        letters: What people decide about dead letters; each act is audited.
        deliveries: Where data may leave to.
        attested: How a device stands by the word of its TPM: words, tone, and how the TPM is known.
        updates: Software for devices.
        charts: Trends of a device for somebody; none for who may not see them.
    """

    frame: Frame
    credentials: Credentials
    accounts: Accounts
    factors: SecondFactors
    sessions: SessionService
    store: Store
    registry: RegistryService
    presence: Presence
    alarms: Alarms
    whereabouts: Whereabouts
    decisions: Decisions
    status: Mapping[str, StatusSource]
    letters: DeadLetters
    deliveries: DeliveryService
    attested: Callable[[str], Awaitable[tuple[str, str, str]]]
    updates: Updates
    charts: Callable[[str, Principal], Awaitable[Sequence[Chart]]]

    def patient(self, association: Association) -> Patient:
        """Return who an association is about; only the number where ADT says no more."""
        for bed in self.whereabouts.beds():
            if bed.patient is not None and bed.patient.id == association.patient:
                return bed.patient
        return Patient(id=association.patient, name="", birth_date="", admitted_ns=0)


Console = NamedDependency[Services]
"""How a handler takes them."""
