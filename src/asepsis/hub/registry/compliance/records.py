"""Rows of compliance: reads and writes inside a transaction of their caller."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from asepsis.core.compliance.profile import Interface, Profile, read_profile
from asepsis.core.errors import Conflict, LimitExceeded, NotFound
from asepsis.hub.registry.compliance.tables import admissions, profiles
from asepsis.hub.store.store import next_number
from asepsis.hub.store.tables import counters

COUNTER: Final = "compliance"
PROFILES_MAX: Final = 2_000
ADMISSIONS_MAX: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What was decided about a device or model on one interface.

    Attributes:
        subject: Name of the device, or of the model.
        interface: How it speaks.
        profile: Name of the profile.
        version: Its version.
        conformant_until_ns: Until when its certificate of conformance holds, nanoseconds since
            1970; None where none was asked for.
        decided_ns: When it was decided.
        person: By whom.
        lapse_told: Whether the work item about a lapse was opened.
    """

    subject: str
    interface: Interface
    profile: str
    version: int
    conformant_until_ns: int | None
    decided_ns: int
    person: str
    lapse_told: bool = False

    def lapsed(self, now_ns: int) -> bool:
        """Whether its certificate of conformance is over."""
        return self.conformant_until_ns is not None and self.conformant_until_ns <= now_ns


@dataclass(frozen=True, slots=True)
class Stored:
    """A version of a profile with who added it."""

    profile: Profile
    document: bytes
    added_ns: int
    person: str


@dataclass(frozen=True, slots=True)
class State:
    """Everything, as read in one transaction; small enough to be held in memory.

    Attributes:
        version: Number of the last change.
        stored: Every version of every profile, by name and version.
        admissions: Every decision.
    """

    version: int
    stored: tuple[Stored, ...]
    admissions: tuple[Admission, ...]


def version_of(connection: Connection) -> int:
    """Return the number of the last change."""
    found = connection.execute(
        select(counters.c.value).where(counters.c.name == COUNTER)
    ).scalar_one_or_none()
    return found or 0


def read_state(connection: Connection) -> State:
    """Return everything."""
    stored = connection.execute(
        select(profiles).order_by(profiles.c.name, profiles.c.version).limit(PROFILES_MAX)
    )
    decided = connection.execute(
        select(admissions)
        .order_by(admissions.c.subject, admissions.c.interface)
        .limit(ADMISSIONS_MAX)
    )
    return State(
        version_of(connection),
        tuple(
            Stored(read_profile(row.document), row.document, row.added_ns, row.person)
            for row in stored
        ),
        tuple(
            Admission(
                subject=row.subject,
                interface=Interface(row.interface),
                profile=row.profile,
                version=row.version,
                conformant_until_ns=row.conformant_until_ns,
                decided_ns=row.decided_ns,
                person=row.person,
                lapse_told=row.lapse_told,
            )
            for row in decided
        ),
    )


def put_profile(connection: Connection, document: bytes, *, person: str, now_ns: int) -> Profile:
    """Add a version of a profile; the same bytes again are no error.

    Raises:
        InputError: Not a profile.
        Conflict: Another document has this name and version.
        LimitExceeded: Too many profiles.
    """
    profile = read_profile(document)
    there = connection.execute(
        select(profiles.c.document).where(
            profiles.c.name == profile.name, profiles.c.version == profile.version
        )
    ).scalar_one_or_none()
    if there == document:
        return profile
    if there is not None:
        raise Conflict(f"{profile.title} is another document", hint="raise its version by one")
    if len(connection.execute(select(profiles.c.name)).all()) >= PROFILES_MAX:
        raise LimitExceeded(f"a hub keeps at most {PROFILES_MAX} versions of profiles")
    connection.execute(
        insert(profiles).values(
            name=profile.name,
            version=profile.version,
            document=document,
            added_ns=now_ns,
            person=person,
        )
    )
    next_number(connection, COUNTER)
    return profile


def put_admission(connection: Connection, admission: Admission) -> None:
    """Decide, or decide anew.

    Raises:
        NotFound: No such version of a profile.
        Conflict: The profile is for another interface.
    """
    document = connection.execute(
        select(profiles.c.document).where(
            profiles.c.name == admission.profile, profiles.c.version == admission.version
        )
    ).scalar_one_or_none()
    if document is None:
        raise NotFound("there is no such version of a profile", hint="asepsis profile list")
    if read_profile(document).interface is not admission.interface:
        raise Conflict("the profile is for another interface")
    remove_admission(connection, admission.subject, admission.interface)
    connection.execute(
        insert(admissions).values(
            subject=admission.subject,
            interface=admission.interface.value,
            profile=admission.profile,
            version=admission.version,
            conformant_until_ns=admission.conformant_until_ns,
            decided_ns=admission.decided_ns,
            person=admission.person,
            lapse_told=False,
        )
    )
    next_number(connection, COUNTER)


def remove_admission(connection: Connection, subject: str, interface: Interface) -> bool:
    """End a decision; say whether there was one."""
    gone = connection.execute(
        delete(admissions).where(
            admissions.c.subject == subject, admissions.c.interface == interface.value
        )
    )
    next_number(connection, COUNTER)
    return gone.rowcount > 0


def mark_told(connection: Connection, admission: Admission) -> bool:
    """Note that the work item about a lapse is open; False if another hub did it."""
    changed = connection.execute(
        update(admissions)
        .where(
            admissions.c.subject == admission.subject,
            admissions.c.interface == admission.interface.value,
            admissions.c.lapse_told.is_(False),
        )
        .values(lapse_told=True)
    )
    next_number(connection, COUNTER)
    return changed.rowcount > 0
