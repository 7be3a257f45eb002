"""What one entry of the audit log is, and its bytes in the Merkle tree. Pure.

The leaf covers every field. `detail` may name a patient, so the leaf holds a salted hash of it: a
proof can be shown to somebody who may not read the detail, and the log stays provable after the
key of the details was destroyed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from asepsis.core.errors import ChainBroken, LimitExceeded, SignatureInvalid
from asepsis.core.trust import merkle
from asepsis.core.trust.identity import Profile, load_certificate, profile_of
from asepsis.core.trust.statements import tree_head_statement

LEAF_MAGIC: Final = "asepsis-audit-1"
SALT_BYTES: Final = 16
DETAIL_BYTES_MAX: Final = 16_384
"""Largest detail of one entry, as JSON."""
ACTOR_CHARS_MAX: Final = 160
WORD_CHARS_MAX: Final = 60
_JSON: Final = msgspec.json.Encoder(order="deterministic")


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody did, or tried.

    Attributes:
        actor: Who, as "kind:name", at most 160 characters.
        action: What, a stable word such as "revoke-device", at most 60 characters.
        subject: To whom or what, at most 160 characters.
        outcome: "done", or the code of the error that refused it.
        detail: The rest; the only place that may name a patient.
    """

    actor: str
    action: str
    subject: str
    outcome: str = "done"
    detail: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An act as it stands in the log; also the line of an export.

    Attributes:
        index: Place in the log, from 0.
        at_ns: Wall time of the hub, nanoseconds since 1970.
        actor: As in `Act`.
        action: As in `Act`.
        subject: As in `Act`.
        outcome: As in `Act`.
        detail: JSON text.
        salt: Hex; makes the detail's hash in the leaf say nothing about the detail.
    """

    index: int
    at_ns: int
    actor: str
    action: str
    subject: str
    outcome: str
    detail: str
    salt: str


class SignedHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A state of the log that the signer vouched for.

    Attributes:
        size: Number of entries.
        root: Merkle root, hex.
        at_ns: When, nanoseconds since 1970.
        signature: ES256 over `tree_head_statement`, raw r and s, hex.
    """

    size: int
    root: str
    at_ns: int
    signature: str


def encode_detail(detail: Mapping[str, Any]) -> bytes:
    """Return the JSON of a detail.

    Raises:
        LimitExceeded: Over `DETAIL_BYTES_MAX` bytes.
    """
    encoded = _JSON.encode(detail)
    if len(encoded) > DETAIL_BYTES_MAX:
        raise LimitExceeded(f"the detail of an audit entry is over {DETAIL_BYTES_MAX} bytes")
    return encoded


def leaf(entry: Entry) -> bytes:
    """Return the hash that stands for an entry in the tree (RFC 9162 section 2.1.1).

    The leaf's bytes are a JSON array: no member order, one spelling a value.

    Raises:
        ChainBroken: The salt is not hex; a stored entry always has one.
    """
    try:
        salt = bytes.fromhex(entry.salt)
    except ValueError as error:
        raise ChainBroken(f"audit entry {entry.index} was changed") from error
    commitment = hashlib.sha256(salt + entry.detail.encode()).hexdigest()
    fields = [
        LEAF_MAGIC,
        entry.index,
        entry.at_ns,
        entry.actor,
        entry.action,
        entry.subject,
        entry.outcome,
        commitment,
    ]
    return merkle.leaf_hash(_JSON.encode(fields))


def verify_head(head: SignedHead, *, audit_certificate_der: bytes) -> None:
    """Check that the signer's audit key signed a tree head.

    Args:
        head: As served or exported.
        audit_certificate_der: Certificate of the audit key; the caller has verified its chain.

    Raises:
        SignatureInvalid: It did not.
        IdentityInvalid: The certificate is none of an audit key.

    Source: RFC 9162 section 4.10; RFC 7518 section 3.4.
    """
    certificate = load_certificate(audit_certificate_der)
    key = certificate.public_key()
    if profile_of(certificate) is not Profile.AUDIT or not isinstance(
        key, ec.EllipticCurvePublicKey
    ):
        raise SignatureInvalid("not the certificate of an audit key")
    try:
        raw = bytes.fromhex(head.signature)
        statement = tree_head_statement(
            size=head.size, root=bytes.fromhex(head.root), timestamp_ns=head.at_ns
        )
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        key.verify(encode_dss_signature(r, s), statement, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature) as error:
        raise SignatureInvalid("the tree head is not signed by this audit key") from error


def verify_log(
    entries: Iterable[Entry], heads: Iterable[SignedHead], *, audit_certificate_der: bytes
) -> int:
    """Check a whole log offline against its signed heads; return its number of entries.

    Args:
        entries: From index 0, ascending.
        heads: Ascending by size.
        audit_certificate_der: As for `verify_head`.

    Raises:
        ChainBroken: An entry is missing, moved or changed, or a head is of another log.
        SignatureInvalid: A head is not signed by this key.
    """
    waiting = list(heads)
    for head in waiting:
        verify_head(head, audit_certificate_der=audit_certificate_der)
    state = merkle.Frontier()
    for entry in entries:
        if entry.index != state.size:
            raise ChainBroken(f"audit entry {state.size} is missing")
        state, _ = state.append(leaf(entry))
        while waiting and waiting[0].size == state.size:
            compare_root(waiting.pop(0), state.root())
    if waiting:
        raise ChainBroken(f"the log was cut: a head of {waiting[0].size} entries is signed")
    return state.size


def compare_root(head: SignedHead, root: bytes) -> None:
    """Check that a log that has this root is the one whose head was signed.

    Raises:
        ChainBroken: It is another: an entry up to there was changed.
    """
    if head.root != root.hex():
        raise ChainBroken(f"one of the first {head.size} audit entries was changed")
