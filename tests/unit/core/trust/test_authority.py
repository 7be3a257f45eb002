"""Goal: the profile decides what a certificate says; a request gives a key and nothing else."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError, InputError, IssuanceRefused, LimitExceeded
from asepsis.core.trust.authority import Revoked, issue_leaf, read_csr, sign_crl
from asepsis.core.trust.identity import USAGES, Profile

DEVICE = "urn:dev:mac:0011223344556677"
DER = serialization.Encoding.DER
DAY_NS = 86_400 * 10**9


def request(
    *extensions: x509.ExtensionType,
    key: Any = None,
    subject: x509.Name | None = None,
    algorithm: Any = None,
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    key = key or ec.generate_private_key(ec.SECP256R1())
    return builder.sign(key, algorithm or hashes.SHA256()).public_bytes(DER)


def names(*entries: x509.GeneralName) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(entries)


URI = x509.UniformResourceIdentifier


def judge(csr: bytes, *, profile: Profile = Profile.DEVICE, hosts: Sequence[str] = ()) -> Any:
    return read_csr(csr, name=DEVICE, profile=profile, hosts=hosts)


@pytest.mark.parametrize(
    "extensions",
    [
        [],
        [names(URI(DEVICE))],
        [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])],
        [x509.BasicConstraints(ca=False, path_length=None)],
        [x509.OCSPNoCheck()],
    ],
)
def test_a_modest_request_gives_its_key(extensions: list[x509.ExtensionType]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert judge(request(*extensions, key=key)).public_key == key.public_key()


def test_the_subject_is_ignored() -> None:
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub.hospital.example")])
    judge(request(subject=root))


def key_usage(*, cert_sign: bool, crl_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


ESCALATIONS: dict[str, list[x509.ExtensionType]] = {
    "CA": [x509.BasicConstraints(ca=True, path_length=None)],
    "certificate signing": [key_usage(cert_sign=True, crl_sign=False)],
    "list signing": [key_usage(cert_sign=False, crl_sign=True)],
    "server's usage": [x509.ExtendedKeyUsage(USAGES[Profile.SERVER])],
    "gateway's usage": [x509.ExtendedKeyUsage(USAGES[Profile.GATEWAY])],
    "any usage": [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])],
    "another name": [names(URI("urn:dev:mac:ffffffffffffffff"))],
    "a further name": [names(URI(DEVICE), URI("urn:dev:mac:ffffffffffffffff"))],
    "its name twice": [names(URI(DEVICE), URI(DEVICE))],
    "a host name": [names(URI(DEVICE), x509.DNSName("hub.example"))],
    "a mail address": [names(URI(DEVICE), x509.RFC822Name("a@example.org"))],
    "no name in the extension": [names(x509.DNSName("hub.example"))],
}


@pytest.mark.parametrize("wish", ESCALATIONS)
def test_a_wish_for_more_is_refused(wish: str) -> None:
    with pytest.raises(IssuanceRefused):
        judge(request(*ESCALATIONS[wish]))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (rsa.generate_private_key(public_exponent=65_537, key_size=1_024), None),  # noqa: S505 - must be refused
        (rsa.generate_private_key(public_exponent=65_537, key_size=2_048), None),
        (ec.generate_private_key(ec.SECP384R1()), None),
        (ec.generate_private_key(ec.SECP256K1()), None),
        (ec.generate_private_key(ec.BrainpoolP256R1()), None),
    ],
    ids=["rsa-1024", "rsa-2048", "p-384", "secp256k1", "brainpool"],
)
def test_only_p256_keys_are_certified(key: Any, algorithm: Any) -> None:
    with pytest.raises(IssuanceRefused, match="P-256"):
        judge(request(key=key, algorithm=algorithm))


def test_an_edwards_key_is_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    with pytest.raises(IssuanceRefused, match="P-256"):
        judge(builder.sign(key, None).public_bytes(DER))


def test_a_weak_hash_or_a_bad_signature_proves_nothing() -> None:
    good = bytearray(request())
    good[-1] ^= 1
    with pytest.raises(AsepsisError):
        judge(bytes(good))
    with pytest.raises(IssuanceRefused, match="possession"):
        judge(request(algorithm=hashes.SHA224()))


def test_a_key_of_somebody_else_is_no_proof() -> None:
    """Goal: a request with a public key swapped in after signing is refused."""
    mine, theirs = request(), request()
    at = mine.find(b"\x03\x42\x00\x04")
    other = theirs.find(b"\x03\x42\x00\x04")
    swapped = mine[:at] + theirs[other : other + 68] + mine[at + 68 :]
    with pytest.raises(IssuanceRefused, match="possession"):
        judge(swapped)


def test_a_huge_request_is_not_even_parsed() -> None:
    with pytest.raises(LimitExceeded):
        judge(b"\x30" * 4_097)


@given(st.binary(max_size=200))
def test_noise_is_no_request(noise: bytes) -> None:
    with pytest.raises(InputError):
        judge(noise)


GOOD = request(names(URI(DEVICE)))


@given(at=st.integers(0, 2**20), flip=st.integers(1, 255))
def test_one_changed_byte_is_refused(at: int, flip: int) -> None:
    """Goal: a request is covered by its signature as a whole."""
    changed = bytearray(GOOD)
    changed[at % len(changed)] ^= flip
    with pytest.raises(AsepsisError):
        judge(bytes(changed))


def test_a_server_may_name_its_own_hosts_only() -> None:
    own = names(URI(DEVICE), x509.DNSName("hub.example"))
    judge(request(own), profile=Profile.SERVER, hosts=("hub.example",))
    hosts_only = names(x509.DNSName("hub.example"))
    judge(request(hosts_only), profile=Profile.SERVER, hosts=("hub.example",))
    with pytest.raises(IssuanceRefused):
        judge(request(own), profile=Profile.SERVER, hosts=("other.example",))


@pytest.mark.parametrize("profile", Profile)
def test_every_profile_is_written_as_its_table_says(pki: Any, profile: Profile) -> None:
    certificate = pki.leaf(profile)
    extensions = certificate.extensions
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert frozenset(usages.value) == USAGES[profile]
    assert usages.critical is (profile is Profile.TIME)  # RFC 3161 section 2.3
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    assert certificate.serial_number.bit_length() <= 160
    certificate.verify_directly_issued_by(pki.issuing.certificate)


def test_root_and_issuing_are_authorities_of_the_right_length(pki: Any) -> None:
    for certificate, length, days in (
        (pki.root.certificate, 1, 7_305),
        (pki.issuing.certificate, 0, 1_826),
    ):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (constraints.value.path_length, constraints.critical) == (length, True)
        validity = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert timedelta(days=days) <= validity <= timedelta(days=days, minutes=5)
    pki.issuing.certificate.verify_directly_issued_by(pki.root.certificate)


@given(st.integers(0, 1_826), st.integers(1, 400))
def test_no_leaf_outlives_its_issuer_or_90_days(pki: Any, after_days: int, days: int) -> None:
    now_ns = pki.now_ns + after_days * DAY_NS
    try:
        leaf = pki.leaf(Profile.DEVICE, now_ns=now_ns, days=days)
    except IssuanceRefused:
        assert after_days == 1_826
        return
    issuer = pki.issuing.certificate
    assert leaf.not_valid_after_utc <= issuer.not_valid_after_utc
    assert leaf.not_valid_before_utc >= issuer.not_valid_before_utc
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=90, minutes=5)


def test_an_expired_issuer_issues_nothing(pki: Any) -> None:
    with pytest.raises(IssuanceRefused, match="not valid now"):
        pki.leaf(Profile.DEVICE, now_ns=pki.now_ns + 2_000 * DAY_NS)


def test_only_servers_name_hosts(pki: Any) -> None:
    with pytest.raises(IssuanceRefused, match="hosts"):
        pki.leaf(Profile.DEVICE, hosts=("hub.example",))
    server = pki.leaf(Profile.SERVER, hosts=("hub.example", "::1"))
    alternative = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternative.get_values_for_type(x509.DNSName) == ["hub.example"]
    assert [str(one) for one in alternative.get_values_for_type(x509.IPAddress)] == ["::1"]


def test_a_crl_lists_serials_and_verifies(pki: Any) -> None:
    listed = [Revoked(7, pki.now_ns, x509.ReasonFlags.key_compromise), Revoked(5, pki.now_ns)]
    der = sign_crl(listed, issuer=pki.issuing, number=3, now_ns=pki.now_ns)
    crl = x509.load_der_x509_crl(der)
    assert crl.is_signature_valid(pki.issuing.key.public_key())
    assert [entry.serial_number for entry in crl] == [5, 7]
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3


def test_issue_leaf_takes_days_up_to_90(pki: Any) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    leaf = issue_leaf(
        key,
        profile=Profile.DEVICE,
        name=DEVICE,
        issuer=pki.issuing,
        now_ns=pki.now_ns,
        serial=1 << 90,
        days=1,
    )
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=1, minutes=5)
