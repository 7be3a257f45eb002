"""Reads a PKCS#10 request (RFC 2986) and takes from it a key and a proof of possession only.

A wish that would widen the certificate is refused instead of being dropped silently: whoever sends
it is either misconfigured or trying, and a person should see both. The table of wishes:

| in the request                                   | what happens                             |
|--------------------------------------------------|------------------------------------------|
| subject                                          | ignored                                  |
| subject alternative name equal to the name       | accepted                                 |
| any other or further alternative name            | refused                                  |
| basicConstraints with CA:TRUE                    | refused                                  |
| key usage keyCertSign or cRLSign                 | refused                                  |
| extended key usages inside the profile's set     | accepted                                 |
| any other extended key usage                     | refused                                  |
| other extensions, validity, attributes           | ignored, never copied                    |
| key not on P-256, bad signature, over 4096 bytes | refused                                  |
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.errors import InputError, IssuanceRefused, LimitExceeded
from asepsis.core.trust.identity import USAGES, Profile
from asepsis.core.trust.signer_values import CSR_BYTES_MAX

ESCALATION_HINT: Final = "ask for nothing but the device's own name; see docs/explanation/keys.md"
_MALFORMED: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What is taken from a request.

    Attributes:
        public_key: The P-256 key whose possession is proven.
        spki_der: The same, DER SubjectPublicKeyInfo.
        spki_sha256: SHA-256 of `spki_der`: names the key.
    """

    public_key: ec.EllipticCurvePublicKey
    spki_der: bytes
    spki_sha256: bytes


def read_csr(
    csr_der: bytes, *, name: str, profile: Profile, hosts: Sequence[str] = ()
) -> CertificateRequest:
    """Judge a request for `name` under `profile` and return its key.

    Args:
        csr_der: PKCS#10 in DER, at most `CSR_BYTES_MAX` bytes.
        name: The only URI that the request may name.
        profile: The only usages that the request may wish.
        hosts: DNS names and IP addresses that a server's request may name.

    Raises:
        LimitExceeded: Too large.
        InputError: Not a PKCS#10 request, or malformed extensions.
        IssuanceRefused: Wrong key kind, no proof of possession, or a wish that is refused.

    Source: RFC 2986 section 4; RFC 7030 section 4.2.1; REQ-ID-004, REQ-ID-012.
    """
    csr = _parse(csr_der)
    key = _p256_key(csr)
    _require_possession(csr)
    try:
        extensions = csr.extensions
    except _MALFORMED as error:
        raise InputError("certificate request has malformed extensions") from error
    for extension in extensions:
        _judge(extension.value, name=name, profile=profile, hosts=hosts)
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return CertificateRequest(key, spki, hashlib.sha256(spki).digest())


def _parse(csr_der: bytes) -> x509.CertificateSigningRequest:
    if len(csr_der) > CSR_BYTES_MAX:
        raise LimitExceeded(f"certificate request is over {CSR_BYTES_MAX} bytes")
    try:
        return x509.load_der_x509_csr(csr_der)
    except _MALFORMED as error:
        raise InputError("not a PKCS#10 certificate request") from error


def _p256_key(csr: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    try:
        key = csr.public_key()
    except _MALFORMED as error:
        raise IssuanceRefused("certificate request carries an unknown key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IssuanceRefused("only P-256 keys are certified", hint="make a P-256 key")
    return key


def _require_possession(csr: x509.CertificateSigningRequest) -> None:
    try:
        strong = isinstance(csr.signature_hash_algorithm, _HASHES)
        held = strong and csr.is_signature_valid
    except _MALFORMED as error:
        raise IssuanceRefused("certificate request has an unknown signature") from error
    if not held:
        raise IssuanceRefused("certificate request does not prove possession of its key")


def _judge(wish: x509.ExtensionType, *, name: str, profile: Profile, hosts: Sequence[str]) -> None:
    if isinstance(wish, x509.SubjectAlternativeName):
        _judge_names(wish, name=name, hosts=hosts)
    elif isinstance(wish, x509.BasicConstraints) and wish.ca:
        raise IssuanceRefused("certificate request wishes to be a CA", hint=ESCALATION_HINT)
    elif isinstance(wish, x509.KeyUsage) and (wish.key_cert_sign or wish.crl_sign):
        raise IssuanceRefused("certificate request wishes CA key usage", hint=ESCALATION_HINT)
    elif isinstance(wish, x509.ExtendedKeyUsage) and not set(wish) <= USAGES[profile]:
        raise IssuanceRefused("certificate request wishes a foreign usage", hint=ESCALATION_HINT)


def _judge_names(wish: x509.SubjectAlternativeName, *, name: str, hosts: Sequence[str]) -> None:
    named: list[str] = []
    for entry in wish:
        if isinstance(entry, x509.UniformResourceIdentifier):
            named.append(entry.value)
        elif not _is_own_host(entry, hosts=hosts):
            raise IssuanceRefused("certificate request names another host", hint=ESCALATION_HINT)
    if (named or not hosts) and named != [name]:
        raise IssuanceRefused("certificate request names another identity", hint=ESCALATION_HINT)


def _is_own_host(entry: x509.GeneralName, *, hosts: Sequence[str]) -> bool:
    if isinstance(entry, x509.DNSName):
        return entry.value in hosts
    if isinstance(entry, x509.IPAddress):
        address = entry.value
        return isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address) and (
            address.compressed in hosts
        )
    return False
