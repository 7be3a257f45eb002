"""Witnesses of the audit log: they keep the last head, want a proof for the next, and co-sign it.

Whoever holds the hub, all its keys and its clock can rewrite the log. Nobody can make a witness
sign two logs: it signs a head only if the log still begins with everything that it signed before.
A reader who knows the witnesses' keys therefore sees any rewriting. Standard library only: gateways
and devices are witnesses too.

Source: RFC 9162 sections 2.1.4 and 4.10; the idea of cosignatures is that of C2SP tlog-witness.
"""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from asepsis.core.errors import (
    ChainBroken,
    FramingError,
    IdentityInvalid,
    LimitExceeded,
    SignatureInvalid,
)
from asepsis.core.trust import libcrypto, libcrypto_x509, merkle
from asepsis.core.trust.statements import tree_head_statement

COSIGNATURE_MAGIC: Final = b"AWT1"
AUDIT_USAGE: Final = "2.25.110366081215678702529664867542989676206.5"
"""Extended key usage of the key that signs tree heads (standard/frames.md, section 9)."""
ANSWER_BYTES_MAX: Final = 65_536
CHAIN_MAX: Final = 4
_COSIGNATURE: Final = struct.Struct(">4sQQ32s")
_TIME_NS_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A state of the log that its own key signed.

    Attributes:
        size: Number of entries, at least 1.
        root: Merkle root, 32 bytes.
        at_ns: When, by the hub, nanoseconds since 1970.
        signature: ES256 over `tree_head_statement`, raw, 64 bytes.
    """

    size: int
    root: bytes
    at_ns: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """What a witness accepted last.

    Attributes:
        size: Number of entries.
        root: Merkle root, 32 bytes.
    """

    size: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CoSignature:
    """A witness's word: this log, and everything I signed before is still in it.

    Attributes:
        size: Number of entries.
        root: Merkle root, 32 bytes.
        at_ns: When, by the witness, nanoseconds since 1970.
        signature: ES256 over `cosignature_statement`, raw, 64 bytes.
    """

    size: int
    root: bytes
    at_ns: int
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What the hub shows a witness.

    Attributes:
        head: The newest signed head.
        proof: That it grew out of what the witness saw last; empty for a first contact.
        chain_der: Certificate of the audit key, and what stands between it and the root.
    """

    head: Head
    proof: tuple[bytes, ...]
    chain_der: tuple[bytes, ...]


def cosignature_statement(*, size: int, root: bytes, at_ns: int) -> bytes:
    """Return the bytes that a witness signs.

    Layout: `AWT1`, number of entries (8 bytes), nanoseconds since 1970 (8), Merkle root (32); all
    integers big-endian.

    Raises:
        LimitExceeded: A number out of range, or a root not of 32 bytes.
    """
    if len(root) != merkle.HASH_BYTES or not 0 < size <= merkle.SIZE_MAX:
        raise LimitExceeded("a cosignature is over a log with entries")
    if not 0 <= at_ns <= _TIME_NS_MAX:
        raise LimitExceeded("time of a cosignature is out of range")
    return _COSIGNATURE.pack(COSIGNATURE_MAGIC, size, at_ns, root)


def follow(seen: Seen | None, offered: Offered, *, root_der: bytes) -> Seen:
    """Return what is seen now, or refuse: the log was rewritten, cut or is another one.

    Args:
        seen: What was accepted last; None for a witness that begins.
        offered: What the hub shows.
        root_der: Pinned root of the hospital.

    Raises:
        ChainBroken: The log does not begin with what was accepted before.
        SignatureInvalid: The head is not signed by the audit key.
        IdentityInvalid: That key's certificate does not go back to the root.
        LimitExceeded: Sizes out of range.
    """
    verify_head(offered.head, spki_der=audit_key(offered.chain_der, root_der=root_der))
    return grown(seen, offered)


