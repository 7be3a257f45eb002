"""Certificate -> who it is, in one place. Checks form only; the caller has verified the chain.

An extended key usage (EKU) set names exactly one profile. The set is compared as a whole, so a
certificate that carries one usage too many is refused like one that lacks a usage.

Asepsis's own usages stand under one arc made from a UUID (ITU-T X.667 clause 6.3), because the
project owns no registered arc:

| profile  | extended key usages                                          |
|----------|--------------------------------------------------------------|
| device   | clientAuth, serverAuth, SDC service provider                 |
| gateway  | clientAuth, `ARC.1`                                          |
| consumer | clientAuth, `ARC.2`                                          |
| server   | serverAuth, `ARC.3`                                          |
| origin   | `ARC.4`: signs origin batches, opens no connection           |
| audit    | `ARC.5`: signs tree heads of the audit log                   |
| time     | timeStamping, critical and alone (RFC 3161 section 2.3)      |
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from asepsis.core.errors import IdentityInvalid, InputError
from asepsis.core.model.identity import DeviceId, PrincipalKind, parse_system_name

CERTIFICATE_BYTES_MAX: Final = 8192
"""Largest certificate accepted, in bytes of DER; an IDevID with attributes has about 1 KB."""
IDEVID_SERIAL_CHARS_MAX: Final = 64
"""Upper bound of X520SerialNumber (RFC 5280 appendix A.1, ub-serial-number)."""
KEY_ID_BYTES: Final = 8

ARC: Final = "2.25.110366081215678702529664867542989676206"
"""UUID arc of the project, 5307bbeb-bc66-4f78-8d5a-5c20d8fa1eae (ITU-T X.667)."""
EKU_SDC_PROVIDER: Final = x509.ObjectIdentifier("1.2.840.10004.20701.1.1")
"""Participant key purpose of an SDC service provider (ISO/IEEE 11073-20701)."""
EKU_GATEWAY: Final = x509.ObjectIdentifier(f"{ARC}.1")
EKU_CONSUMER: Final = x509.ObjectIdentifier(f"{ARC}.2")
EKU_SERVER: Final = x509.ObjectIdentifier(f"{ARC}.3")
EKU_ORIGIN: Final = x509.ObjectIdentifier(f"{ARC}.4")
EKU_AUDIT: Final = x509.ObjectIdentifier(f"{ARC}.5")


class Profile(StrEnum):
    """The kinds of leaf certificate that the hospital CA issues."""

    DEVICE = "device"
    GATEWAY = "gateway"
    CONSUMER = "consumer"
    SERVER = "server"
    ORIGIN = "origin"
    AUDIT = "audit"
    TIME = "time"


USAGES: Final[Mapping[Profile, frozenset[x509.ObjectIdentifier]]] = {
    Profile.DEVICE: frozenset(
        {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH, EKU_SDC_PROVIDER}
    ),
    Profile.GATEWAY: frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, EKU_GATEWAY}),
    Profile.CONSUMER: frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, EKU_CONSUMER}),
    Profile.SERVER: frozenset({ExtendedKeyUsageOID.SERVER_AUTH, EKU_SERVER}),
    Profile.ORIGIN: frozenset({EKU_ORIGIN}),
    Profile.AUDIT: frozenset({EKU_AUDIT}),
    Profile.TIME: frozenset({ExtendedKeyUsageOID.TIME_STAMPING}),
}
_PROFILE_BY_USAGES: Final = {usages: profile for profile, usages in USAGES.items()}
_KINDS: Final[Mapping[Profile, PrincipalKind]] = {
    Profile.DEVICE: PrincipalKind.DEVICE,
    Profile.GATEWAY: PrincipalKind.GATEWAY,
    Profile.CONSUMER: PrincipalKind.CONSUMER,
    Profile.SERVER: PrincipalKind.SERVER,
}
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
_NAMED_LIKE_DEVICES: Final = frozenset({Profile.DEVICE, Profile.ORIGIN})


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCertificate:
    """Who stands behind a connection, read from its certificate.

    Attributes:
        uri: Canonical name, the only URI in the subject alternative name.
        kind: Device, gateway, consumer or server.
        serial: Serial number of the certificate.
        not_before_ns: Start of validity, nanoseconds since 1970.
        not_after_ns: Last valid moment, nanoseconds since 1970.
        fingerprint: SHA-256 of the certificate's DER, 32 bytes.
        spki_sha256: SHA-256 of the DER SubjectPublicKeyInfo, 32 bytes: names the key.
        issuer_cn: Common name of the issuer, for people; never decide by it.
    """

    uri: str
    kind: PrincipalKind
    serial: int
    not_before_ns: int
    not_after_ns: int
    fingerprint: bytes
    spki_sha256: bytes
    issuer_cn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginCertificate:
    """Whose key signs origin batches.

    Attributes:
        device: Name of the device.
        spki_der: Public key, DER SubjectPublicKeyInfo (RFC 5280 section 4.1).
        key_id: First 8 bytes of the SHA-256 of `spki_der`, as in a batch.
        serial: Serial number of the certificate.
        not_before_ns: Start of validity, nanoseconds since 1970.
        not_after_ns: Last valid moment, nanoseconds since 1970.
        fingerprint: SHA-256 of the certificate's DER, 32 bytes.
    """

    device: DeviceId
    spki_der: bytes
    key_id: bytes
    serial: int
    not_before_ns: int
    not_after_ns: int
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IDevId:
    """An initial device identity as its maker gave it (IEEE 802.1AR-2018).

    Attributes:
        serial_number: The subject's serialNumber attribute: which device of that maker it is.
        issuer: Issuer's name as text (RFC 4514).
        fingerprint: SHA-256 of the certificate's DER, 32 bytes.
        spki_sha256: SHA-256 of the DER SubjectPublicKeyInfo, 32 bytes.
        not_after_ns: Last valid moment, nanoseconds since 1970; informative, see `idevid_from_der`.
    """

    serial_number: str
    issuer: str
    fingerprint: bytes
    spki_sha256: bytes
    not_after_ns: int


def load_certificate(der: bytes) -> x509.Certificate:
    """Parse one X.509 v3 certificate within the size limit.

    Raises:
        IdentityInvalid: Too large, no DER certificate, or not version 3.

    Source: RFC 5280 section 4.1.
    """
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise IdentityInvalid(f"certificate is over {CERTIFICATE_BYTES_MAX} bytes")
    try:
        certificate = x509.load_der_x509_certificate(der)
        _read_through(certificate)
    except _MALFORMED as error:
        raise IdentityInvalid("not an X.509 certificate") from error
    if certificate.version is not x509.Version.v3 or certificate.serial_number <= 0:
        raise IdentityInvalid("certificate is not version 3, or its serial is not positive")
    return certificate


_MALFORMED: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def _read_through(certificate: x509.Certificate) -> None:
    """Touch every part that the library parses only when asked, so that none fails later."""
    _ = (
        certificate.subject,
        certificate.issuer,
        certificate.extensions,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.signature_algorithm_oid,
        certificate.public_key(),
    )


def profile_of(certificate: x509.Certificate) -> Profile:
    """Return the profile that the extended key usages name.

    Raises:
        IdentityInvalid: No EKU extension, a set that is no profile's, or a set without clientAuth.

    Source: RFC 5280 section 4.2.1.12; ISO/IEEE 11073-20701.
    """
    usages = frozenset(_extension(certificate, x509.ExtendedKeyUsage).value)
    profile = _PROFILE_BY_USAGES.get(usages)
    if profile is not None:
        return profile
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise IdentityInvalid("extended key usage lacks clientAuth", hint=_EKU_HINT)
    raise IdentityInvalid("extended key usages are those of no profile", hint=_EKU_HINT)


_EKU_HINT: Final = "enrol the device again: the hospital CA sets the extended key usages"


def peer_from_der(der: bytes) -> PeerCertificate:
    """Say who a client is, from the certificate that its TLS handshake proved.

    The chain is OpenSSL's business and validity in time the hub's; this function judges form and
    purpose: version 3, end entity, P-256, one canonical URI, and a client's set of usages.

    Raises:
        IdentityInvalid: The certificate is malformed, names nobody or more than one, or is of a
            profile that opens no connection (server, origin, audit, time).

    Source: RFC 5280 sections 4.2.1.3, 4.2.1.6, 4.2.1.9, 4.2.1.12; REQ-ID-001, REQ-ID-003.
    """
    certificate = load_certificate(der)
    profile = profile_of(certificate)
    if ExtendedKeyUsageOID.CLIENT_AUTH not in USAGES[profile]:
        raise IdentityInvalid(f"a {profile} certificate is no client's: it lacks clientAuth")
    return _peer(der, certificate=certificate, profile=profile)


def server_from_der(der: bytes) -> PeerCertificate:
    """Say which hub a client reached, from the certificate that its TLS handshake proved.

    Raises:
        IdentityInvalid: Not a certificate of the server profile.

    Source: RFC 9525 section 6 (the DNS or IP name is compared by OpenSSL); REQ-TLS-005.
    """
    certificate = load_certificate(der)
    if profile_of(certificate) is not Profile.SERVER:
        raise IdentityInvalid("not a hub's server certificate")
    return _peer(der, certificate=certificate, profile=Profile.SERVER)


def origin_from_der(der: bytes) -> OriginCertificate:
    """Say whose origin key a certificate binds.

    Raises:
        IdentityInvalid: Not a certificate of the origin profile.

    Source: REQ-ORG (ADP/1).
    """
    certificate = load_certificate(der)
    if profile_of(certificate) is not Profile.ORIGIN:
        raise IdentityInvalid("not an origin certificate")
    uri = _end_entity_name(certificate, profile=Profile.ORIGIN)
    spki = spki_der(certificate)
    return OriginCertificate(
        device=DeviceId(uri),
        spki_der=spki,
        key_id=hashlib.sha256(spki).digest()[:KEY_ID_BYTES],
        serial=certificate.serial_number,
        not_before_ns=not_before_ns(certificate),
        not_after_ns=not_after_ns(certificate),
        fingerprint=hashlib.sha256(der).digest(),
    )


def idevid_from_der(der: bytes) -> IDevId:
    """Read a maker's initial device identifier; it opens enrolment only, never a clinical route.

    Validity in time is not judged: an IDevID lives as long as its device, and makers use either
    99991231235959Z or a date that has long passed on a stored device.

    Raises:
        IdentityInvalid: Malformed, a CA certificate, or without exactly one serialNumber.

    Source: IEEE 802.1AR-2018 clauses 8.6 (subject serialNumber) and 8.7; RFC 5280 section 4.1.2.5.
    """
    certificate = load_certificate(der)
    _refuse_ca(certificate)
    serials = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    if len(serials) != 1:
        raise IdentityInvalid("an IDevID carries exactly one subject serialNumber")
    serial_number = str(serials[0].value)
    if not 1 <= len(serial_number) <= IDEVID_SERIAL_CHARS_MAX or not serial_number.isprintable():
        raise IdentityInvalid("IDevID serialNumber is empty, too long or unprintable")
    return IDevId(
        serial_number=serial_number,
        issuer=certificate.issuer.rfc4514_string(),
        fingerprint=hashlib.sha256(der).digest(),
        spki_sha256=hashlib.sha256(spki_der(certificate)).digest(),
        not_after_ns=not_after_ns(certificate),
    )


def check_name(uri: str, *, profile: Profile) -> str:
    """Return `uri` if it is a canonical name for that profile.

    Raises:
        InputError: Not the canonical name of a device, or of a gateway, consumer or server.

    Source: REQ-ID-001, REQ-ID-002.
    """
    return DeviceId.parse(uri).uri if profile in _NAMED_LIKE_DEVICES else parse_system_name(uri)


def spki_der(certificate: x509.Certificate) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a certificate (RFC 5280 section 4.1)."""
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def not_before_ns(certificate: x509.Certificate) -> int:
    """Return the start of validity in nanoseconds since 1970."""
    return int(certificate.not_valid_before_utc.timestamp()) * 1_000_000_000


