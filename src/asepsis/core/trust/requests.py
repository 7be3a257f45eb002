"""What the key-holding process (the signer) may be asked, as typed values, and their framing.

Every message on the signer's sockets is one of the structs below in MessagePack, preceded by its
length as a 32-bit big-endian integer. Unknown types and unknown fields are refused: a request that
the signer does not fully understand is none. It checks each itself; the hub's word counts for
nothing (NIST SP 800-57 part 1 section 6.2.2.3, restricted use of keys).
"""

import struct
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.trust.statements import NONCE_BYTES_MAX, NONCE_BYTES_MIN

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


# --- proofs: why a certificate may be issued ---------------------------------------------------


class TokenProof(Message, frozen=True, tag="token"):
    """The one-time secret of an expectation (RFC 7030 section 3.2.3); the signer keeps its hash."""

    id: Text
    secret: Text


class RenewalProof(Message, frozen=True, tag="renewal"):
    """A certificate of this CA, expired or not, for the same name (RFC 7030 section 4.2.2)."""

    current_cert_der: Der


class IDevIdProof(Message, frozen=True, tag="idevid"):
    """A maker's certificate chain, leaf first (IEEE 802.1AR-2018); its serial must be listed."""

    chain_der: Chain


Proof: TypeAlias = TokenProof | RenewalProof | IDevIdProof

# --- requests on the hub's socket --------------------------------------------------------------


class IssueRequest(Message, frozen=True, tag="issue"):
    """Issue one certificate.

    Attributes:
        csr_der: PKCS#10 request; only its P-256 key and proof of possession are used (RFC 2986).
        profile: `device`, `origin`, `gateway` or `consumer`.
        proof: Why.
    """

    csr_der: Annotated[bytes, msgspec.Meta(max_length=CSR_BYTES_MAX)]
    profile: Text
    proof: Proof


class ServerCertificateRequest(Message, frozen=True, tag="server"):
    """Issue the hub's own certificate for DNS names and IP addresses fixed at init."""

    csr_der: Annotated[bytes, msgspec.Meta(max_length=CSR_BYTES_MAX)]
    names: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=SERVER_NAMES_MAX)]


class TimeRequest(Message, frozen=True, tag="time"):
    """Sign the present time together with a nonce of 8 to 32 bytes (REQ-ID-020)."""

    nonce: Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES_MIN, max_length=NONCE_BYTES_MAX)]


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


class TreeHeadRequest(Message, frozen=True, tag="sign-tree-head"):
    """Sign a tree head; the log may grow and may not shrink or change."""

    head: TreeHead


class CrlRequest(Message, frozen=True, tag="crl"):
    """Sign a CRL for consumers outside (RFC 5280 section 5)."""


class RevokeRequest(Message, frozen=True, tag="revoke"):
    """End an identity: all serials, renewals and open expectations of that name."""

    name: Text
    reason: Text


class AuthoritiesRequest(Message, frozen=True, tag="authorities"):
    """Ask for the CA chain, the makers trusted for IDevIDs and the signer's own certificates."""


class StatusRequest(Message, frozen=True, tag="status"):
    """Ask how the keys are kept and what was done."""


class AlarmsRequest(Message, frozen=True, tag="alarms"):
    """Ask for alarms with a number above `after`, at most 100."""

    after: Annotated[int, msgspec.Meta(ge=0)] = 0


HubRequest: TypeAlias = (
    IssueRequest
    | ServerCertificateRequest
    | TimeRequest
    | TreeHeadRequest
    | CrlRequest
    | RevokeRequest
    | AuthoritiesRequest
    | StatusRequest
    | AlarmsRequest
)

# --- requests on the operator's socket ---------------------------------------------------------


class ExpectRequest(Message, frozen=True, tag="expect"):
    """List a device, gateway or consumer for `valid_s` seconds (at most 24 hours).

    `expectation.id`, `listed_ns` and `expires_ns` are the signer's to set; what is sent is ignored.
    """

    expectation: Expectation
    valid_s: Annotated[int, msgspec.Meta(ge=60, le=86_400)] = 86_400


class WithdrawRequest(Message, frozen=True, tag="withdraw"):
    """Close an open expectation."""

    id: Text


