"""Local accounts: sign in with a password, set one, list and remove people."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from asepsis.core.errors import Conflict, NotAuthenticated, NotFound
from asepsis.hub.access.factors import enrolled
from asepsis.hub.access.held import Bearer, HeldConnections
from asepsis.hub.access.passwords import PASSWORD_CHARS_MAX, PasswordDesk, check_new_password
from asepsis.hub.access.ports import AuditWriter
from asepsis.hub.access.principal import Role
from asepsis.hub.access.service import PeopleService
from asepsis.hub.access.sessions import SessionService
from asepsis.hub.access.tables import PERSON_CHARS_MAX, factors, passwords, people, sessions, tokens
from asepsis.hub.access.throttle import SignInThrottle
from asepsis.hub.store.store import Store

UNKNOWN: Final = "person:unknown"
"""Subject of a failed sign-in without an account: what was typed may be a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonInfo:
    """What may be shown of a person.

    Attributes:
        name: Name of the account.
        roles: What the person does.
        added_at_ns: When, nanoseconds since 1970.
        password: Whether there is one to sign in with.
        sessions: Sessions that were not ended; some may have expired.
        tokens: Tokens that were not revoked; some may have expired.
        second_factor: Whether an authenticator is enrolled.
    """

    name: str
    roles: tuple[str, ...]
    added_at_ns: int
    password: bool
    sessions: int
    tokens: int
    second_factor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """What somebody typed, and where.

    Attributes:
        name: Name of the account.
        password: The password.
        address: Peer address.
        agent: What the browser calls itself.
        display: Whether a wall display is to stay signed in.
    """

    name: str
    password: str
    address: str
    agent: str
    display: bool = False


