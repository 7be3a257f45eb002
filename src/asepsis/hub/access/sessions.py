"""Sessions of browsers: opened by a password, borne by a cookie, ended at once.

The cookie is `<id>.<secret>`; the secret has 256 random bits and only its SHA-256 is stored. A
session ends by signing out, by its age, or when nobody has used it for a while. A wall display may
stay signed in for weeks; such a session looks and never acts.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Connection, Row, delete, insert, select, update

from asepsis.core.errors import AsepsisError, InputError, NotAuthenticated, TransientError
from asepsis.core.model.identity import PrincipalKind
from asepsis.hub.access.held import Bearer, HeldConnections
from asepsis.hub.access.ports import AuditWriter
from asepsis.hub.access.principal import Principal, Role
from asepsis.hub.access.tables import (
    ADDRESS_CHARS_MAX,
    AGENT_CHARS_MAX,
    people,
    sessions,
    tokens,
)
from asepsis.hub.store.store import Store

COOKIE: Final = "__Host-asepsis"
"""The prefix makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis section 4.1.3)."""
COOKIE_CHARS_MAX: Final = 128
ID_BYTES: Final = 8
SECRET_BYTES: Final = 32
PER_PERSON_MAX: Final = 20
"""Sessions of one person; the one that was used longest ago ends for the newest."""
NOTE_USE_EVERY_S: Final = 20
"""How exact the time of the last use is kept, in seconds: not every request writes."""
FOLLOW_EVERY_S: Final = 0.25
"""Pause between looks at which sessions have ended; well within the second that is promised."""
PROVEN_S: Final = 600
"""How long a second factor counts that was shown in a session."""
_NS: Final = 1_000_000_000
_NOBODY: Final = hashlib.sha256(b"no such session").digest()

log = structlog.get_logger("hub.access")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How long sessions last, in seconds.

    Attributes:
        idle_s: Without use.
        age_s: From signing in, whatever the use.
        display_s: The same of a wall display, which has no idle end.
    """

    idle_s: int = 900
    age_s: int = 43_200
    display_s: int = 2_592_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session that is good now.

    Attributes:
        id: Its public part, 16 hex digits.
        principal: Who is signed in, with the roles of now.
        csrf: What a form of this session must carry, hexadecimal.
        display: Whether it is a wall display's.
        expires_at_ns: End by age, nanoseconds since 1970.
    """

    id: str
    principal: Principal
    csrf: str
    display: bool
    expires_at_ns: int

    def check_csrf(self, given: str) -> None:
        """Let a form of this session pass.

        Raises:
            InputError: It does not carry this session's token.
        """
        if not hmac.compare_digest(given.encode(), self.csrf.encode()):
            raise InputError("the form is not of this session", hint="load the page again")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """What may be shown of a session; times in nanoseconds since 1970."""

    id: str
    person: str
    opened_at_ns: int
    used_at_ns: int
    expires_at_ns: int
    display: bool
    address: str
    agent: str


class SessionService:
    """Opens, recognises and ends sessions; belongs to one event loop.

    Args:
        store: Where they stand.
        audit: Gets an entry for each beginning and end.
        held: Connections by credential.
        limits: How long sessions last.
        rng: Returns that many random bytes from a cryptographic source.
    """

    def __init__(
        self,
        store: Store,
        audit: AuditWriter,
        *,
        held: HeldConnections,
        limits: SessionLimits,
        rng: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._audit = audit
        self._held = held
        self._limits = limits
        self._rng = rng

    @property
    def display_s(self) -> int:
        """How long a wall display stays signed in, in seconds."""
        return self._limits.display_s

    async def open(self, person: str, *, address: str, agent: str, display: bool = False) -> str:
        """Open a session and return its cookie.

        Args:
            person: Who showed a password.
            address: Where from.
            agent: What the browser calls itself; cut to `AGENT_CHARS_MAX`.
            display: Whether it is for a wall display.

        Raises:
            InputError: A wall display of somebody who may act, or no such person.
        """
        session_id, secret = self._rng(ID_BYTES).hex(), self._rng(SECRET_BYTES)
        age_s = self._limits.display_s if display else self._limits.age_s

        def work(connection: Connection) -> list[str]:
            _check_display(connection, person, display=display)
            ended = self._make_room(connection, person)
            now_ns = self._store.clock()
            connection.execute(
                insert(sessions).values(
                    id=session_id,
                    person=person,
                    secret_sha256=hashlib.sha256(secret).digest(),
                    opened_at_ns=now_ns,
                    used_at_ns=now_ns,
                    expires_at_ns=now_ns + age_s * _NS,
                    display=display,
                    proven_at_ns=0,
                    address=address[:ADDRESS_CHARS_MAX],
                    agent=_printable(agent)[:AGENT_CHARS_MAX],
                )
            )
            self._note(connection, person, "sign-in", person, session=session_id, display=display)
            return ended

        for each in await self._store.write(work):
            self._held.end(f"session:{each}")
        return f"{session_id}.{secret.hex()}"

    async def authenticate(
        self, cookie: str, *, connection: Bearer | None = None, used: bool = True
    ) -> Session:
        """Say whose session a cookie is.

        Args:
            cookie: Its value.
            connection: What carries the request; it ends with the session.
            used: Whether a person did something, rather than a page by itself.

        Raises:
            NotAuthenticated: Unknown, ended or expired; the answer does not tell which.
        """
        session_id, secret = _parse(cookie)
        row = await self._store.read(lambda c: _look_up(c, session_id))
        stored = _NOBODY if row is None else row.secret_sha256
        matches = hmac.compare_digest(hashlib.sha256(secret).digest(), stored)
        now_ns = self._store.clock()
        if not matches or row is None or self._is_over(row, now_ns):
            raise NotAuthenticated("the session has ended", hint="sign in again")
        if used and now_ns - row.used_at_ns > NOTE_USE_EVERY_S * _NS:
            await self._store.write(lambda c: _note_use(c, session_id, now_ns))
        if connection is not None:
            self._held.note(connection, credential=f"session:{session_id}", person=row.person)
        roles = frozenset(role for role in Role if role in row.roles.split())
        return Session(
            id=session_id,
            principal=Principal(
                kind=PrincipalKind.PERSON,
                name=row.person,
                roles=roles,
                password_only=now_ns - row.proven_at_ns >= PROVEN_S * _NS,
            ),
            csrf=hmac.new(secret, b"asepsis csrf", hashlib.sha256).hexdigest(),
            display=row.display,
            expires_at_ns=row.expires_at_ns,
        )

    async def end(self, session_id: str, *, actor: str, besides: Bearer | None = None) -> None:
        """End a session; its streams end at once. Harmless twice.

        Args:
            session_id: Public part.
            actor: Name of the person who ends it.
            besides: The connection that carries the answer.
        """

        def work(connection: Connection) -> None:
            found = connection.execute(
                delete(sessions).where(sessions.c.id == session_id).returning(sessions.c.person)
            ).scalar_one_or_none()
            if found is not None:
                self._note(connection, actor, "sign-out", found, session=session_id)

        await self._store.write(work)
        self._held.end(f"session:{session_id}", besides=besides)

    async def listing(self, person: str) -> list[SessionInfo]:
        """Return a person's sessions that are good now, the one used last first."""
        query = select(sessions).where(sessions.c.person == person)
        now_ns = self._store.clock()

        def read(connection: Connection) -> list[SessionInfo]:
            rows = connection.execute(query.order_by(sessions.c.used_at_ns.desc()))
            return [_info(row) for row in rows if not self._is_over(row, now_ns)]

        return await self._store.read(read)

    async def run(self) -> None:
        """End the streams of what ended or expired, here or by another hub, until cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            try:
                await self.step()
            except TransientError as error:
                log.warning("sessions wait", code=error.code)
            except AsepsisError as error:
                log.error("sessions cannot be followed", code=error.code)  # noqa: TRY400 - deliberate

    async def step(self) -> int:
        """Look once; return how many connections were ended."""
        held = self._held.credentials()
        if not held:
            return 0
        good = await self._store.read(self._good)
        return sum(self._held.end(each) for each in held - good)

    def _good(self, connection: Connection) -> set[str]:
        """Return every credential that is good now."""
        now_ns = self._store.clock()
        rows = connection.execute(select(sessions)).all()
        found = {f"session:{row.id}" for row in rows if not self._is_over(row, now_ns)}
        good = (tokens.c.revoked_at_ns.is_(None)) & (tokens.c.expires_at_ns > now_ns)
        found |= {f"token:{each}" for each in connection.scalars(select(tokens.c.id).where(good))}
        return found

    def _is_over(self, row: Row[tuple[object, ...]], now_ns: int) -> bool:
        idle = not row.display and now_ns - row.used_at_ns >= self._limits.idle_s * _NS
        return idle or now_ns >= row.expires_at_ns

    def _make_room(self, connection: Connection, person: str) -> list[str]:
        """Remove a person's sessions that are over, and the stalest of too many."""
        now_ns = self._store.clock()
        query = select(sessions).where(sessions.c.person == person)
        rows = connection.execute(query.order_by(sessions.c.used_at_ns.desc())).all()
        good = [row.id for row in rows if not self._is_over(row, now_ns)]
        kept = set(good[: PER_PERSON_MAX - 1])
        ended = [row.id for row in rows if row.id not in kept]
        connection.execute(delete(sessions).where(sessions.c.id.in_(ended)))
        return ended

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


