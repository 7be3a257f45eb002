"""Everything about people, put together once: tokens, passwords, sessions, connections."""

from collections.abc import Callable
from dataclasses import dataclass

from asepsis.hub.access.accounts import Accounts
from asepsis.hub.access.factors import SecondFactors
from asepsis.hub.access.held import HeldConnections
from asepsis.hub.access.http import Credentials
from asepsis.hub.access.ports import AuditWriter
from asepsis.hub.access.service import PeopleService
from asepsis.hub.access.sessions import SessionLimits, SessionService
from asepsis.hub.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What recognises people, and what manages them.

    Attributes:
        people: People and their tokens.
        held: Connections by credential.
        sessions: Sessions of browsers.
        accounts: Passwords and the list of people.
        factors: Second factors.
        credentials: What the people listener authenticates with.
    """

    people: PeopleService
    held: HeldConnections
    sessions: SessionService
    accounts: Accounts
    factors: SecondFactors
    credentials: Credentials


def build_access(
    store: Store,
    audit: AuditWriter,
    *,
    limits: SessionLimits,
    monotonic: Callable[[], int],
) -> Access:
    """Put it together.

    Args:
        store: Where people, passwords and sessions stand.
        audit: Gets an entry for each change.
        limits: How long sessions last.
        monotonic: Monotonic clock, nanoseconds.

    Resource handling: `Access.accounts.close` ends the threads that stretch passwords.
    """
    people, held = PeopleService(store, audit), HeldConnections()
    sessions = SessionService(store, audit, held=held, limits=limits)
    return Access(
        people=people,
        held=held,
        sessions=sessions,
        accounts=Accounts(
            store, audit, people=people, sessions=sessions, held=held, monotonic=monotonic
        ),
        factors=SecondFactors(store, audit, monotonic=monotonic),
        credentials=Credentials(people, sessions, held),
    )
