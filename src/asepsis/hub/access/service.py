"""People and their bearer tokens.

A token is `asepsis.<id>.<secret>`. The secret has 256 random bits; only its SHA-256 is stored, and
it is compared in constant time. A token dies at its expiry or when it is revoked, at the next
request.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, select, update

from asepsis.core.errors import ConfigError, InputError, NotAuthenticated, NotFound
from asepsis.core.model.identity import PrincipalKind
from asepsis.hub.access.ports import AuditWriter
from asepsis.hub.access.principal import Principal, Role
from asepsis.hub.access.tables import PERSON_CHARS_MAX, people, tokens
from asepsis.hub.store.store import Store

DAY_NS: Final = 86_400_000_000_000
TOKEN_DAYS_DEFAULT: Final = 90
TOKEN_DAYS_MAX: Final = 366
SECRET_BYTES: Final = 32
ID_BYTES: Final = 8
HEADER_BYTES_MAX: Final = 256
"""Longest Authorization header looked at."""
FIRST_ADMINISTRATOR: Final = "administrator"
_PREFIX: Final = "asepsis."
_NOBODY: Final = hashlib.sha256(b"no such token").digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """What may be shown of a token.

    Attributes:
        id: Its public part, 16 hex digits.
        person: Whose it is.
        issued_at_ns: When, nanoseconds since 1970.
        expires_at_ns: Until when it is good, nanoseconds since 1970.
        revoked: Whether it was revoked.
    """

    id: str
    person: str
    issued_at_ns: int
    expires_at_ns: int
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """A person, and the public part of the token that was shown."""

    principal: Principal
    token_id: str


class PeopleService:
    """Adds people, gives them tokens, and says who stands behind one.

    Args:
        store: Where they stand.
        audit: Gets an entry for each change.
        rng: Returns that many random bytes from a cryptographic source.
    """

    def __init__(
        self,
        store: Store,
        audit: AuditWriter,
        *,
        rng: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._audit = audit
        self._rng = rng

    def add_person(self, name: str, roles: Iterable[Role], *, actor: str) -> None:
        """Add a person.

        Raises:
            InputError: The name is empty, too long or unprintable, or there is no role.
            Conflict: There is a person of that name.
        """
        with self._store.unit_of_work() as connection:
            self.put_person(connection, name, frozenset(roles), actor=actor)

    def set_roles(self, name: str, roles: Iterable[Role], *, actor: str) -> None:
        """Replace a person's roles; they hold from the next request on.

        Raises:
            InputError: There is no role.
            NotFound: No such person.
        """
        with self._store.unit_of_work() as connection:
            self.put_roles(connection, name, frozenset(roles), actor=actor)

    def issue_token(self, person: str, *, actor: str, days: int = TOKEN_DAYS_DEFAULT) -> str:
        """Give a person a token; it is shown this once.

        Raises:
            InputError: Not 1 to `TOKEN_DAYS_MAX` days.
            NotFound: No such person.
        """
        with self._store.unit_of_work() as connection:
            return self._issue(connection, person, days=days, actor=actor)

    def revoke_token(self, token_id: str, *, actor: str) -> None:
        """End a token; a revoked one stays in the list.

        Raises:
            NotFound: No such token that is not revoked yet.
        """
        with self._store.unit_of_work() as connection:
            done = connection.execute(
                update(tokens)
                .where(tokens.c.id == token_id, tokens.c.revoked_at_ns.is_(None))
                .values(revoked_at_ns=self._store.clock())
            )
            if not done.rowcount:
                raise NotFound("there is no such token")
            self._audit.note(
                connection, actor=actor, action="revoke-token", subject=f"token:{token_id}"
            )

    def list_tokens(self) -> list[TokenInfo]:
        """Return every token without its secret, by person and date."""
        with self._store.reading() as connection:
            rows = connection.execute(
                select(tokens).order_by(tokens.c.person, tokens.c.issued_at_ns)
            )
            return [
                TokenInfo(
                    id=row.id,
                    person=row.person,
                    issued_at_ns=row.issued_at_ns,
                    expires_at_ns=row.expires_at_ns,
                    revoked=row.revoked_at_ns is not None,
                )
                for row in rows
            ]

    async def authenticate(self, authorization: bytes | None) -> Principal:
        """Say who stands behind an Authorization header; errors as `recognise`."""
        return (await self.recognise(authorization)).principal

    async def recognise(self, authorization: bytes | None) -> Recognised:
        """Say who stands behind an Authorization header, and by which token.

        Raises:
            NotAuthenticated: None, not a bearer token, or one that is unknown, expired or revoked;
                the answer does not tell which.

        Source: RFC 6750 section 2.1.
        """
        token_id, secret = _parse(authorization)
        found = await self._store.read(lambda connection: _look_up(connection, token_id))
        stored, expires_at_ns, principal = found
        matches = hmac.compare_digest(hashlib.sha256(secret).digest(), stored)
        if not matches or principal is None or self._store.clock() >= expires_at_ns:
            raise NotAuthenticated("the token is not good", hint="ask an administrator for one")
        return Recognised(principal=principal, token_id=token_id)

    def ensure_first_administrator(self, path: Path) -> bool:
        """Make the first administrator, whose token goes to a file that only its owner reads.

        Does nothing once there is a person with that role. Interrupted, it can be called again.

        Args:
            path: File for the token, mode 0600; replaced if it exists.

        Returns:
            Whether an administrator was made.

        Raises:
            ConfigError: The file cannot be written; then nothing is stored.
        """
        with self._store.unit_of_work() as connection:
            for roles in connection.execute(select(people.c.roles)).scalars():
                if Role.ADMINISTRATOR in roles.split():
                    return False
            self.put_person(
                connection, FIRST_ADMINISTRATOR, frozenset({Role.ADMINISTRATOR}), actor="init"
            )
            token = self._issue(connection, FIRST_ADMINISTRATOR, days=TOKEN_DAYS_MAX, actor="init")
            # Before the commit: a token nobody can read would lock everybody out.
            _write_secret(path, token)
        return True

    def put_person(
        self, connection: Connection, name: str, roles: frozenset[Role], *, actor: str
    ) -> None:
        """Add a person in the caller's unit of work; errors as `add_person`."""
        if not 1 <= len(name) <= PERSON_CHARS_MAX or not name.isprintable():
            raise InputError(f"a person's name has 1 to {PERSON_CHARS_MAX} printable characters")
        words = _words(roles)
        connection.execute(
            insert(people).values(name=name, roles=words, added_at_ns=self._store.clock())
        )
        self._audit.note(
            connection, actor=actor, action="add-person", subject=f"person:{name}", roles=words
        )

    def put_roles(
        self, connection: Connection, name: str, roles: frozenset[Role], *, actor: str
    ) -> None:
        """Replace a person's roles in the caller's unit of work; errors as `set_roles`."""
        words = _words(roles)
        done = connection.execute(update(people).where(people.c.name == name).values(roles=words))
        if not done.rowcount:
            raise NotFound(f"there is no person {name}")
        self._audit.note(
            connection, actor=actor, action="set-roles", subject=f"person:{name}", roles=words
        )

    def _issue(self, connection: Connection, person: str, *, days: int, actor: str) -> str:
        if not 1 <= days <= TOKEN_DAYS_MAX:
            raise InputError(f"a token is good for 1 to {TOKEN_DAYS_MAX} days")
        if connection.execute(select(people).where(people.c.name == person)).first() is None:
            raise NotFound(f"there is no person {person}")
        token_id, secret = self._rng(ID_BYTES).hex(), self._rng(SECRET_BYTES)
        now_ns = self._store.clock()
        connection.execute(
            insert(tokens).values(
                id=token_id,
                person=person,
                secret_sha256=hashlib.sha256(secret).digest(),
                issued_at_ns=now_ns,
                expires_at_ns=now_ns + days * DAY_NS,
            )
        )
        self._audit.note(
            connection,
            actor=actor,
            action="issue-token",
            subject=f"person:{person}",
            token=token_id,
            days=days,
        )
        return f"{_PREFIX}{token_id}.{secret.hex()}"


