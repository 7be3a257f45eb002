"""What the suite forges: certificates of another hospital, and requests that ask too much."""

import contextlib
import secrets
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from asepsis.core.trust.authority import Issuer, issue_leaf, issuing_certificate, root_certificate
from asepsis.core.trust.identity import Profile
from asepsis.core.trust.tls import KeyAndChain

RequestKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@contextlib.contextmanager
def stranger(
    name: str, *, profile: Profile = Profile.DEVICE, hosts: tuple[str, ...] = ()
) -> Generator[KeyAndChain]:
    """Yield key and chain for a name from a hospital of its own, until the block ends."""
    now_ns = time.time_ns()
    root_key, issuing_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = root_certificate(root_key, hospital="Elsewhere", now_ns=now_ns, serial=_serial())
    issuing = issuing_certificate(
        issuing_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        root=Issuer(root, root_key),
        hospital="Elsewhere",
        now_ns=now_ns,
        serial=_serial(),
    )
    leaf = issue_leaf(
        key.public_key(),
        profile=profile,
        name=name,
        issuer=Issuer(issuing, issuing_key),
        now_ns=now_ns,
        serial=_serial(),
        hosts=hosts,
    )
    with tempfile.TemporaryDirectory(prefix="asepsis-conform-") as made:
        folder = Path(made)
        chain = b"".join(c.public_bytes(Encoding.PEM) for c in (leaf, issuing, root))
        (folder / "chain.pem").write_bytes(chain)
        (folder / "key.pem").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        yield KeyAndChain(chain_path=folder / "chain.pem", key_path=folder / "key.pem")


def request(name: str, key: RequestKey | None = None, *, wishes: bool = False) -> bytes:
    """Return a certificate request, DER.

    Args:
        name: URI in it.
        key: Its key; a fresh P-256 key if None.
        wishes: Whether it asks to be a CA and for usages of a server for code.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "conformance")]))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)]), critical=False
        )
    )
    if wishes:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _serial() -> int:
    return int.from_bytes(secrets.token_bytes(16), "big") >> 1 | 1 << 64
