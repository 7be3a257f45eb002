"""What the key-holding process (the signer) answers, as typed values; see `requests`."""

from typing import Final, TypeAlias

import msgspec

from asepsis.core.errors import InputError
from asepsis.core.trust.signer_values import Chain, Expectation, Limits, Message


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


class SignedSet(Message, frozen=True, tag="signed-set"):
    """What is signed for one device, with the signatures; DER (RFC 3279 section 2.2.3).

    Attributes:
        targets: The bytes of the targets role.
        snapshot: The bytes of the snapshot.
        timestamp: The bytes of the timestamp.
        signatures: Signatures of the three, in that order.
    """

    targets: bytes
    snapshot: bytes
    timestamp: bytes
    signatures: tuple[bytes, bytes, bytes]


class DirectorSigned(Message, frozen=True, tag="director-signed"):
    """The director's word to devices.

    Attributes:
        version: Version of all roles in it, above every one before.
        key_der: The director's public key, SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
        sets: One for each set that was asked for, in order.
    """

    version: int
    key_der: bytes
    sets: tuple[SignedSet, ...]


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
        director_der: Public key that signs what devices are to have, SubjectPublicKeyInfo.
    """

    chain_der: Chain
    makers_der: tuple[bytes, ...]
    audit_der: bytes
    time_der: bytes
    director_der: bytes = b""


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
    | DirectorSigned
    | Crl
    | Authorities
    | Status
    | Alarms
    | Token
    | Expected
    | Done
    | Refused
)

_ANSWERS: Final = msgspec.msgpack.Decoder(Answer)


def decode_answer(body: bytes) -> Answer:
    """Read an answer of the signer.

    Raises:
        InputError: Not exactly one known answer.
    """
    try:
        return _ANSWERS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"not an answer of the signer: {error}") from error
