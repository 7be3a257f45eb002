"""The hub's half of the origin signature: is this batch what the device's critical part signed?

Loads `cryptography`, so it never runs on a device; `core.trust.origin_chain` is the device's half
and its names stand here too.

Source: REQ-ORG-011, REQ-ORG-017; RFC 7518 section 3.4.
"""

import hmac
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from asepsis.core.errors import InputError, SignatureInvalid
from asepsis.core.trust.origin_chain import ChainHead, Place, key_id, sign_batch
from asepsis.core.wire.origin import OriginBatch

__all__ = ["ChainHead", "OriginVerifier", "Place", "key_id", "sign_batch"]

_ES256: Final = ec.ECDSA(Prehashed(SHA256()))


class OriginVerifier:
    """Verifies batches of one origin key; safe to share between threads.

    Args:
        spki_der: The device's P-256 origin key, SubjectPublicKeyInfo in DER.

    Attributes:
        key_id: First 8 bytes of the SHA-256 of the SPKI.

    Raises:
        InputError: Not a P-256 public key.
    """

    __slots__ = ("_key", "key_id")

    def __init__(self, spki_der: bytes) -> None:
        try:
            key = load_der_public_key(spki_der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InputError("origin key is not a public key") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise InputError("origin key is not on P-256")
        self._key = key
        self.key_id = key_id(spki_der)

    def verify(self, batch: OriginBatch) -> None:
        """Check that this key signed the batch.

        The SHA-256 that `decode_batch` took is used again. Whether the key belongs to the device
        that the batch names is the caller's check: it looked the key up by that name.

        Args:
            batch: As `decode_batch` returned it.

        Raises:
            SignatureInvalid: Another key id, or a signature that does not verify.

        Source: REQ-ORG-011, REQ-ORG-017; FIPS 186-5 section 6.4.2.
        """
        if not hmac.compare_digest(batch.key_id, self.key_id):
            raise SignatureInvalid("batch names another origin key")
        raw = batch.signature
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        try:
            self._key.verify(encode_dss_signature(r, s), batch.digest, _ES256)
        except InvalidSignature as error:
            raise SignatureInvalid("origin signature does not verify") from error
