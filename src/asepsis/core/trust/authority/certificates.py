"""Builds the hospital's certificates from fixed profiles. The key may lie in a PKCS#11 token.

Root -> issuing (path length 0) -> leaf; P-256 with SHA-256 throughout. Names of devices are URIs,
and X.509 name constraints cannot confine URNs (RFC 5280 section 4.2.1.10 constrains the host part
only), so no constraint is written; the issuer's scope is checked in our own code instead.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from asepsis.core.errors import IssuanceRefused
from asepsis.core.trust.identity import USAGES, Profile

ROOT_DAYS: Final = 7_305
"""20 years."""
ISSUING_DAYS: Final = 1_826
"""5 years."""
LEAF_DAYS: Final = 90
BACKDATED: Final = timedelta(minutes=5)
"""Clocks of the ward may be this far behind; a certificate must count at once (REQ-ID-005)."""
COMMON_NAME_CHARS_MAX: Final = 64
"""RFC 5280 appendix A.1, ub-common-name."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA certificate with the key that signs for it; the key may lie in a PKCS#11 token."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def root_certificate(
    key: ec.EllipticCurvePrivateKey, *, hospital: str, now_ns: int, serial: int
) -> x509.Certificate:
    """Make the self-signed root, the hospital's trust anchor, valid 20 years.

    Args:
        key: P-256 key, which goes offline after this.
        hospital: Name for people, at most 64 characters.
        now_ns: Nanoseconds since 1970.
        serial: Random, 64 to 159 bits (RFC 5280 section 4.1.2.2).

    Source: RFC 5280 sections 4.2.1.1, 4.2.1.2, 4.2.1.3, 4.2.1.9.
    """
    name = _ca_name(hospital, "Asepsis root")
    now = _moment(now_ns)
    builder = _authority_extensions(key.public_key(), path_length=1)
    return (
        builder.subject_name(name)
        .issuer_name(name)
        .serial_number(serial)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=ROOT_DAYS))
        .sign(key, hashes.SHA256())
    )


def issuing_certificate(
    issuing_spki_der: bytes,
    *,
    root: Issuer,
    hospital: str,
    now_ns: int,
    serial: int,
) -> x509.Certificate:
    """Certify the issuing key: a CA with path length 0, valid 5 years and never beyond the root.

    Raises:
        IssuanceRefused: Not a P-256 key, or the root has expired.

    Source: RFC 5280 section 4.2.1.9 (pathLenConstraint); REQ-ID-005.
    """
    try:
        key = serialization.load_der_public_key(issuing_spki_der)
    except ValueError as error:
        raise IssuanceRefused("issuing key does not load") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IssuanceRefused("issuing key is not on P-256")
    begins, ends = _validity(root.certificate, now_ns=now_ns, days=ISSUING_DAYS)
    return (
        _authority_extensions(key, path_length=0)
        .subject_name(_ca_name(hospital, "Asepsis issuing"))
        .issuer_name(root.certificate.subject)
        .serial_number(serial)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(_authority_key_id(root.certificate), critical=False)
        .sign(root.key, hashes.SHA256())
    )


def issue_leaf(
    public_key: ec.EllipticCurvePublicKey,
    *,
    profile: Profile,
    name: str,
    issuer: Issuer,
    now_ns: int,
    serial: int,
    hosts: Sequence[str] = (),
    days: int = LEAF_DAYS,
) -> x509.Certificate:
    """Issue a certificate of one profile; nothing in it comes from the request but the key.

    Args:
        public_key: P-256 key whose possession was proven.
        profile: Decides every extension.
        name: Canonical URI, checked by the caller.
        issuer: Issuing certificate and its key.
        now_ns: Nanoseconds since 1970.
        serial: Random, 64 to 159 bits.
        hosts: DNS names and IP addresses, for the server profile only.
        days: Validity in days, 1 to 90; cut at the issuer's end.

    Raises:
        IssuanceRefused: The issuer has expired, or the profile takes no host names.

    Source: RFC 5280 sections 4.2.1.3, 4.2.1.6, 4.2.1.9, 4.2.1.12; RFC 3161 section 2.3 (critical
    timeStamping); ISO/IEEE 11073-20701 (SDC usage); REQ-ID-003, REQ-ID-005.
    """
    if hosts and profile is not Profile.SERVER:
        raise IssuanceRefused(f"a {profile} certificate names no hosts")
    begins, ends = _validity(issuer.certificate, now_ns=now_ns, days=min(days, LEAF_DAYS))
    usages = sorted(USAGES[profile], key=lambda usage: usage.dotted_string)
    alternative = [x509.UniformResourceIdentifier(name), *map(_host, hosts)]
    common_name = x509.NameAttribute(NameOID.COMMON_NAME, name[:COMMON_NAME_CHARS_MAX])
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([common_name]))
        .issuer_name(issuer.certificate.subject)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=profile is Profile.TIME)
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority_key_id(issuer.certificate), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def _validity(issuer: x509.Certificate, *, now_ns: int, days: int) -> tuple[datetime, datetime]:
    """Return begin and end, both inside the issuer's validity."""
    now = _moment(now_ns)
    begins = max(now - BACKDATED, issuer.not_valid_before_utc)
    ends = min(now + timedelta(days=days), issuer.not_valid_after_utc)
    if ends <= now or begins > now:
        raise IssuanceRefused(
            "the issuer's own certificate is not valid now",
            hint="renew the issuing certificate with the root; see docs/howto/hospital-ca.md",
        )
    return begins, ends


def _authority_extensions(
    key: ec.EllipticCurvePublicKey, *, path_length: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .public_key(key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, signs_certificates: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        subject = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound as error:
        raise IssuanceRefused("issuer carries no subject key identifier") from error
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject.value)


def _ca_name(hospital: str, role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, hospital[:COMMON_NAME_CHARS_MAX]),
            x509.NameAttribute(NameOID.COMMON_NAME, role),
        ]
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // 1_000_000_000, tz=UTC)
