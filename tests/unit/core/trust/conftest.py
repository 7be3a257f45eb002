"""A hospital CA in memory, and bad certificates cut to order."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.trust.authority import (
    Issuer,
    issue_leaf,
    issuing_certificate,
    root_certificate,
)
from asepsis.core.trust.identity import Profile

BEGUN_NS = (int(time.time()) - 3_600) * 10**9
"""An hour ago: TLS libraries compare with the real clock."""
DEVICE = "urn:dev:mac:0011223344556677"
SYSTEM = "urn:uuid:5307bbeb-bc66-4f78-8d5a-5c20d8fa1eae"
DER = serialization.Encoding.DER


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Pki:
    """Root and issuing CA of one hospital; `now_ns` is when all of it was made."""

    root: Issuer
    issuing: Issuer
    now_ns: int

    @property
    def issuing_der(self) -> bytes:
        return self.issuing.certificate.public_bytes(DER)

    @property
    def root_der(self) -> bytes:
        return self.root.certificate.public_bytes(DER)

    def leaf(
        self,
        profile: Profile,
        *,
        name: str = "",
        key: ec.EllipticCurvePrivateKey | None = None,
        now_ns: int | None = None,
        hosts: Sequence[str] = (),
        days: int = 90,
    ) -> x509.Certificate:
        like_device = profile in (Profile.DEVICE, Profile.ORIGIN)
        return issue_leaf(
            (key or new_key()).public_key(),
            profile=profile,
            name=name or (DEVICE if like_device else SYSTEM),
            issuer=self.issuing,
            now_ns=self.now_ns if now_ns is None else now_ns,
            serial=x509.random_serial_number(),
            hosts=hosts,
            days=days,
        )

    def sibling(self) -> "Pki":
        """Another CA under the same root, as a hospital's own root may have."""
        return _below(self.root, hospital="Laptops", now_ns=self.now_ns)

    def older(self, *, days: int) -> "Pki":
        """A CA that began some days ago, so that leaves of then have expired now."""
        return new_pki(self.now_ns - days * 86_400 * 10**9)

    def odd(
        self,
        *,
        extensions: Iterable[x509.ExtensionType],
        key: ec.EllipticCurvePrivateKey | None = None,
        subject: x509.Name | None = None,
        issuer: Issuer | None = None,
    ) -> bytes:
        """A certificate with exactly these extensions, signed by the issuing CA."""
        by = issuer or self.issuing
        now = datetime.fromtimestamp(self.now_ns // 10**9, tz=UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject or x509.Name([]))
            .issuer_name(by.certificate.subject)
            .public_key((key or new_key()).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(by.key, hashes.SHA256()).public_bytes(DER)


def new_pki(now_ns: int = BEGUN_NS, hospital: str = "St. Vitus") -> Pki:
    key = new_key()
    certificate = root_certificate(key, hospital=hospital, now_ns=now_ns, serial=1 << 100)
    return _below(Issuer(certificate, key), hospital=hospital, now_ns=now_ns)


def _below(root: Issuer, *, hospital: str, now_ns: int) -> Pki:
    key = new_key()
    spki = key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    certificate = issuing_certificate(
        spki, root=root, hospital=hospital, now_ns=now_ns, serial=x509.random_serial_number()
    )
    return Pki(root, Issuer(certificate, key), now_ns)


@pytest.fixture(scope="session")
def pki() -> Pki:
    return new_pki()


@pytest.fixture(scope="session")
def foreign_pki() -> Pki:
    return new_pki(hospital="Another hospital")
