"""Goal: a certificate names exactly one identity of one kind, or is refused with a clear word."""

import contextlib
import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import IdentityInvalid, InputError
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust.identity import (
    CERTIFICATE_BYTES_MAX,
    EKU_SDC_PROVIDER,
    USAGES,
    Profile,
    check_name,
    idevid_from_der,
    origin_from_der,
    peer_from_der,
    server_from_der,
)

DEVICE = "urn:dev:mac:0011223344556677"
UDI = "https://id.gs1.org/01/09506000134352/21/SN-1"
SIGNING = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
ENCIPHERING = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=True,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
LEAF = x509.BasicConstraints(ca=False, path_length=None)
DEVICE_USAGES = x509.ExtendedKeyUsage(USAGES[Profile.DEVICE])


def san(*uris: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("profile", "kind"),
    [
        (Profile.DEVICE, PrincipalKind.DEVICE),
        (Profile.GATEWAY, PrincipalKind.GATEWAY),
        (Profile.CONSUMER, PrincipalKind.CONSUMER),
    ],
)
def test_a_client_is_named(pki: Any, profile: Profile, kind: PrincipalKind) -> None:
    certificate = pki.leaf(profile)
    peer = peer_from_der(der(certificate))
    assert peer.kind is kind
    assert peer.serial == certificate.serial_number
    assert peer.fingerprint == hashlib.sha256(der(certificate)).digest()
    assert peer.issuer_cn == "Asepsis issuing"
    assert pki.now_ns - peer.not_before_ns == 300 * 10**9
    assert peer.not_after_ns - pki.now_ns == 90 * 86_400 * 10**9


def test_a_udi_is_a_name(pki: Any) -> None:
    assert peer_from_der(der(pki.leaf(Profile.DEVICE, name=UDI))).uri == UDI


@pytest.mark.parametrize("profile", [Profile.SERVER, Profile.ORIGIN, Profile.AUDIT, Profile.TIME])
def test_certificates_that_open_no_connection_are_no_peers(pki: Any, profile: Profile) -> None:
    with pytest.raises(IdentityInvalid, match="clientAuth"):
        peer_from_der(der(pki.leaf(profile)))


def test_a_server_is_a_server_and_nothing_else_is(pki: Any) -> None:
    server = pki.leaf(Profile.SERVER, hosts=("hub.example", "127.0.0.1"))
    assert server_from_der(der(server)).kind is PrincipalKind.SERVER
    with pytest.raises(IdentityInvalid, match="server"):
        server_from_der(der(pki.leaf(Profile.DEVICE)))


def test_an_origin_certificate_names_device_and_key(pki: Any) -> None:
    origin = origin_from_der(der(pki.leaf(Profile.ORIGIN)))
    assert origin.device.uri == DEVICE
    assert origin.key_id == hashlib.sha256(origin.spki_der).digest()[:8]
    with pytest.raises(IdentityInvalid, match="origin"):
        origin_from_der(der(pki.leaf(Profile.DEVICE)))


def test_usages_of_all_profiles_differ() -> None:
    assert len(set(USAGES.values())) == len(Profile)


