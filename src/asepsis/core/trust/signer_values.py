"""What the signer's requests and answers have in common: their base, limits and shared values."""

import struct
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

MESSAGE_BYTES_MAX: Final = 262_144
"""Largest request or answer, in bytes without the length prefix."""
CSR_BYTES_MAX: Final = 4_096
CERTIFICATES_PER_CHAIN_MAX: Final = 5
SERVER_NAMES_MAX: Final = 32
DECLARED_MAX: Final = 1_000
EXPECTED_MAX: Final = 10_000
"""Devices listed and not yet enrolled; more would be a list nobody has read."""
MAKERS_MAX: Final = 64
RENEWAL_WINDOW_DAYS_DEFAULT: Final = 730
RENEWAL_WINDOW_DAYS_MAX: Final = 3_650
LEASE_MS_DEFAULT: Final = 2_000
LEASE_MS_MAX: Final = 10_000
LENGTH: Final = struct.Struct(">I")

Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]
Der: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=8_192)]
Chain: TypeAlias = Annotated[
    tuple[Der, ...], msgspec.Meta(min_length=1, max_length=CERTIFICATES_PER_CHAIN_MAX)
]


class Message(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """Base of everything that crosses a signer's socket."""


class Expectation(Message, frozen=True, tag="expectation"):
    """A device, gateway or consumer that a person listed, and what the person decided about it.

    Attributes:
        id: First part of the token, 16 hex digits; not secret.
        name: The one name that may be issued.
        profile: `device`, `gateway` or `consumer`.
        model: Free text for people, such as maker and model.
        origin_required: Whether the hub takes only batches signed by this device's origin key.
        lease_ms: Silence after which a technical alarm is raised, in milliseconds, 100 to 10 000.
        renewal_window_days: How long after expiry the certificate may still be renewed.
        idevid_issuer: RFC 4514 name of the maker's CA whose IDevID may be used instead of a token.
        idevid_serial: Subject serialNumber of that IDevID.
        declared: Devices a gateway or vendor's server may speak for.
        sources: What a gateway is named as a source of: `adt`, `merge`, `worklist`.
        listed_ns: When it was listed, nanoseconds since 1970.
        expires_ns: Moment after which neither token nor IDevID opens it any more.
    """

    id: Text
    name: Text
    profile: Text
    model: Text = ""
    origin_required: bool = False
    lease_ms: int = LEASE_MS_DEFAULT
    renewal_window_days: int = RENEWAL_WINDOW_DAYS_DEFAULT
    idevid_issuer: Annotated[str, msgspec.Meta(max_length=1_024)] | None = None
    idevid_serial: Text | None = None
    declared: Annotated[tuple[Text, ...], msgspec.Meta(max_length=DECLARED_MAX)] = ()
    sources: tuple[Literal["adt", "merge", "worklist", "pcim"], ...] = ()
    listed_ns: int = 0
    expires_ns: int = 0


class TreeHead(Message, frozen=True, tag="tree-head"):
    """The audit log's state (RFC 9162 section 4.10).

    Attributes:
        size: Number of entries, at least 0.
        root: Merkle tree hash, 32 bytes.
        timestamp_ns: When the hub made it, nanoseconds since 1970.
    """

    size: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    root: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    timestamp_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Limits(Message, frozen=True, tag="limits"):
    """How many certificates may leave in one minute and one hour.

    Attributes:
        new_per_minute: New identities (token or IDevID).
        new_per_hour: New identities.
        renewals_per_minute: Same name, same key; after a long outage a ward renews at once.
        renewals_per_hour: Same name, same key.
        per_name_per_hour: Certificates of any profile for one name.
    """

    new_per_minute: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 30
    new_per_hour: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 300
    renewals_per_minute: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 240
    renewals_per_hour: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 2_000
    per_name_per_hour: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 12
