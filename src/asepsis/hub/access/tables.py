"""Tables of access: people, and what proves them: tokens, passwords, sessions, factors."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    Named,
    String,
    Table,
    TypedColumns,
)

from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.sealed import Sealed

PERSON_CHARS_MAX: Final = 120
PHC_CHARS_MAX: Final = 200
ADDRESS_CHARS_MAX: Final = 64
AGENT_CHARS_MAX: Final = 200
SESSION_ID_CHARS: Final = 16


class PersonColumns(TypedColumns):
    """People who work with the hub; roles are separated by spaces."""

    name: Named[str] = Column(String(PERSON_CHARS_MAX), primary_key=True)
    roles: Named[str] = Column(String(120), nullable=False)
    added_at_ns: Named[int] = Column(BigInteger, nullable=False)


class TokenColumns(TypedColumns):
    """Bearer tokens: only the SHA-256 of each; 256 random bits need no salt and no slow hash."""

    id: Named[str] = Column(String(16), primary_key=True)
    person: Named[str] = Column(
        String(PERSON_CHARS_MAX), ForeignKey("people.name"), nullable=False, index=True
    )
    secret_sha256: Named[bytes] = Column(LargeBinary, nullable=False)
    issued_at_ns: Named[int] = Column(BigInteger, nullable=False)
    expires_at_ns: Named[int] = Column(BigInteger, nullable=False)
    revoked_at_ns: Named[int | None] = Column(BigInteger)


class PasswordColumns(TypedColumns):
    """At most one password of a person: Argon2id in PHC form, see `access/passwords.py`."""

    person: Named[str] = Column(
        String(PERSON_CHARS_MAX), ForeignKey("people.name"), primary_key=True
    )
    phc: Named[str] = Column(String(PHC_CHARS_MAX), nullable=False)
    set_at_ns: Named[int] = Column(BigInteger, nullable=False)


class SessionColumns(TypedColumns):
    """Sessions of browsers: only the SHA-256 of the cookie, as with tokens."""

    id: Named[str] = Column(String(SESSION_ID_CHARS), primary_key=True)
    person: Named[str] = Column(
        String(PERSON_CHARS_MAX), ForeignKey("people.name"), nullable=False, index=True
    )
    secret_sha256: Named[bytes] = Column(LargeBinary, nullable=False)
    opened_at_ns: Named[int] = Column(BigInteger, nullable=False)
    used_at_ns: Named[int] = Column(BigInteger, nullable=False)
    expires_at_ns: Named[int] = Column(BigInteger, nullable=False)
    display: Named[bool] = Column(Boolean, nullable=False)
    address: Named[str] = Column(String(ADDRESS_CHARS_MAX), nullable=False)
    agent: Named[str] = Column(String(AGENT_CHARS_MAX), nullable=False)
    # When a second factor was shown in it last; 0 for never.
    proven_at_ns: Named[int] = Column(BigInteger, nullable=False)


class FactorColumns(TypedColumns):
    """At most one second factor of a person, see `access/factors.py`."""

    person: Named[str] = Column(
        String(PERSON_CHARS_MAX), ForeignKey("people.name"), primary_key=True
    )
    secret: Named[bytes] = Column(Sealed("second_factors.secret"), nullable=False)
    # A secret of which no code was shown yet; empty for none.
    begun: Named[bytes] = Column(Sealed("second_factors.begun"), nullable=False)
    active: Named[bool] = Column(Boolean, nullable=False)
    since_ns: Named[int] = Column(BigInteger, nullable=False)
    # The last time step whose code was taken: a code counts once.
    step: Named[int] = Column(BigInteger, nullable=False)
    wrong: Named[int] = Column(Integer, nullable=False)


people = Table("people", METADATA, PersonColumns)
tokens = Table("tokens", METADATA, TokenColumns)
passwords = Table("passwords", METADATA, PasswordColumns)
sessions = Table("sessions", METADATA, SessionColumns)
factors = Table("second_factors", METADATA, FactorColumns)