BAD: dict[str, tuple[list[x509.ExtensionType], str]] = {
    "no usages": ([LEAF, SIGNING, san(DEVICE)], "2.5.29.37"),
    "only the SDC usage": (
        [LEAF, SIGNING, san(DEVICE), x509.ExtendedKeyUsage([EKU_SDC_PROVIDER])],
        "lacks clientAuth",
    ),
    "server and SDC without clientAuth": (
        [
            LEAF,
            SIGNING,
            san(DEVICE),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, EKU_SDC_PROVIDER]),
        ],
        "lacks clientAuth",
    ),
    "clientAuth alone": (
        [LEAF, SIGNING, san(DEVICE), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])],
        "no profile",
    ),
    "one usage too many": (
        [
            LEAF,
            SIGNING,
            san(DEVICE),
            x509.ExtendedKeyUsage([*USAGES[Profile.DEVICE], ExtendedKeyUsageOID.CODE_SIGNING]),
        ],
        "no profile",
    ),
    "no name": ([LEAF, SIGNING, DEVICE_USAGES], "2.5.29.17"),
    "two names": (
        [LEAF, SIGNING, DEVICE_USAGES, san(DEVICE, "urn:dev:mac:0011223344556678")],
        "exactly one URI",
    ),
    "a DNS name beside": (
        [
            LEAF,
            SIGNING,
            DEVICE_USAGES,
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(DEVICE), x509.DNSName("hub.example")]
            ),
        ],
        "exactly one URI",
    ),
    "upper-case name": ([LEAF, SIGNING, DEVICE_USAGES, san(DEVICE.upper())], "canonical"),
    "DI without serial": (
        [LEAF, SIGNING, DEVICE_USAGES, san("https://id.gs1.org/01/09506000134352")],
        "canonical",
    ),
    "a system's name on a device": (
        [LEAF, SIGNING, DEVICE_USAGES, san("urn:uuid:5307bbeb-bc66-4f78-8d5a-5c20d8fa1eae")],
        "canonical",
    ),
    "CA": (
        [x509.BasicConstraints(ca=True, path_length=0), SIGNING, DEVICE_USAGES, san(DEVICE)],
        "CA certificate",
    ),
    "no key usage": ([LEAF, DEVICE_USAGES, san(DEVICE)], "2.5.29.15"),
    "enciphering key": ([LEAF, ENCIPHERING, DEVICE_USAGES, san(DEVICE)], "digitalSignature"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_certificate_is_refused_with_a_clear_word(pki: Any, case: str) -> None:
    extensions, word = BAD[case]
    with pytest.raises(IdentityInvalid, match=word):
        peer_from_der(pki.odd(extensions=extensions))


def test_a_key_on_another_curve_is_refused(pki: Any) -> None:
    extensions = [LEAF, SIGNING, DEVICE_USAGES, san(DEVICE)]
    odd = pki.odd(extensions=extensions, key=ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(IdentityInvalid, match="P-256"):
        peer_from_der(odd)


@given(st.binary(max_size=300))
def test_noise_is_no_certificate(noise: bytes) -> None:
    with pytest.raises(IdentityInvalid):
        peer_from_der(noise)


def test_size_truncation_and_trailing_bytes_are_refused(pki: Any) -> None:
    good = der(pki.leaf(Profile.DEVICE))
    for bad in (b"\x30" * (CERTIFICATE_BYTES_MAX + 1), good[:-1], good + b"\0"):
        with pytest.raises(IdentityInvalid):
            peer_from_der(bad)


@pytest.fixture(scope="module")
def device_der(pki: Any) -> bytes:
    return der(pki.leaf(Profile.DEVICE))


@pytest.mark.filterwarnings("ignore")  # the library warns of odd serials and country names
@given(at=st.integers(0, 2**20), flip=st.integers(1, 255))
def test_one_changed_byte_never_leaks_a_foreign_error(
    device_der: bytes, at: int, flip: int
) -> None:
    """Goal: whatever a flipped byte does to the structure, the caller sees IdentityInvalid only."""
    changed = bytearray(device_der)
    changed[at % len(changed)] ^= flip
    with contextlib.suppress(IdentityInvalid):
        peer_from_der(bytes(changed))


def idevid(pki: Any, *serials: str, ca: bool = False) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, one) for one in serials])
    constraints = x509.BasicConstraints(ca=ca, path_length=None)
    return pki.odd(extensions=[constraints, SIGNING], subject=subject)


def test_an_idevid_gives_its_serial_and_issuer(pki: Any) -> None:
    identity = idevid_from_der(idevid(pki, "PM-4711"))
    assert identity.serial_number == "PM-4711"
    assert identity.issuer == pki.issuing.certificate.subject.rfc4514_string()


@pytest.mark.parametrize("serials", [(), ("one", "two")])
def test_an_idevid_has_exactly_one_printable_serial(pki: Any, serials: tuple[str, ...]) -> None:
    with pytest.raises(IdentityInvalid, match="serialNumber"):
        idevid_from_der(idevid(pki, *serials))


def test_a_ca_is_no_idevid(pki: Any) -> None:
    with pytest.raises(IdentityInvalid, match="CA"):
        idevid_from_der(idevid(pki, "PM-4711", ca=True))


def test_names_belong_to_profiles() -> None:
    assert check_name(DEVICE, profile=Profile.ORIGIN) == DEVICE
    with pytest.raises(InputError):
        check_name(DEVICE, profile=Profile.GATEWAY)
