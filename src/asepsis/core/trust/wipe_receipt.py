"""Receipts of a device that was wiped: what was done, signed with keys that do not outlive it.

The origin key must be gone before anybody can say that it is. So it signs, as its last act, that a
fresh key may speak of this wipe (*binding*); what was done and found is then signed with that key
(*statement*), which was never stored. Whoever reads a receipt pins the hospital's root.

A receipt is the device's own word. It proves which device said so, not that nobody copied the disk.

Source: NIST SP 800-88 Rev. 1, sections 2.5, 2.6, 4.7 and 4.8; RFC 7518 section 3.4 (ES256).
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from asepsis.core.errors import ContentMismatch, IdentityInvalid, InputError
from asepsis.core.trust import libcrypto, libcrypto_x509
from asepsis.core.trust.libcrypto import PrivateKey
from asepsis.core.trust.libcrypto_x509 import Purpose

BINDING_KIND: Final = "asepsis-wipe-begun-1"
STATEMENT_KIND: Final = "asepsis-wiped-1"
RECEIPT_BYTES_MAX: Final = 65_536
CHAIN_MAX: Final = 4
_OUTER: Final = frozenset(
    {"binding", "binding_signature", "chain", "statement", "statement_signature"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The last thing that an origin key signed.

    Attributes:
        signed: The exact bytes.
        signature: r and s, 64 bytes.
        chain: Certificates of the origin key, leaf first, DER.
    """

    signed: bytes
    signature: bytes
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiped:
    """A receipt that was verified.

    Attributes:
        device: Name of the device.
        begun: When it says that it began, RFC 3339; its own clock.
        statement: What it says was done and found.
        digest: SHA-256 of the receipt's bytes, hexadecimal.
    """

    device: str
    begun: str
    statement: Mapping[str, Any]
    digest: str

    @property
    def clean(self) -> bool:
        """Whether the whole medium was searched and nothing was found."""
        return self.statement.get("verified") is True


def bind(
    origin: PrivateKey, *, chain: Sequence[bytes], device: str, receipt_spki: bytes, begun: str
) -> Binding:
    """Let a fresh key speak of this wipe; the last use of the origin key.

    Args:
        origin: The origin key.
        chain: Its certificates, leaf first, DER.
        device: Name of the device.
        receipt_spki: Public half of the fresh key.
        begun: When, RFC 3339.
    """
    document = {
        "kind": BINDING_KIND,
        "device": device,
        "begun": begun,
        "receipt_key": base64.b64encode(receipt_spki).decode(),
    }
    signed = json.dumps(document, sort_keys=True).encode()
    return Binding(signed=signed, signature=origin.sign(signed), chain=tuple(chain))


def seal(binding: Binding, *, key: PrivateKey, facts: Mapping[str, Any]) -> bytes:
    """Return the receipt.

    Args:
        binding: From `bind`.
        key: The fresh key.
        facts: What was done and found; plain values.
    """
    document = {
        **facts,
        "kind": STATEMENT_KIND,
        "binding_sha256": hashlib.sha256(binding.signed).hexdigest(),
    }
    statement = json.dumps(document, sort_keys=True).encode()
    receipt = {
        "binding": _text(binding.signed),
        "binding_signature": _text(binding.signature),
        "chain": [_text(der) for der in binding.chain],
        "statement": _text(statement),
        "statement_signature": _text(key.sign(statement)),
    }
    return json.dumps(receipt, indent=1).encode() + b"\n"


def verify(receipt: bytes, *, root_der: bytes, between: Sequence[bytes] = ()) -> Wiped:
    """Return what a receipt says, if a device of this hospital signed it.

    Dates of certificates are not judged: a device may be retired long after they ended.

    Args:
        receipt: Its bytes.
        root_der: The hospital's root, from a source of one's own.
        between: Issuing certificates that the receipt may lack.

    Raises:
        InputError: Not a receipt.
        IdentityInvalid: Its certificates do not go back to the root, or name another device.
        SignatureInvalid: Another key signed it, or it was changed.
        ContentMismatch: Its halves belong to different wipes.
    """
    outer = _object(receipt, "a receipt")
    if frozenset(outer) != _OUTER or not isinstance(outer["chain"], list):
        raise InputError("not a receipt of a wipe")
    chain = [_bytes(one) for one in cast("list[object]", outer["chain"])]
    if not 1 <= len(chain) <= CHAIN_MAX:
        raise InputError(f"a receipt has 1 to {CHAIN_MAX} certificates")
    libcrypto_x509.verify_chain(
        chain[0], intermediates=[*chain[1:], *between], roots=[root_der], purpose=Purpose.ANY
    )
    leaf = libcrypto_x509.read_certificate(chain[0])
    signed, statement = _bytes(outer["binding"]), _bytes(outer["statement"])
    libcrypto.verify(leaf.spki_der, _bytes(outer["binding_signature"]), signed)
    binding = _object(signed, "a binding")
    if binding.get("kind") != BINDING_KIND:
        raise InputError("the binding is of another kind")
    device = str(binding.get("device", ""))
    if leaf.uris != (device,):
        raise IdentityInvalid(f"the receipt speaks for {device[:80]}, its certificate does not")
    key = _bytes(binding.get("receipt_key"))
    libcrypto.verify(key, _bytes(outer["statement_signature"]), statement)
    facts = _object(statement, "a statement")
    if facts.get("kind") != STATEMENT_KIND:
        raise InputError("the statement is of another kind")
    expected = hashlib.sha256(signed).hexdigest()
    if not hmac.compare_digest(str(facts.get("binding_sha256")).encode(), expected.encode()):
        raise ContentMismatch("the statement belongs to another wipe")
    return Wiped(
        device=device,
        begun=str(binding.get("begun", "")),
        statement=facts,
        digest=hashlib.sha256(receipt).hexdigest(),
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise InputError("not a receipt of a wipe")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("not a receipt of a wipe") from error


def _object(data: bytes, what: str) -> dict[str, Any]:
    if len(data) > RECEIPT_BYTES_MAX:
        raise InputError(f"{what} has at most {RECEIPT_BYTES_MAX} bytes")
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not JSON") from error
    if not isinstance(found, dict):
        raise InputError(f"{what} is not an object")
    return cast("dict[str, Any]", found)