class Accounts:
    """The use cases of accounts; belongs to one event loop.

    Args:
        store: Where they stand.
        audit: Gets an entry for each change and each refusal.
        people: Writes people and roles.
        sessions: Opens what a right password earns.
        held: Connections by credential.
        monotonic: Monotonic clock, nanoseconds.
    """

    def __init__(
        self,
        store: Store,
        audit: AuditWriter,
        *,
        people: PeopleService,
        sessions: SessionService,
        held: HeldConnections,
        monotonic: Callable[[], int],
    ) -> None:
        self._store = store
        self._audit = audit
        self._people = people
        self._sessions = sessions
        self._held = held
        self._monotonic = monotonic
        self._throttle = SignInThrottle()
        self._desk = PasswordDesk()

    async def sign_in(self, given: SignIn) -> str:
        """Open a session and return its cookie.

        An account that does not exist, has no password or has another one is refused alike, after
        the same time.

        Raises:
            NotAuthenticated: Name and password do not fit together.
            RateLimited: Too many wrong ones; says when to try again.
            InputError: A wall display of somebody who may act.
        """
        name = given.name[: PERSON_CHARS_MAX + 1]
        self._throttle.begin(name, given.address, now_ns=self._monotonic())
        phc = await self._store.read(lambda c: _stored(c, name))
        try:
            await self._desk.verify(given.password[: PASSWORD_CHARS_MAX + 1], phc)
        except NotAuthenticated:
            await self._refused(UNKNOWN if phc is None else f"person:{name}", given.address)
            raise
        self._throttle.right(name, given.address, now_ns=self._monotonic())
        return await self._sessions.open(
            name, address=given.address, agent=given.agent, display=given.display
        )

    async def change_password(
        self, person: str, *, old: str, new: str, address: str, besides: Bearer | None
    ) -> None:
        """Replace one's own password; every session of the person ends.

        Raises:
            NotAuthenticated: The old one is wrong.
            RateLimited: Too many wrong ones.
            InputError: The new one is not good enough.
        """
        check_new_password(new, person=person)
        await self.check_password(person, old, address=address)
        await self.set_password(person, new, actor=person, besides=besides)

    async def check_password(self, person: str, password: str, *, address: str) -> None:
        """Ask somebody who is signed in for the password anew.

        Raises:
            NotAuthenticated: It is wrong.
            RateLimited: Too many wrong ones.
        """
        self._throttle.begin(person, address, now_ns=self._monotonic())
        phc = await self._store.read(lambda c: _stored(c, person))
        await self._desk.verify(password[: PASSWORD_CHARS_MAX + 1], phc)
        self._throttle.right(person, address, now_ns=self._monotonic())

    async def set_password(
        self, person: str, password: str, *, actor: str, besides: Bearer | None = None
    ) -> None:
        """Give a person a password; every session of the person ends.

        Raises:
            InputError: It is not good enough.
            NotFound: No such person.
        """
        check_new_password(password, person=person)
        phc = await self._desk.stretch(password)

        def work(connection: Connection) -> None:
            _require(connection, person)
            now_ns = self._store.clock()
            values = {"phc": phc, "set_at_ns": now_ns}
            mine = passwords.c.person == person
            if not connection.execute(update(passwords).where(mine).values(**values)).rowcount:
                connection.execute(insert(passwords).values(person=person, **values))
            connection.execute(delete(sessions).where(sessions.c.person == person))
            self._note(connection, actor, "set-password", person)

        await self._store.write(work)
        self._held.end_person(person, besides=besides)

    async def add(self, person: str, roles: Iterable[Role], *, actor: str) -> None:
        """Add a person; errors as `PeopleService.add_person`."""
        given = frozenset(roles)
        await self._store.write(
            lambda c: self._people.put_person(c, person, given, actor=f"person:{actor}")
        )

    async def set_roles(self, person: str, roles: Iterable[Role], *, actor: str) -> None:
        """Replace a person's roles; streams that the old ones opened end at once.

        Raises:
            InputError: There is no role.
            NotFound: No such person.
            Conflict: It is the last administrator, who could not be replaced.
        """
        given = frozenset(roles)

        def work(connection: Connection) -> None:
            if Role.ADMINISTRATOR not in given:
                _require_another_administrator(connection, person)
            if given != frozenset({Role.VIEWER}):
                # A wall display looks and never acts, whatever its account may do from now on.
                display = (sessions.c.person == person) & sessions.c.display
                connection.execute(delete(sessions).where(display))
            self._people.put_roles(connection, person, given, actor=f"person:{actor}")

        await self._store.write(work)
        self._held.end_person(person)

    async def remove(self, person: str, *, actor: str, besides: Bearer | None = None) -> None:
        """Remove a person with password, tokens and sessions; streams end at once.

        Raises:
            NotFound: No such person.
            Conflict: It is the last administrator, who could not be replaced.
        """

        def work(connection: Connection) -> None:
            _require(connection, person)
            _require_another_administrator(connection, person)
            for table in (sessions, passwords, tokens, factors):
                connection.execute(delete(table).where(table.c.person == person))
            connection.execute(delete(people).where(people.c.name == person))
            self._note(connection, actor, "remove-person", person)

        await self._store.write(work)
        self._held.end_person(person, besides=besides)

    async def listing(self) -> list[PersonInfo]:
        """Return everybody by name."""
        return await self._store.read(_everybody)

    def close(self) -> None:
        """End the threads that stretch passwords."""
        self._desk.close()

    async def _refused(self, subject: str, address: str) -> None:
        def work(connection: Connection) -> None:
            self._audit.note(
                connection,
                actor="nobody",
                action="refuse-sign-in",
                subject=subject,
                address=address,
            )

        await self._store.write(work)

    def _note(self, connection: Connection, actor: str, action: str, person: str) -> None:
        self._audit.note(
            connection, actor=f"person:{actor}", action=action, subject=f"person:{person}"
        )


def _stored(connection: Connection, name: str) -> str | None:
    return connection.execute(
        select(passwords.c.phc).where(passwords.c.person == name)
    ).scalar_one_or_none()


def _require(connection: Connection, person: str) -> None:
    if connection.execute(select(people.c.name).where(people.c.name == person)).first() is None:
        raise NotFound(f"there is no person {person}")


def _require_another_administrator(connection: Connection, person: str) -> None:
    rows = connection.execute(select(people.c.name, people.c.roles)).all()
    administrators = {row.name for row in rows if Role.ADMINISTRATOR in row.roles.split()}
    if administrators == {person}:
        raise Conflict("this is the last administrator", hint="add another one first")


def _everybody(connection: Connection) -> list[PersonInfo]:
    with_password = set(connection.scalars(select(passwords.c.person)))
    with_factor = enrolled(connection)
    open_sessions = list(connection.scalars(select(sessions.c.person)))
    good = select(tokens.c.person).where(tokens.c.revoked_at_ns.is_(None))
    good_tokens = list(connection.scalars(good))
    return [
        PersonInfo(
            name=row.name,
            roles=tuple(row.roles.split()),
            added_at_ns=row.added_at_ns,
            password=row.name in with_password,
            sessions=open_sessions.count(row.name),
            tokens=good_tokens.count(row.name),
            second_factor=row.name in with_factor,
        )
        for row in connection.execute(select(people).order_by(people.c.name))
    ]