def _words(roles: frozenset[Role]) -> str:
    if not roles:
        raise InputError("a person has at least one role")
    return " ".join(sorted(roles))


def _parse(authorization: bytes | None) -> tuple[str, bytes]:
    if authorization is None:
        raise NotAuthenticated("a bearer token is needed")
    scheme, _, value = authorization[:HEADER_BYTES_MAX].partition(b" ")
    token = value.strip().decode("latin-1")
    token_id, dot, secret = token.removeprefix(_PREFIX).partition(".")
    if scheme.lower() != b"bearer" or not token.startswith(_PREFIX) or not dot:
        raise NotAuthenticated("a bearer token is needed")
    try:
        return token_id, bytes.fromhex(secret)
    except ValueError as error:
        raise NotAuthenticated("the token is not good") from error


def _look_up(connection: Connection, token_id: str) -> tuple[bytes, int, Principal | None]:
    row = connection.execute(
        select(tokens.c.secret_sha256, tokens.c.expires_at_ns, people.c.name, people.c.roles)
        .join(people, people.c.name == tokens.c.person)
        .where(tokens.c.id == token_id, tokens.c.revoked_at_ns.is_(None))
    ).one_or_none()
    if row is None:
        return _NOBODY, 0, None
    # A word that is no role (of a newer program, say) gives nothing.
    roles = frozenset(role for role in Role if role in row.roles.split())
    principal = Principal(kind=PrincipalKind.PERSON, name=row.name, roles=roles)
    return row.secret_sha256, row.expires_at_ns, principal


def _write_secret(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".new")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write the administrator's token to {path}") from error
