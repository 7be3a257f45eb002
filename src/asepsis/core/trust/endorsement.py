"""Which TPM a key is in: the maker's certificate, and a secret that only this TPM can open.

Runs at the hub. A secret is sealed so that it opens only in the TPM that holds the endorsement key
(EK), and only for an attestation key (AK) of the same TPM with exactly this name; whoever sends the
secret back has both. A key on paper has no EK that anybody certified or recorded.

Source: TCG Trusted Platform Module Library part 1, clauses 11.4.10 (KDFa, KDFe), 24 (credential
protection) and annex C.6 (ECC); TCG EK Credential Profile for TPM 2.0, version 2.5, clause 3.2.
"""

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128

from asepsis.core.errors import IdentityInvalid, InputError
from asepsis.core.trust.authority.chains import verify_maker_chain
from asepsis.core.trust.tpm import COORDINATE_BYTES, EccKey, sized

SECRET_BYTES: Final = 32
EKU_EK_CERTIFICATE: Final = x509.ObjectIdentifier("2.23.133.8.1")
"""tcg-kp-EKCertificate: a certificate for an EK, which a maker gives to TPMs only."""
_SYMMETRIC_BITS: Final = 128
_DIGEST_BITS: Final = 256
_POINT_HEAD: Final = b"\x04"


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret sealed to one TPM and one attestation key.

    Attributes:
        blob: TPMS_ID_OBJECT.
        sealer: TPMS_ECC_POINT: the key for once that it was sealed with.
    """

    blob: bytes
    sealer: bytes


def verify_ek(ek: EccKey, chain_der: Sequence[bytes], *, anchors: Sequence[bytes]) -> None:
    """Verify that a maker whom the hospital trusts put this key into a TPM.

    Args:
        ek: The endorsement key.
        chain_der: Its certificate, then intermediates in order, at most 5.
        anchors: CA certificates of makers of TPMs, DER.

    Raises:
        IdentityInvalid: The chain ends elsewhere, or its certificate is for another key or use.
    """
    leaf = verify_maker_chain(chain_der, anchors=anchors)
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as error:
        raise IdentityInvalid("the certificate is not one of an endorsement key") from error
    if EKU_EK_CERTIFICATE not in usages:
        raise IdentityInvalid("the certificate is not one of an endorsement key")
    spki = leaf.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if spki != ek.spki_der:
        raise IdentityInvalid("the certificate is for another endorsement key")


def seal(
    secret: bytes, *, ek: EccKey, ak_name: bytes, sealer: ec.EllipticCurvePrivateKey
) -> Credential:
    """Seal a secret for the TPM that holds `ek` and an attestation key with this name.

    Args:
        secret: At most `SECRET_BYTES`.
        ek: Endorsement key of the TPM.
        ak_name: Name of the attestation key.
        sealer: A key on P-256, new for each secret.

    Raises:
        InputError: Too long a secret, or a key that is not on P-256.
    """
    if not 1 <= len(secret) <= SECRET_BYTES:
        raise InputError(f"a secret of 1 to {SECRET_BYTES} bytes is sealed")
    try:
        public = ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP256R1(), _POINT_HEAD + ek.x + ek.y
        )
    except ValueError as error:
        raise InputError("the endorsement key is not on P-256") from error
    shared = sealer.exchange(ec.ECDH(), public)
    own = sealer.public_key().public_numbers()
    x, y = (value.to_bytes(COORDINATE_BYTES, "big") for value in (own.x, own.y))
    seed = _kdfe(shared, b"IDENTITY", own=x, peer=ek.x)
    key = _kdfa(seed, b"STORAGE", ak_name, bits=_SYMMETRIC_BITS)
    # CFB is what TPM 2.0 does (part 1 clause 24.4); the authentication is the HMAC around it.
    encryptor = Cipher(AES128(key), CFB(bytes(16))).encryptor()
    hidden = encryptor.update(sized(secret)) + encryptor.finalize()
    guard = _kdfa(seed, b"INTEGRITY", b"", bits=_DIGEST_BITS)
    tag = hmac.digest(guard, hidden + ak_name, "sha256")
    return Credential(blob=sized(tag) + hidden, sealer=sized(x) + sized(y))


def _kdfa(key: bytes, label: bytes, context: bytes, *, bits: int) -> bytes:
    """Derive at most 256 bits (part 1 clause 11.4.10.2)."""
    content = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", bits)
    return hmac.digest(key, content, "sha256")[: bits // 8]


def _kdfe(shared: bytes, label: bytes, *, own: bytes, peer: bytes) -> bytes:
    """Derive 256 bits from an agreed secret (part 1 clause 11.4.10.3)."""
    content = struct.pack(">I", 1) + shared + label + b"\0" + own + peer
    return hashlib.sha256(content).digest()
