"""What the key-holding process (the signer) may be asked, as typed values, and their framing.

Every message on the signer's sockets is one of the structs below in MessagePack, preceded by its
length as a 32-bit big-endian integer. Unknown types and unknown fields are refused: a request that
the signer does not fully understand is none. It checks each itself; the hub's word counts for
nothing (NIST SP 800-57 part 1 section 6.2.2.3, restricted use of keys).
"""

from typing import Annotated, Final, TypeAlias

import msgspec

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.trust import director
from asepsis.core.trust.signer_values import (
    CSR_BYTES_MAX,
    LENGTH,
    MESSAGE_BYTES_MAX,
    SERVER_NAMES_MAX,
    Chain,
    Der,
    Expectation,
    Limits,
    Message,
    Text,
    TreeHead,
)
from asepsis.core.trust.statements import NONCE_BYTES_MAX, NONCE_BYTES_MIN

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


class TreeHeadRequest(Message, frozen=True, tag="sign-tree-head"):
    """Sign a tree head; the log may grow and may not shrink or change."""

    head: TreeHead


class DirectorRequest(Message, frozen=True, tag="sign-director"):
    """Sign what devices are to have; the signer sets version and end, and knows the devices."""

    sets: Annotated[
        tuple[director.DirectorSet, ...], msgspec.Meta(min_length=1, max_length=director.SETS_MAX)
    ]


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
    | DirectorRequest
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

_ENCODER: Final = msgspec.msgpack.Encoder()
_HUB_REQUESTS: Final = msgspec.msgpack.Decoder(HubRequest)
_ADMIN_REQUESTS: Final = msgspec.msgpack.Decoder(AdminRequest)


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
