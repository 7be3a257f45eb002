"""Tables of releases: vendors, what they published, documents, approvals, devices' models."""

from sqlalchemy import (
    BigInteger,
    Boolean,
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

WORD_CHARS = 64
DIGEST_CHARS = 64
PERSON_CHARS = 160


class VendorColumns(TypedColumns):
    """Vendors whose first root a person pinned."""

    name: Named[str] = Column(String(WORD_CHARS), primary_key=True)
    root: Named[bytes] = Column(LargeBinary, nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS), nullable=False)
    added_ns: Named[int] = Column(BigInteger, nullable=False)
    imported_ns: Named[int] = Column(BigInteger, nullable=False)


class ReleaseColumns(TypedColumns):
    """One artefact that a verified repository names."""

    sha256: Named[str] = Column(String(DIGEST_CHARS), primary_key=True)
    vendor: Named[str] = Column(String(WORD_CHARS), nullable=False)
    path: Named[str] = Column(String(200), nullable=False)
    length: Named[int] = Column(BigInteger, nullable=False)
    model: Named[str] = Column(String(WORD_CHARS), nullable=False)
    component: Named[str] = Column(String(WORD_CHARS), nullable=False)
    version: Named[str] = Column(String(WORD_CHARS), nullable=False)
    counter: Named[int] = Column(BigInteger, nullable=False)
    floor: Named[int] = Column(BigInteger, nullable=False)
    reboot: Named[str] = Column(String(10), nullable=False)
    # SHA-256 of the release document; empty for none.
    document: Named[str] = Column(String(DIGEST_CHARS), nullable=False)
    author: Named[str] = Column(String(DIGEST_CHARS), nullable=False)
    # Why it can not be rolled out, whatever anybody approves; empty if nothing is in the way.
    trouble: Named[str] = Column(String(500), nullable=False)
    withdrawn: Named[bool] = Column(Boolean, nullable=False)
    imported_ns: Named[int] = Column(BigInteger, nullable=False)


class DocumentColumns(TypedColumns):
    """Release documents as they were hashed."""

    sha256: Named[str] = Column(String(DIGEST_CHARS), primary_key=True)
    content: Named[bytes] = Column(LargeBinary, nullable=False)


class ApprovalColumns(TypedColumns):
    """Authorisations as they were brought, whoever signed them so far."""

    sha256: Named[str] = Column(String(DIGEST_CHARS), primary_key=True)
    artefact: Named[str] = Column(String(DIGEST_CHARS), nullable=False, index=True)
    content: Named[bytes] = Column(LargeBinary, nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS), nullable=False)
    added_ns: Named[int] = Column(BigInteger, nullable=False)


class RootColumns(TypedColumns):
    """The hospital's own root of the director, every version."""

    version: Named[int] = Column(Integer, primary_key=True)
    content: Named[bytes] = Column(LargeBinary, nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS), nullable=False)
    added_ns: Named[int] = Column(BigInteger, nullable=False)


class FitColumns(TypedColumns):
    """What a device is for an update, as a person listed it."""

    device: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    model: Named[str] = Column(String(WORD_CHARS), nullable=False)
    hardware: Named[str] = Column(String(WORD_CHARS), nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS), nullable=False)
    listed_ns: Named[int] = Column(BigInteger, nullable=False)


class AssignmentColumns(TypedColumns):
    """Which artefact a device is to have for a component."""

    device: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    component: Named[str] = Column(String(WORD_CHARS), primary_key=True)
    artefact: Named[str] = Column(String(DIGEST_CHARS), nullable=False, index=True)
    assigned_ns: Named[int] = Column(BigInteger, nullable=False)


class DirectedColumns(TypedColumns):
    """What the director says to a device: signed, and of which state of its assignments."""

    device: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    # Number of the last change of its assignments, and of the one that was signed.
    revision: Named[int] = Column(BigInteger, nullable=False)
    signed_revision: Named[int] = Column(BigInteger, nullable=False)
    # Version of the signed roles, 0 for none yet; it only rises.
    version: Named[int] = Column(BigInteger, nullable=False)
    renew_ns: Named[int] = Column(BigInteger, nullable=False, index=True)
    # JSON: file name -> its text.
    files: Named[str] = Column(Text, nullable=False)


vendors = Table("update_vendors", METADATA, VendorColumns)
releases = Table("update_releases", METADATA, ReleaseColumns)
documents = Table("update_documents", METADATA, DocumentColumns)
approvals = Table("update_approvals", METADATA, ApprovalColumns)
roots = Table("update_director_roots", METADATA, RootColumns)
fits = Table("update_fits", METADATA, FitColumns)
assignments = Table("update_assignments", METADATA, AssignmentColumns)
directed = Table("update_directed", METADATA, DirectedColumns)
