"""Tables of the registry. Names and certificates are no patient data; they stand in clear."""

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
    Text,
    TypedColumns,
)

from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.sealed import Sealed


class DeviceColumns(TypedColumns):
    """Machines that were enrolled: devices, gateways, consumers."""

    name: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    kind: Named[str] = Column(String(20), nullable=False)
    model: Named[str] = Column(String(256), nullable=False)
    key_sha256: Named[bytes] = Column(LargeBinary, nullable=False)
    origin_required: Named[bool] = Column(Boolean, nullable=False)
    origin_spki: Named[bytes | None] = Column(LargeBinary)
    lease_ms: Named[int] = Column(Integer, nullable=False)
    renewal_window_days: Named[int] = Column(Integer, nullable=False)
    enrolled_at_ns: Named[int] = Column(BigInteger, nullable=False)
    renewed_at_ns: Named[int] = Column(BigInteger, nullable=False)
    # Number of the registry's last change about this name: how other hubs find it.
    version: Named[int] = Column(BigInteger, nullable=False, index=True)


class CertificateColumns(TypedColumns):
    """Every certificate that was handed out, also expired ones; `void` ones never open again."""

    fingerprint: Named[bytes] = Column(LargeBinary, primary_key=True)
    serial: Named[str] = Column(String(40), nullable=False, unique=True)
    name: Named[str] = Column(
        String(NAME_CHARS_MAX), ForeignKey("devices.name"), nullable=False, index=True
    )
    profile: Named[str] = Column(String(20), nullable=False)
    not_before_ns: Named[int] = Column(BigInteger, nullable=False)
    not_after_ns: Named[int] = Column(BigInteger, nullable=False)
    issued_at_ns: Named[int] = Column(BigInteger, nullable=False)
    void: Named[bool] = Column(Boolean, nullable=False)


class RevocationColumns(TypedColumns):
    """Identities that are refused everywhere until a person lists them again."""

    name: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    at_ns: Named[int] = Column(BigInteger, nullable=False)
    person: Named[str] = Column(String(120), nullable=False)
    # A person's own words, which may name a patient.
    reason: Named[bytes] = Column(Sealed("revocations.reason"), nullable=False)
    signer_told: Named[bool] = Column(Boolean, nullable=False)


class DelegationColumns(TypedColumns):
    """Delegations: devices that a gateway or vendor's server may speak for, and how far."""

    holder: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    device: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    person: Named[str] = Column(String(120), nullable=False)
    declared_at_ns: Named[int] = Column(BigInteger, nullable=False)
    expires_at_ns: Named[int] = Column(BigInteger, nullable=False)
    # "claimed" or "observed": what stands behind what the gateway brings.
    evidence: Named[str] = Column(String(10), nullable=False, server_default="claimed")
    # The other gateway of a pair, which may do the same.
    partner: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False, server_default="")
    interface: Named[str] = Column(String(60), nullable=False, server_default="")
    # JSON: a list of message types; what the network must show; what the gateway says it shows.
    message_types: Named[str] = Column(Text, nullable=False, server_default="[]")
    network: Named[str] = Column(Text, nullable=False, server_default="{}")
    # Seconds between two reports of the device; 0 for the default lease.
    period_s: Named[int] = Column(Integer, nullable=False, server_default="0")
    seen: Named[str | None] = Column(Text)
    changed_at_ns: Named[int] = Column(BigInteger, nullable=False, server_default="0")
    warned_at_ns: Named[int] = Column(BigInteger, nullable=False, server_default="0")


class SourceColumns(TypedColumns):
    """Gateways that are named as sources of ADT, merges or worklists."""

    holder: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    kind: Named[str] = Column(String(10), primary_key=True)
    person: Named[str] = Column(String(120), nullable=False)
    declared_at_ns: Named[int] = Column(BigInteger, nullable=False)
    expires_at_ns: Named[int] = Column(BigInteger, nullable=False)
    partner: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False, server_default="")
    warned_at_ns: Named[int] = Column(BigInteger, nullable=False, server_default="0")


class PairColumns(TypedColumns):
    """Pairs of gateways whose lease was given at least once, with its newest number."""

    pair: Named[str] = Column(String(32), primary_key=True)
    one: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False)
    other: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False)
    holder: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False)
    token: Named[int] = Column(BigInteger, nullable=False)
    at_ns: Named[int] = Column(BigInteger, nullable=False)


devices = Table("devices", METADATA, DeviceColumns)
certificates = Table("certificates", METADATA, CertificateColumns)
revocations = Table("revocations", METADATA, RevocationColumns)
delegations = Table("delegations", METADATA, DelegationColumns)
sources = Table("gateway_sources", METADATA, SourceColumns)
pairs = Table("gateway_pairs", METADATA, PairColumns)