def _check_display(connection: Connection, person: str, *, display: bool) -> None:
    roles = connection.execute(
        select(people.c.roles).where(people.c.name == person)
    ).scalar_one_or_none()
    if roles is None:
        raise InputError("there is no such person")
    if display and set(roles.split()) != {Role.VIEWER.value}:
        raise InputError(
            "only an account that may just look stays signed in on a wall display",
            hint="sign in there with an account whose only role is viewer",
        )


def _look_up(connection: Connection, session_id: str) -> Row[tuple[object, ...]] | None:
    return connection.execute(
        select(sessions, people.c.roles)
        .join(people, people.c.name == sessions.c.person)
        .where(sessions.c.id == session_id)
    ).one_or_none()


def _note_use(connection: Connection, session_id: str, now_ns: int) -> None:
    connection.execute(
        update(sessions).where(sessions.c.id == session_id).values(used_at_ns=now_ns)
    )


def _info(row: Row[tuple[object, ...]]) -> SessionInfo:
    return SessionInfo(
        id=row.id,
        person=row.person,
        opened_at_ns=row.opened_at_ns,
        used_at_ns=row.used_at_ns,
        expires_at_ns=row.expires_at_ns,
        display=row.display,
        address=row.address,
        agent=row.agent,
    )


def _parse(cookie: str) -> tuple[str, bytes]:
    session_id, dot, secret = cookie[:COOKIE_CHARS_MAX].partition(".")
    try:
        raw = bytes.fromhex(secret)
    except ValueError as error:
        raise NotAuthenticated("the session has ended", hint="sign in again") from error
    if not dot or len(session_id) != 2 * ID_BYTES or not session_id.isalnum():
        raise NotAuthenticated("the session has ended", hint="sign in again")
    return session_id, raw


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