class ListRequest(Message, frozen=True, tag="list"):
    """Ask for the open expectations."""


class ReleaseRequest(Message, frozen=True, tag="release"):
    """Let a revoked name be listed again; its old certificates stay revoked for ever."""

    name: Text


class TrustMakerRequest(Message, frozen=True, tag="trust-maker"):
    """Trust a maker's CA certificate for IDevIDs."""

    certificate_der: Der


class DistrustMakerRequest(Message, frozen=True, tag="distrust-maker"):
    """Stop trusting a maker's CA certificate."""

    fingerprint: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


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


class LimitsRequest(Message, frozen=True, tag="set-limits"):
    """Change the limits, for example while a new ward is listed."""

    limits: Limits


class ForgetTreeHeadRequest(Message, frozen=True, tag="forget-tree-head"):
    """Accept an older audit log again, after a person restored it from a backup."""

    reason: Text


AdminRequest: TypeAlias = (
    ExpectRequest
    | WithdrawRequest
    | ListRequest
    | ReleaseRequest
    | TrustMakerRequest
    | DistrustMakerRequest
    | LimitsRequest
    | ForgetTreeHeadRequest
    | RevokeRequest
    | StatusRequest
    | AlarmsRequest
    | AuthoritiesRequest
)

# --- answers -----------------------------------------------------------------------------------


class Issued(Message, frozen=True, tag="issued"):
    """A certificate was issued, or had been before for the same request.

    Attributes:
        chain_der: Leaf, issuing certificate, root.
        expectation: What the person decided who listed this name; `None` for the hub's own.
        superseded: Serials that ended because the name was listed again and has a new key.
        again: Whether this is the answer to a request answered before (its answer was lost).
    """

    chain_der: Chain
    expectation: Expectation | None = None
    superseded: tuple[bytes, ...] = ()
    again: bool = False

    def superseded_serials(self) -> tuple[int, ...]:
        """Return `superseded` as integers; MessagePack's end at 64 bits, serials at 160."""
        return tuple(int.from_bytes(serial, "big") for serial in self.superseded)


class SignedTime(Message, frozen=True, tag="signed-time"):
    """Authenticated time (REQ-ID-018, REQ-ID-020).

    Attributes:
        statement: `statements.time_statement(...)`.
        signature: ES256 over it, raw r and s, 64 bytes (RFC 7518 section 3.4).
        chain_der: Time certificate (EKU timeStamping), issuing certificate, root.
    """

    statement: bytes
    signature: bytes
    chain_der: Chain


class Signature(Message, frozen=True, tag="signature"):
    """ES256 over a statement, raw r and s, 64 bytes (RFC 7518 section 3.4)."""

    signature: bytes


class Crl(Message, frozen=True, tag="crl-signed"):
    """A CRL v2 in DER (RFC 5280 section 5.1)."""

    crl_der: bytes


class Authorities(Message, frozen=True, tag="authorities-are"):
    """Public certificates.

    Attributes:
        chain_der: Issuing certificate, root.
        makers_der: CA certificates trusted for IDevIDs.
        audit_der: Certificate of the key that signs tree heads.
        time_der: Certificate of the key that signs time.
    """

    chain_der: Chain
    makers_der: tuple[bytes, ...]
    audit_der: bytes
    time_der: bytes


class Status(Message, frozen=True, tag="status-is"):
    """How the keys are kept.

    Attributes:
        separation: In plain words, whether another user and network hold the keys.
        separated: Whether user and folder are the signer's own.
        key_storage: `sealed file (...)` or `PKCS#11 (...)`, in plain words.
        certificates: How many were ever issued.
        names_bound: Names bound to a key.
        names_revoked: Names revoked.
        expected: Open expectations.
        refusals: Requests refused since the log began.
        alarms: Number of the newest alarm, 0 if none.
        log_records: Records in the signer's log.
        server_names: DNS names and IP addresses of the hub.
        server_uri: The hub's `urn:uuid:` name.
        issuing_not_after_ns: End of the issuing certificate, nanoseconds since 1970.
        limits: Rates in force.
    """

    separation: str
    separated: bool
    key_storage: str
    certificates: int
    names_bound: int
    names_revoked: int
    expected: int
    refusals: int
    alarms: int
    log_records: int
    server_names: tuple[str, ...]
    server_uri: str
    issuing_not_after_ns: int
    limits: Limits


