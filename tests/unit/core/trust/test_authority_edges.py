"""Goal: the rarer refusals of identity, CA and TLS code, each by the input that causes it."""

import ipaddress
import ssl
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from asepsis.core.errors import IdentityInvalid, InputError, IssuanceRefused, LimitExceeded
from asepsis.core.trust import der, pkcs7, tls
from asepsis.core.trust.authority import Issuer, check_anchor, issuing_certificate, read_csr
from asepsis.core.trust.identity import Profile, idevid_from_der, load_certificate

DEVICE = "urn:dev:mac:0011223344556677"
DER = serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()).public_key(), None])
def test_an_issuing_key_that_is_no_p256_key_is_refused(pki: Any, key: Any) -> None:
    spki = key.public_bytes(DER, SPKI) if key else b"noise"
    with pytest.raises(IssuanceRefused):
        issuing_certificate(spki, root=pki.root, hospital="x", now_ns=pki.now_ns, serial=1 << 80)


def test_an_issuer_without_key_identifier_issues_nothing(pki: Any) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    bare = load_certificate(pki.odd(extensions=[], key=key))
    spki = key.public_key().public_bytes(DER, SPKI)
    with pytest.raises(IssuanceRefused, match="key identifier"):
        issuing_certificate(
            spki, root=Issuer(bare, key), hospital="x", now_ns=pki.now_ns, serial=1 << 80
        )


def test_an_anchor_without_constraints_is_refused(pki: Any) -> None:
    with pytest.raises(IdentityInvalid, match="no CA"):
        check_anchor(pki.odd(extensions=[]))


def test_a_serial_that_is_not_positive_is_refused(pki: Any) -> None:
    good = pki.leaf(Profile.DEVICE).public_bytes(DER)
    number = load_certificate(good).serial_number
    raw = number.to_bytes((number.bit_length() + 8) // 8, "big")
    changed = good.replace(raw, b"\x80" + raw[1:], 1)
    with pytest.warns(Warning, match="serial"), pytest.raises(IdentityInvalid):
        load_certificate(changed)


def test_an_unprintable_serial_number_is_refused(pki: Any) -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, "PM-12345")])
    good = pki.odd(extensions=[], subject=subject)
    # The same certificate with the text re-tagged as UTF8String holding a control character.
    changed = good.replace(b"\x13\x08PM-12345", b"\x0c\x08PM-\x0712345"[:10], 1)
    with pytest.raises(IdentityInvalid, match="unprintable"):
        idevid_from_der(changed)


def test_malformed_extensions_in_a_request_are_an_input_error() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x05\x00")
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.add_extension(odd, critical=False).sign(key, hashes.SHA256())
    with pytest.raises(InputError, match="malformed extensions"):
        read_csr(csr.public_bytes(DER), name=DEVICE, profile=Profile.DEVICE)


@pytest.mark.parametrize(("address", "taken"), [("127.0.0.1", True), ("127.0.0.2", False)])
def test_a_server_request_may_name_its_own_address(address: str, *, taken: bool) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.add_extension(names, critical=False).sign(key, hashes.SHA256()).public_bytes(DER)
    if taken:
        assert read_csr(csr, name=DEVICE, profile=Profile.SERVER, hosts=["127.0.0.1"])
        return
    with pytest.raises(IssuanceRefused):
        read_csr(csr, name=DEVICE, profile=Profile.SERVER, hosts=["127.0.0.1"])


def test_other_pkcs7_content_and_too_many_certificates_are_refused() -> None:
    message = pkcs7.certs_only([b"\x30\x00"] * 16)
    data = message.replace(der.object_identifier("1.2.840.113549.1.7.2"),
                           der.object_identifier("1.2.840.113549.1.7.3"), 1)  # fmt: skip
    with pytest.raises(InputError, match="SignedData"):
        pkcs7.read_certs_only(data)
    many = der.element(
        der.SEQUENCE,
        der.object_identifier("1.2.840.113549.1.7.2"),
        der.element(
            der.context(0),
            der.element(
                der.SEQUENCE,
                der.integer(1),
                der.element(der.SET),
                der.element(der.SEQUENCE),
                der.element(der.context(0), *[b"\x30\x00"] * 17),
            ),
        ),
    )
    with pytest.raises(LimitExceeded):
        pkcs7.read_certs_only(many)


def test_a_connection_without_a_chain_is_refused() -> None:
    """Goal: before the handshake there is no chain to compare a pin with."""
    context = tls.chain_probe_context()
    fresh = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    with pytest.raises(IdentityInvalid):
        tls.unverified_chain(cast("ssl.SSLObject", fresh))