def grown(seen: Seen | None, offered: Offered) -> Seen:
    """Return what is seen now, of a head whose signature was verified.

    Raises:
        ChainBroken: The log does not begin with what was accepted before.
        LimitExceeded: Sizes out of range.
    """
    head = offered.head
    if seen is None:
        return Seen(head.size, head.root)
    if head.size < seen.size:
        raise ChainBroken(f"the log had {seen.size} entries and now shows {head.size}")
    merkle.verify_consistency(
        first=seen.size,
        first_root=seen.root,
        second=head.size,
        second_root=head.root,
        proof=offered.proof,
    )
    return Seen(head.size, head.root)


def audit_key(chain_der: Sequence[bytes], *, root_der: bytes) -> bytes:
    """Return the key that may sign tree heads, SubjectPublicKeyInfo.

    Raises:
        IdentityInvalid: The chain does not hold, or is one of another purpose.
    """
    if not chain_der:
        raise IdentityInvalid("the audit key comes without a certificate")
    libcrypto_x509.verify_chain(
        chain_der[0],
        intermediates=chain_der[1:],
        roots=(root_der,),
        purpose=libcrypto_x509.Purpose.ANY,
    )
    facts = libcrypto_x509.read_certificate(chain_der[0])
    if tuple(facts.purposes) != (AUDIT_USAGE,):
        raise IdentityInvalid("not the certificate of an audit key")
    return facts.spki_der


def verify_head(head: Head, *, spki_der: bytes) -> None:
    """Check that this key signed the head.

    Raises:
        SignatureInvalid: It did not.
    """
    statement = tree_head_statement(size=head.size, root=head.root, timestamp_ns=head.at_ns)
    libcrypto.verify(spki_der, head.signature, statement)


def cosign(key: libcrypto.PrivateKey, seen: Seen, *, at_ns: int) -> CoSignature:
    """Sign what was accepted; the caller has made `seen` durable before.

    Args:
        key: The witness's own key.
        seen: Result of `follow`.
        at_ns: The witness's own time.

    Raises:
        LimitExceeded: Out of range.
    """
    statement = cosignature_statement(size=seen.size, root=seen.root, at_ns=at_ns)
    return CoSignature(size=seen.size, root=seen.root, at_ns=at_ns, signature=key.sign(statement))


def verify_cosignature(given: CoSignature, *, spki_der: bytes) -> None:
    """Check that a witness with this key signed.

    Raises:
        SignatureInvalid: It did not.
        LimitExceeded: Out of range.
    """
    statement = cosignature_statement(size=given.size, root=given.root, at_ns=given.at_ns)
    libcrypto.verify(spki_der, given.signature, statement)


def read_offered(body: bytes) -> Offered:
    """Read the hub's answer to a witness.

    Raises:
        FramingError: Not that.
        LimitExceeded: Longer than a witness takes.
    """
    if len(body) > ANSWER_BYTES_MAX:
        raise LimitExceeded(f"a head with its proof is over {ANSWER_BYTES_MAX} bytes")
    try:
        said = cast("Mapping[str, Any]", json.loads(body))
        head = said["head"]
        chain = [base64.b64decode(one, validate=True) for one in said["chain"][: CHAIN_MAX + 1]]
        proof = [bytes.fromhex(one) for one in said["proof"][: merkle.PROOF_HASHES_MAX + 1]]
        found = Head(
            size=_number(head["size"], merkle.SIZE_MAX),
            root=bytes.fromhex(head["root"]),
            at_ns=_number(head["at_ns"], _TIME_NS_MAX),
            signature=bytes.fromhex(head["signature"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise FramingError("not a head of an audit log") from error
    if len(chain) > CHAIN_MAX or len(proof) > merkle.PROOF_HASHES_MAX:
        raise LimitExceeded("chain or proof is too long")
    if not found.size or len(found.root) != merkle.HASH_BYTES:
        raise FramingError("not a head of an audit log")
    if len(found.signature) != libcrypto.SIGNATURE_BYTES:
        raise SignatureInvalid("the head is not signed")
    return Offered(head=found, proof=tuple(proof), chain_der=tuple(chain))


def _number(value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError("not a number in range")
    return value
