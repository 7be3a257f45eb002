"""Goal: the certs-only message is what `openssl pkcs7` and `cryptography` read and write."""

import subprocess
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.trust.pkcs7 import certs_only, from_body, read_certs_only, to_body


def test_openssl_reads_what_is_written(pki: Any) -> None:
    body = to_body(certs_only([pki.issuing_der, pki.root_der]))
    pem = b"-----BEGIN PKCS7-----\n" + body.replace(b"\r", b"") + b"-----END PKCS7-----\n"
    done = subprocess.run(
        ["openssl", "pkcs7", "-print_certs"], input=pem, capture_output=True, check=True, timeout=20
    )
    read = [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(done.stdout)]
    assert read == [pki.issuing_der, pki.root_der]


def test_what_cryptography_writes_is_read(pki: Any) -> None:
    certificates = [pki.issuing.certificate, pki.root.certificate]
    message = pkcs7.serialize_certificates(certificates, Encoding.DER)
    assert set(read_certs_only(message)) == {pki.issuing_der, pki.root_der}
    assert len(pkcs7.load_der_pkcs7_certificates(certs_only([pki.root_der]))) == 1


@given(
    st.lists(
        st.binary(max_size=40).map(lambda b: b"\x30" + bytes([len(b)]) + b), min_size=1, max_size=16
    )
)
def test_round_trip(certificates: list[bytes]) -> None:
    message = certs_only(certificates)
    assert list(read_certs_only(message)) == certificates
    assert from_body(to_body(message)) == message


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(InputError):
        read_certs_only(noise)


@given(cut=st.integers(0, 2**16))
def test_truncation_is_refused(cut: int) -> None:
    message = certs_only([b"\x30\x03abc", b"\x30\x00"])
    with pytest.raises(InputError):
        read_certs_only(message[: cut % len(message)])


def test_limits() -> None:
    for count in (0, 17):
        with pytest.raises(LimitExceeded):
            certs_only([b"\x30\x00"] * count)
    with pytest.raises(LimitExceeded):
        from_body(b"A" * 65_537)
    with pytest.raises(InputError):
        from_body(b"not base64!")