def not_after_ns(certificate: x509.Certificate) -> int:
    """Return the last valid moment in nanoseconds since 1970."""
    return int(certificate.not_valid_after_utc.timestamp()) * 1_000_000_000


def _peer(der: bytes, *, certificate: x509.Certificate, profile: Profile) -> PeerCertificate:
    common_names = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return PeerCertificate(
        uri=_end_entity_name(certificate, profile=profile),
        kind=_KINDS[profile],
        serial=certificate.serial_number,
        not_before_ns=not_before_ns(certificate),
        not_after_ns=not_after_ns(certificate),
        fingerprint=hashlib.sha256(der).digest(),
        spki_sha256=hashlib.sha256(spki_der(certificate)).digest(),
        issuer_cn=str(common_names[0].value) if common_names else "",
    )


def _end_entity_name(certificate: x509.Certificate, *, profile: Profile) -> str:
    """Check what all our leaves share and return the canonical name."""
    _refuse_ca(certificate)
    _require_signing_key(certificate)
    names = _extension(certificate, x509.SubjectAlternativeName).value
    uris = [name for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    others = len(list(names)) - len(uris)
    if len(uris) != 1 or (others and profile is not Profile.SERVER):
        raise IdentityInvalid("subject alternative name is not exactly one URI")
    try:
        return check_name(uris[0].value, profile=profile)
    except InputError as error:
        raise IdentityInvalid("subject alternative name is not a canonical name") from error


def _refuse_ca(certificate: x509.Certificate) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return
    if constraints.value.ca:
        raise IdentityInvalid("a CA certificate is no peer")


def _require_signing_key(certificate: x509.Certificate) -> None:
    if not _extension(certificate, x509.KeyUsage).value.digital_signature:
        raise IdentityInvalid("key usage lacks digitalSignature")
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IdentityInvalid("key is not on P-256")


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> x509.Extension[_Kind]:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound as error:
        raise IdentityInvalid(f"certificate lacks {kind.oid.dotted_string}") from error
