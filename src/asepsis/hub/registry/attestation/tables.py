"""Tables of attestation: makers of TPMs, releases, floors, and how each device stands."""

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    Named,
    String,
    Table,
    Text,
    TypedColumns,
)

from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.hub.store.metadata import METADATA

MODEL_CHARS_MAX = 256
RELEASE_CHARS_MAX = 120
PERSON_CHARS_MAX = 160
DIGEST_CHARS = 64


class MakerColumns(TypedColumns):
    """CA certificates of makers of TPMs whom the hospital trusts."""

    sha256: Named[str] = Column(String(DIGEST_CHARS), primary_key=True)
    subject: Named[str] = Column(String(512), nullable=False)
    certificate: Named[bytes] = Column(LargeBinary, nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS_MAX), nullable=False)
    added_ns: Named[int] = Column(BigInteger, nullable=False)


class ReleaseColumns(TypedColumns):
    """What a release of a model is measured as."""

    model: Named[str] = Column(String(MODEL_CHARS_MAX), primary_key=True)
    name: Named[str] = Column(String(RELEASE_CHARS_MAX), primary_key=True)
    number: Named[int] = Column(Integer, nullable=False)
    # JSON: register -> value; a list of hashes.
    registers: Named[str] = Column(Text, nullable=False)
    parts: Named[str] = Column(Text, nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS_MAX), nullable=False)
    added_ns: Named[int] = Column(BigInteger, nullable=False)


class FloorColumns(TypedColumns):
    """The oldest release of a model that may run."""

    model: Named[str] = Column(String(MODEL_CHARS_MAX), primary_key=True)
    number: Named[int] = Column(Integer, nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS_MAX), nullable=False)
    decided_ns: Named[int] = Column(BigInteger, nullable=False)


class AttestedColumns(TypedColumns):
    """One device: who opened its commissioning, its TPM, and the newest verdict."""

    device: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    person: Named[str] = Column(String(PERSON_CHARS_MAX), nullable=False)
    opened_ns: Named[int] = Column(BigInteger, nullable=False)
    until_ns: Named[int] = Column(BigInteger, nullable=False)
    # Hash of the EK that a person recorded; empty where the maker's certificate decides.
    recorded: Named[str] = Column(String(DIGEST_CHARS), nullable=False)
    ek_sha256: Named[str] = Column(String(DIGEST_CHARS), nullable=False)
    ak: Named[bytes | None] = Column(LargeBinary)
    bound_ns: Named[int] = Column(BigInteger, nullable=False)
    # Register 7 and the counter at commissioning; empty until the first accepted answer.
    secure_boot: Named[str] = Column(String(DIGEST_CHARS), nullable=False)
    floor_base: Named[int] = Column(BigInteger, nullable=False)
    resets: Named[int] = Column(BigInteger, nullable=False)
    clock_ms: Named[int] = Column(BigInteger, nullable=False)
    standing: Named[str] = Column(String(10), nullable=False)
    reason: Named[str] = Column(Text, nullable=False)
    release: Named[str] = Column(String(RELEASE_CHARS_MAX), nullable=False)
    changes: Named[int] = Column(Integer, nullable=False)
    judged_ns: Named[int] = Column(BigInteger, nullable=False)


makers = Table("attestation_makers", METADATA, MakerColumns)
releases = Table("attestation_releases", METADATA, ReleaseColumns)
floors = Table("attestation_floors", METADATA, FloorColumns)
attested = Table("attested_devices", METADATA, AttestedColumns)
