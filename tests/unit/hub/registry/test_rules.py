"""What an issued certificate means for what is stored."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.errors import Conflict, IdentityRevoked, InputError
from asepsis.core.trust.identity import Profile
from asepsis.hub.registry.rules import (
    check_lift,
    check_origin_binding,
    check_reason,
    parse_label,
    wished_name,
    wished_profile,
)


def csr(*uris: str) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("request_der", "profile"),
    [
        (csr(), Profile.DEVICE),
        (csr("urn:dev:mac:0000000000000001"), Profile.DEVICE),
        (csr("urn:uuid:00000000-0000-4000-8000-000000000001"), Profile.CONSUMER),
    ],
)
def test_without_a_label_the_name_says_the_profile(request_der: bytes, profile: Profile) -> None:
    assert wished_profile(request_der) is profile


def test_the_first_name_is_the_wished_one() -> None:
    assert wished_name(csr()) == ""
    assert wished_name(csr("urn:a", "urn:b")) == "urn:a"


@pytest.mark.parametrize("bad", [b"", b"\x30\x00", csr()[:-1], b"\x00" * 100])
def test_what_is_no_request(bad: bytes) -> None:
    with pytest.raises(InputError):
        wished_profile(bad)


@pytest.mark.parametrize("label", ["server", "audit", "time", "", "Device", "../x"])
def test_labels_that_name_nothing(label: str) -> None:
    with pytest.raises(InputError):
        parse_label(label)


@pytest.mark.parametrize("label", ["device", "gateway", "consumer", "origin"])
def test_labels_are_profiles(label: str) -> None:
    assert parse_label(label).value == label


def test_only_an_enrolment_lifts_a_revocation_that_the_signer_knew() -> None:
    assert not check_lift(told=None, renewal=True)
    assert not check_lift(told=None, renewal=False)
    assert check_lift(told=True, renewal=False)
    for told, renewal in ((True, True), (False, True), (False, False)):
        with pytest.raises(IdentityRevoked):
            check_lift(told=told, renewal=renewal)


def test_origin_keys_are_bound_once() -> None:
    for bound, renewal in ((None, True), (b"a", True), (None, False), (b"b", False)):
        check_origin_binding(enrolled=True, bound=bound, offered=b"a", renewal=renewal)
    with pytest.raises(Conflict):
        check_origin_binding(enrolled=True, bound=b"b", offered=b"a", renewal=True)
    with pytest.raises(Conflict):
        check_origin_binding(enrolled=False, bound=None, offered=b"a", renewal=False)


@pytest.mark.parametrize("reason", ["", "x" * 257, "a\nb"])
def test_reasons_are_bounded(reason: str) -> None:
    with pytest.raises(InputError):
        check_reason(reason)
    assert check_reason("lost") == "lost"
