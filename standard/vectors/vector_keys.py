# ruff: noqa: INP001 - a program of the standard, not part of a package.
"""Keys that everybody can compute and signatures that never change, for the golden vectors."""

import hashlib
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

START_NS: Final = 1_770_000_000_000_000_000
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
Vector = dict[str, Any]


def private_key(purpose: str) -> ec.EllipticCurvePrivateKey:
    """Return a key that anybody can compute: never use it for anything but these vectors."""
    seed = hashlib.sha256(f"ADP/1 test vector key: {purpose}".encode()).digest()
    return ec.derive_private_key(int.from_bytes(seed, "big") % ORDER, ec.SECP256R1())


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return SubjectPublicKeyInfo in DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signature(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Return raw ES256, deterministic by RFC 6979 so that the vectors stay the same."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")
