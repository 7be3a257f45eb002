"""Tables of access: people and the hashes of their bearer tokens."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    LargeBinary,
    Named,
    String,
    Table,
    TypedColumns,
)

from asepsis.hub.store.metadata import METADATA

PERSON_CHARS_MAX: Final = 120


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


people = Table("people", METADATA, PersonColumns)
tokens = Table("tokens", METADATA, TokenColumns)
