"""What the signer's log says, one struct a kind. The log is the signer's only memory."""

from typing import TypeAlias

import msgspec

from asepsis.core.trust.signer_values import Expectation, Limits


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all log entries; the tag field is `type`."""


class Installed(Entry, frozen=True, tag="installed"):
    """The signer began its life, or got a renewed issuing certificate.

    Attributes:
        issuing_der: Issuing certificate.
        root_der: Hospital root.
        server_uri: The hub's `urn:uuid:` name.
        server_names: DNS names and IP addresses a server certificate may carry, for ever.
    """

    issuing_der: bytes
    root_der: bytes
    server_uri: str
    server_names: tuple[str, ...]


class Reissued(Entry, frozen=True, tag="reissued"):
    """The root certified the same issuing key for a further five years."""

    issuing_der: bytes


class Listed(Entry, frozen=True, tag="listed"):
    """A person listed somebody; only the hash of the token's secret is kept."""

    expectation: Expectation
    secret_sha256: bytes


class Withdrawn(Entry, frozen=True, tag="withdrawn"):
    """An open expectation was closed; `why` says by whom or what."""

    id: str
    why: str


class Certified(Entry, frozen=True, tag="certified"):
    """A certificate was made. Written before the answer, so that a lost answer can be repeated.

    Attributes:
        name: Identity.
        profile: Profile of the certificate.
        spki_sha256: Which key.
        certificate_der: The certificate itself.
        proof: What opened it: `token:<id>`, `idevid:<id>`, `renewal:<fingerprint>`, `own`.
        expectation_id: The expectation behind the name, empty for the hub's own.
        superseded: Serials (20 bytes) that ended because the name was listed again.
    """

    name: str
    profile: str
    spki_sha256: bytes
    certificate_der: bytes
    proof: str
    expectation_id: str = ""
    superseded: tuple[bytes, ...] = ()


class Ended(Entry, frozen=True, tag="revoked"):
    """An identity was revoked: all its serials, renewals and open expectations."""

    name: str
    reason: str


class Released(Entry, frozen=True, tag="released"):
    """A revoked name may be listed again."""

    name: str


class MakerTrusted(Entry, frozen=True, tag="maker-trusted"):
    """A maker's CA certificate counts for IDevIDs."""

    certificate_der: bytes


class MakerDistrusted(Entry, frozen=True, tag="maker-distrusted"):
    """A maker's CA certificate counts no longer."""

    fingerprint: bytes


class LimitsSet(Entry, frozen=True, tag="limits-set"):
    """A person changed the rates."""

    limits: Limits


class HeadSigned(Entry, frozen=True, tag="tree-head"):
    """A tree head was signed; a smaller or different one will be refused."""

    size: int
    root: bytes


class HeadForgotten(Entry, frozen=True, tag="tree-head-forgotten"):
    """A person restored an older audit log from backup."""

    reason: str


class TimeAllowed(Entry, frozen=True, tag="time-allowed"):
    """Up to `count` time statements may be signed until `until_ns`.

    One entry allows a minute's worth, so that devices asking for time cannot fill the disk; the
    entry is durable before the first of them is signed.
    """

    count: int
    until_ns: int


class Directed(Entry, frozen=True, tag="directed"):
    """What devices are to have was signed.

    Attributes:
        version: Version, one above the last.
        devices: Names, in order.
        sha256: Of all that was signed, one after the other.
    """

    version: int
    devices: tuple[str, ...]
    sha256: bytes


class CrlSigned(Entry, frozen=True, tag="crl"):
    """A CRL was signed."""

    number: int


class Denied(Entry, frozen=True, tag="refused"):
    """A request was refused."""

    request: str
    code: str
    message: str
    name: str = ""


class DeniedMore(Entry, frozen=True, tag="refused-more"):
    """`count` further refusals in one minute, counted instead of written one by one."""

    count: int


class TokenFailed(Entry, frozen=True, tag="token-failed"):
    """A wrong secret was shown for a known token id."""

    id: str


class Alarmed(Entry, frozen=True, tag="alarm"):
    """Something a person should see."""

    code: str
    text: str
    name: str = ""


AnyEntry: TypeAlias = (
    Installed
    | Reissued
    | Listed
    | Withdrawn
    | Certified
    | Ended
    | Released
    | MakerTrusted
    | MakerDistrusted
    | LimitsSet
    | HeadSigned
    | HeadForgotten
    | TimeAllowed
    | Directed
    | CrlSigned
    | Denied
    | DeniedMore
    | TokenFailed
    | Alarmed
)
