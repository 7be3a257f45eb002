"""Tables of compliance: profiles as they were written, and for which devices they were decided."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    Named,
    String,
    Table,
    TypedColumns,
)

from asepsis.hub.store.metadata import METADATA

SUBJECT_CHARS_MAX = 256
PROFILE_NAME_CHARS_MAX = 64


class ProfileColumns(TypedColumns):
    """Every version of every profile; a version never changes."""

    name: Named[str] = Column(String(PROFILE_NAME_CHARS_MAX), primary_key=True)
    version: Named[int] = Column(Integer, primary_key=True)
    document: Named[bytes] = Column(LargeBinary, nullable=False)
    added_ns: Named[int] = Column(BigInteger, nullable=False)
    person: Named[str] = Column(String(160), nullable=False)


class AdmissionColumns(TypedColumns):
    """The profile of a device or a model on one interface, as it was decided at commissioning."""

    # A device's SAN URI, or a model as people list it.
    subject: Named[str] = Column(String(SUBJECT_CHARS_MAX), primary_key=True)
    interface: Named[str] = Column(String(10), primary_key=True)
    profile: Named[str] = Column(String(PROFILE_NAME_CHARS_MAX), nullable=False)
    version: Named[int] = Column(Integer, nullable=False)
    # Until when its certificate of conformance holds; none was asked for where this is null.
    conformant_until_ns: Named[int | None] = Column(BigInteger)
    decided_ns: Named[int] = Column(BigInteger, nullable=False)
    person: Named[str] = Column(String(160), nullable=False)
    lapse_told: Named[bool] = Column(Boolean, nullable=False)


profiles = Table("compliance_profiles", METADATA, ProfileColumns)
admissions = Table("compliance_admissions", METADATA, AdmissionColumns)