class Alarm(Message, frozen=True, tag="alarm"):
    """Something a person should see.

    Attributes:
        number: 1, 2, 3...; ask for those after the last one seen.
        at_ns: When, nanoseconds since 1970.
        code: Stable word, such as `rate-exceeded`, `unlisted-name`, `csr-escalation`.
        text: In plain words, without secrets.
        name: The identity it is about, or empty.
    """

    number: int
    at_ns: int
    code: str
    text: str
    name: str = ""


class Alarms(Message, frozen=True, tag="alarms-are"):
    """Alarms, oldest first."""

    alarms: tuple[Alarm, ...]


class Token(Message, frozen=True, tag="token-is"):
    """The one-time token `id.secret.pin` (REQ-ID-007); shown once, stored nowhere."""

    token: str
    expectation: Expectation


class Expected(Message, frozen=True, tag="expected-are"):
    """The open expectations."""

    expectations: tuple[Expectation, ...]


class Done(Message, frozen=True, tag="done"):
    """It is done and logged.

    Attributes:
        serials: Serial numbers that ended, for a revocation.
    """

    serials: tuple[bytes, ...] = ()


class Refused(Message, frozen=True, tag="refused"):
    """The request is refused and the refusal is logged.

    Attributes:
        code: Code of the error class, such as `ASP-207`.
        message: Why.
        hint: What to do next.
        retry_after_s: Seconds, for a rate limit; else 0.
    """

    code: str
    message: str
    hint: str = ""
    retry_after_s: int = 0


Answer: TypeAlias = (
    Issued
    | SignedTime
    | Signature
    | Crl
    | Authorities
    | Status
    | Alarms
    | Token
    | Expected
    | Done
    | Refused
)

_ENCODER: Final = msgspec.msgpack.Encoder()
_HUB_REQUESTS: Final = msgspec.msgpack.Decoder(HubRequest)
_ADMIN_REQUESTS: Final = msgspec.msgpack.Decoder(AdminRequest)
_ANSWERS: Final = msgspec.msgpack.Decoder(Answer)


def encode_message(message: Message) -> bytes:
    """Return a message with its length in front.

    Raises:
        LimitExceeded: Over `MESSAGE_BYTES_MAX` bytes.
    """
    body = _ENCODER.encode(message)
    if len(body) > MESSAGE_BYTES_MAX:
        raise LimitExceeded(f"signer message is over {MESSAGE_BYTES_MAX} bytes")
    return LENGTH.pack(len(body)) + body


def message_length(prefix: bytes) -> int:
    """Return the length that a 4-byte prefix announces.

    Raises:
        FramingError: Not 4 bytes, or an empty message.
        LimitExceeded: Over `MESSAGE_BYTES_MAX`; the stream cannot go on.
    """
    if len(prefix) != LENGTH.size:
        raise FramingError("length prefix has 4 bytes")
    (length,) = LENGTH.unpack(prefix)
    if length == 0:
        raise FramingError("empty signer message")
    if length > MESSAGE_BYTES_MAX:
        raise LimitExceeded(f"signer message is over {MESSAGE_BYTES_MAX} bytes")
    return int(length)


def decode_hub_request(body: bytes) -> HubRequest:
    """Read a request of the hub's socket.

    Raises:
        InputError: Not exactly one known request; admin requests are not known here.
    """
    try:
        return _HUB_REQUESTS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"not a request of this socket: {error}") from error


def decode_admin_request(body: bytes) -> AdminRequest:
    """Read a request of the operator's socket.

    Raises:
        InputError: Not exactly one known request.
    """
    try:
        return _ADMIN_REQUESTS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"not a request of this socket: {error}") from error


def decode_answer(body: bytes) -> Answer:
    """Read an answer of the signer.

    Raises:
        InputError: Not exactly one known answer.
    """
    try:
        return _ANSWERS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"not an answer of the signer: {error}") from error
