"""The second factor of people: enrolled, proved for a while, ended by an administrator.

A session that a password opened may look. What brings software onto devices, or changes accounts,
needs a code of the person's authenticator besides, shown within the last `PROVEN_S` in the same
session. It is no signature: what a device believes is signed with keys that are not here.

Source: RFC 6238 section 5.2 (a code counts once); NIST SP 800-63B sections 5.1.5.2 and 5.2.2.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from asepsis.core.errors import Conflict, NotAuthenticated, NotFound, NotPermitted
from asepsis.hub.access import totp
from asepsis.hub.access.ports import AuditWriter
from asepsis.hub.access.sessions import PROVEN_S, Session
from asepsis.hub.access.tables import factors, people, sessions
from asepsis.hub.access.throttle import SignInThrottle
from asepsis.hub.store.store import Store

WRONG_MAX: Final = 50
"""Wrong codes in a row after which only an administrator helps; three codes of a million are good
at any time, so that a guesser has a chance of 1 in 6,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorInfo:
    """How somebody stands with a second factor.

    Attributes:
        enrolled: Whether it counts.
        since_ns: Since when, nanoseconds since 1970; 0 for none.
    """

    enrolled: bool
    since_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A secret that is shown once, until a code of it shows that it arrived.

    Attributes:
        secret: As people type it.
        uri: As authenticators read it.
    """

    secret: str
    uri: str


class SecondFactors:
    """The use cases; belongs to one event loop.

    Args:
        store: Where they stand; secrets are sealed.
        audit: Gets an entry for each change, proof and refusal.
        monotonic: Monotonic clock, nanoseconds.
        issuer: What an authenticator shows beside the person's name.
        rng: Returns that many random bytes from a cryptographic source.
    """

    def __init__(
        self,
        store: Store,
        audit: AuditWriter,
        *,
        monotonic: Callable[[], int],
        issuer: str = "Asepsis",
        rng: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._audit = audit
        self._monotonic = monotonic
        self._issuer = issuer
        self._rng = rng
        self._throttle = SignInThrottle()

    async def info(self, person: str) -> FactorInfo:
        """Return how somebody stands."""
        row = await self._store.read(lambda c: _stored(c, person))
        known = row is not None and row.active
        return FactorInfo(enrolled=known, since_ns=row.since_ns if row and known else 0)

    async def begin(self, session: Session) -> Begun:
        """Make a secret for whoever is signed in; the caller has asked for the password anew.

        Raises:
            NotPermitted: There is a second factor already, and no code of it was shown.
            Conflict: A wall display.
        """
        _check_person(session)
        person, secret = session.principal.name, self._rng(totp.SECRET_BYTES)

        def work(connection: Connection) -> None:
            row = _stored(connection, person)
            if row is not None and row.active and session.principal.password_only:
                raise NotPermitted("show a code of your present second factor first")
            # The present one counts until a code of the new one was shown.
            values: dict[str, Any] = {"begun": secret}
            if row is None:
                values |= {"person": person, "secret": b"", "active": False}
                values |= {"since_ns": 0, "step": 0, "wrong": 0}
                connection.execute(insert(factors).values(**values))
            else:
                mine = factors.c.person == person
                connection.execute(update(factors).where(mine).values(**values))
            self._note(connection, person, "begin-second-factor", person)

        await self._store.write(work)
        text = totp.uri(secret, person=person, issuer=self._issuer)
        return Begun(secret=totp.spell(secret), uri=text)

    async def confirm(self, session: Session, given: str, *, address: str) -> None:
        """Let the new secret count, once a code of it was shown; other sessions end.

        Raises:
            NotAuthenticated: Not a code of it.
            NotFound: None was begun.
            RateLimited: Too many wrong ones.
        """
        _check_person(session)
        person = session.principal.name
        self._throttle.begin(person, address, now_ns=self._monotonic())
        row = await self._store.read(lambda c: _stored(c, person))
        if row is None or not row.begun:
            raise NotFound("no second factor was begun", hint="begin at your account's page")
        begun = row.begun
        step = totp.accept(begun, given, now_ns=self._store.clock(), after=0)
        self._throttle.right(person, address, now_ns=self._monotonic())

        def work(connection: Connection) -> None:
            now_ns = self._store.clock()
            mine = (factors.c.person == person) & (factors.c.since_ns == row.since_ns)
            values = {"secret": begun, "begun": b"", "active": True, "since_ns": now_ns}
            done = connection.execute(
                update(factors).where(mine).values(**values, step=step, wrong=0)
            )
            if not done.rowcount:
                raise Conflict("it was changed in between", hint="begin again")
            others = (sessions.c.person == person) & (sessions.c.id != session.id)
            connection.execute(delete(sessions).where(others))
            _set_proven(connection, session.id, now_ns)
            self._note(connection, person, "set-second-factor", person)

        await self._store.write(work)

    async def prove(self, session: Session, given: str, *, address: str) -> None:
        """Let a session do for `PROVEN_S` what needs a second factor.

        Raises:
            NotAuthenticated: Not a code of now, or one that was used.
            NotFound: There is no second factor.
            NotPermitted: Too many wrong ones in a row: an administrator ends it.
            RateLimited: Too many wrong ones lately.
        """
        _check_person(session)
        person = session.principal.name
        self._throttle.begin(person, address, now_ns=self._monotonic())
        row = await self._store.read(lambda c: _stored(c, person))
        if row is None or not row.active:
            raise NotFound("there is no second factor", hint="begin at your account's page")
        if row.wrong >= WRONG_MAX:
            raise NotPermitted("too many wrong codes in a row", hint="ask an administrator")
        try:
            step = totp.accept(row.secret, given, now_ns=self._store.clock(), after=row.step)
            await self._store.write(lambda c: self._use(c, session, step))
        except NotAuthenticated:
            await self._store.write(lambda c: self._refused(c, person, address))
            raise
        self._throttle.right(person, address, now_ns=self._monotonic())

    async def end(self, person: str, *, actor: str) -> None:
        """Take somebody's second factor away, for one who lost it; who did so stands in the log.

        Raises:
            NotFound: There is none.
            NotPermitted: One's own: another administrator does it.
        """
        if person == actor:
            raise NotPermitted("somebody else ends your second factor")

        def work(connection: Connection) -> None:
            mine = factors.c.person == person
            if not connection.execute(delete(factors).where(mine)).rowcount:
                raise NotFound(f"{person} has no second factor")
            connection.execute(
                update(sessions).where(sessions.c.person == person).values(proven_at_ns=0)
            )
            self._note(connection, actor, "end-second-factor", person)

        await self._store.write(work)

    def _use(self, connection: Connection, session: Session, step: int) -> None:
        """Use a step up: of two hubs that are shown one code at once, one refuses it."""
        person = session.principal.name
        fresh = (factors.c.person == person) & (factors.c.step < step)
        done = connection.execute(update(factors).where(fresh).values(step=step, wrong=0))
        if not done.rowcount:
            raise NotAuthenticated("the code is wrong or used", hint="wait for the next one")
        _set_proven(connection, session.id, self._store.clock())
        self._note(
            connection, person, "prove-second-factor", person, session=session.id, good_s=PROVEN_S
        )

    def _refused(self, connection: Connection, person: str, address: str) -> None:
        mine = factors.c.person == person
        connection.execute(update(factors).where(mine).values(wrong=factors.c.wrong + 1))
        self._note(connection, person, "refuse-second-factor", person, address=address)

    def _note(
        self, connection: Connection, actor: str, action: str, person: str, **detail: object
    ) -> None:
        self._audit.note(
            connection,
            actor=f"person:{actor}",
            action=action,
            subject=f"person:{person}",
            **detail,
        )


def enrolled(connection: Connection) -> set[str]:
    """Return who has a second factor that counts."""
    return set(connection.scalars(select(factors.c.person).where(factors.c.active)))


def _check_person(session: Session) -> None:
    if session.display:
        raise Conflict("a wall display has no second factor")


def _stored(connection: Connection, person: str) -> Row[tuple[Any, ...]] | None:
    return connection.execute(
        select(factors)
        .join(people, people.c.name == factors.c.person)
        .where(factors.c.person == person)
    ).one_or_none()


def _set_proven(connection: Connection, session_id: str, now_ns: int) -> None:
    connection.execute(
        update(sessions).where(sessions.c.id == session_id).values(proven_at_ns=now_ns)
    )
