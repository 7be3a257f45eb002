"""Goal: what a device computes with ssl's libcrypto is what `cryptography` computes."""

import copy
import gc
import os
import ssl
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import (
    InputError,
    LimitExceeded,
    SignatureInvalid,
    TransientError,
    TrustError,
)
from asepsis.core.trust import libcrypto, libcrypto_gcm
from asepsis.core.trust.libcrypto_binding import library

ES256 = ec.ECDSA(SHA256())
NAME = "urn:dev:mac:0011223344556677"
KEY = libcrypto.generate_key()
THEIRS = ec.generate_private_key(ec.SECP256R1())
messages = st.binary(max_size=2_000)
nonces = st.binary(min_size=12, max_size=12)
keys = st.binary(min_size=32, max_size=32)


def pem_of(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def spki_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def no_error_is_left() -> bool:
    return library().ERR_get_error() == 0


@given(messages)
def test_cryptography_verifies_our_signatures(message: bytes) -> None:
    raw = KEY.sign(message)
    encoded = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public = load_der_public_key(KEY.spki_der)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(encoded, message, ES256)
    assert len(raw) == 64


@given(messages)
def test_we_verify_the_signatures_of_cryptography(message: bytes) -> None:
    r, s = decode_dss_signature(THEIRS.sign(message, ES256))
    libcrypto.verify(spki_of(THEIRS), r.to_bytes(32, "big") + s.to_bytes(32, "big"), message)


@given(messages, st.integers(0, 64 * 8 - 1))
def test_a_flipped_bit_never_verifies(message: bytes, bit: int) -> None:
    """Goal: both libraries refuse the same signature, and our error queue stays empty."""
    number = int.from_bytes(KEY.sign(message), "big") ^ (1 << bit)
    raw = number.to_bytes(64, "big")
    with pytest.raises(SignatureInvalid):
        libcrypto.verify(KEY.spki_der, raw, message)
    assert no_error_is_left()
    public = load_der_public_key(KEY.spki_der)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    encoded = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    with pytest.raises(InvalidSignature):
        public.verify(encoded, message, ES256)


@given(st.binary(max_size=70))
def test_any_bytes_as_signature_are_refused(signature: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        libcrypto.verify(KEY.spki_der, signature, b"message")
    assert no_error_is_left()


@pytest.mark.parametrize("raw", [bytes(64), bytes(32) + b"\xff" * 32, b"\xff" * 64])
def test_signatures_of_zero_and_beyond_the_order_are_refused(raw: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        libcrypto.verify(KEY.spki_der, raw, b"message")


@given(st.binary(max_size=100))
def test_any_bytes_as_public_key_are_refused(spki: bytes) -> None:
    with pytest.raises(InputError):
        libcrypto.verify(spki, bytes(64), b"message")


def test_a_point_off_the_curve_is_refused() -> None:
    with pytest.raises(TrustError, match="not a point"):
        libcrypto.verify(KEY.spki_der[:-32] + bytes(32), bytes(64), b"message")
    assert no_error_is_left()


def test_short_halves_of_a_signature_are_padded() -> None:
    """Goal: one signature in 256 has a half with a leading zero byte; it must keep its length."""
    seen = [KEY.sign(number.to_bytes(2, "big")) for number in range(700)]
    assert {len(raw) for raw in seen} == {64}
    assert any(raw[0] == 0 or raw[32] == 0 for raw in seen)


@given(keys, nonces, messages, messages)
def test_sealing_is_that_of_cryptography(
    key: bytes, nonce: bytes, plaintext: bytes, aad: bytes
) -> None:
    sealed = libcrypto_gcm.AesGcm(key).seal(plaintext, nonce=nonce, aad=aad)
    assert sealed == AESGCM(key).encrypt(nonce, plaintext, aad)
    assert libcrypto_gcm.AesGcm(key).open(sealed, nonce=nonce, aad=aad) == plaintext


@given(keys, nonces, messages, st.data())
def test_a_changed_seal_never_opens(
    key: bytes, nonce: bytes, plaintext: bytes, data: st.DataObject
) -> None:
    sealed = bytearray(libcrypto_gcm.AesGcm(key).seal(plaintext, nonce=nonce, aad=b"record 7"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureInvalid):
        libcrypto_gcm.AesGcm(key).open(bytes(sealed), nonce=nonce, aad=b"record 7")
    with pytest.raises(InvalidTag):
        AESGCM(key).decrypt(nonce, bytes(sealed), b"record 7")
    assert no_error_is_left()


def test_a_seal_opens_only_where_it_belongs() -> None:
    box = libcrypto_gcm.AesGcm(bytes(32))
    sealed = box.seal(b"SpO2 97", nonce=bytes(12), aad=b"record 7")
    for key, nonce, aad, data in (
        (b"\1" * 32, bytes(12), b"record 7", sealed),
        (bytes(32), b"\1" * 12, b"record 7", sealed),
        (bytes(32), bytes(12), b"record 8", sealed),
        (bytes(32), bytes(12), b"record 7", sealed[:15]),
        (bytes(32), bytes(12), b"record 7", sealed[1:]),
    ):
        with pytest.raises(SignatureInvalid):
            libcrypto_gcm.AesGcm(key).open(data, nonce=nonce, aad=aad)


def test_wrong_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypto, "MESSAGE_BYTES_MAX", 8)
    box = libcrypto_gcm.AesGcm(bytes(32))
    with pytest.raises(InputError):
        libcrypto_gcm.AesGcm(bytes(16))
    with pytest.raises(InputError):
        box.seal(b"", nonce=bytes(16), aad=b"")
    with pytest.raises(LimitExceeded):
        box.seal(bytes(9), nonce=bytes(12), aad=b"")
    with pytest.raises(LimitExceeded):
        box.seal(b"", nonce=bytes(12), aad=bytes(9))
    with pytest.raises(LimitExceeded):
        KEY.sign(bytes(9))


def test_keys_travel_both_ways() -> None:
    ours = load_pem_private_key(KEY.to_pem(), None)
    assert isinstance(ours, ec.EllipticCurvePrivateKey)
    assert spki_of(ours) == KEY.spki_der
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        loaded = libcrypto.load_key(pem_of(THEIRS, form))
        assert loaded.spki_der == spki_of(THEIRS)
        assert libcrypto.load_key(loaded.to_pem()).spki_der == spki_of(THEIRS)
    assert no_error_is_left()


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nQUJD=A\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
        b"x" * 5_000,
        KEY.to_pem() + KEY.to_pem(),
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(ec.generate_private_key(ec.SECP256K1())),
        pem_of(rsa.generate_private_key(65_537, 2_048)),
    ],
)
def test_other_key_files_are_refused(pem: bytes) -> None:
    with pytest.raises((InputError, TrustError)):
        libcrypto.load_key(pem)
    assert no_error_is_left()


def test_a_key_whose_halves_do_not_match_is_refused() -> None:
    """Goal: a flash error in a key file is found at start, not by a hub that refuses."""
    half = THEIRS.private_numbers().private_value.to_bytes(32, "big")
    whole = THEIRS.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    other = (int.from_bytes(half, "big") - 1).to_bytes(32, "big")
    changed = x509_pem(whole.replace(half, other))
    with pytest.raises(TrustError):
        libcrypto.load_key(changed)
    assert no_error_is_left()


def x509_pem(raw: bytes) -> bytes:
    text = ssl.DER_cert_to_PEM_cert(raw)
    return text.replace("CERTIFICATE", "PRIVATE KEY").encode("ascii")


def test_key_files_are_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    (tmp_path / "device.key.part").write_bytes(b"left by a power cut")
    for key in (KEY, libcrypto.generate_key()):
        libcrypto.write_key(key, path)
        assert libcrypto.read_key(path).spki_der == key.spki_der
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["device.key"]


def test_key_files_that_cannot_be_used_say_so(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match=r"absent\.key"):
        libcrypto.read_key(tmp_path / "absent.key")
    with pytest.raises(TransientError):
        libcrypto.write_key(KEY, tmp_path / "no folder" / "device.key")


def test_a_key_is_never_copied() -> None:
    """Goal: two objects with one pointer would free it twice."""
    for how in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            how(KEY)


def test_a_request_is_what_cryptography_expects() -> None:
    request = x509.load_der_x509_csr(KEY.csr_der(common_name=NAME, uri=NAME))
    assert request.is_signature_valid
    public = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public == KEY.spki_der
    assert request.subject.rfc4514_string() == f"CN={NAME}"
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [NAME]
    assert len(names) == 1


def test_openssl_itself_takes_the_request(tmp_path: Path) -> None:
    path = tmp_path / "request.der"
    path.write_bytes(KEY.csr_der(common_name="bed 7", uri=NAME))
    shown = subprocess.run(
        ["openssl", "req", "-inform", "DER", "-in", path, "-verify", "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"URI:{NAME}" in shown.stdout
    assert "verify OK" in shown.stdout + shown.stderr


@pytest.mark.parametrize("name", ["", "x" * 121, "urn:dev:mac:ü", "urn:a\0b", "urn:a\nb"])
def test_a_request_takes_no_odd_names(name: str) -> None:
    with pytest.raises(InputError):
        KEY.csr_der(common_name="bed 7", uri=name)
    with pytest.raises(InputError):
        KEY.csr_der(common_name=name, uri=NAME)


def test_memory_does_not_grow() -> None:
    """Goal: every pointer is freed; 750 rounds of everything leave the process as it was."""

    def everything(rounds: int) -> None:
        box = libcrypto_gcm.AesGcm(bytes(32))
        for _ in range(rounds):
            key = libcrypto.load_key(pem)
            raw = key.sign(b"message")
            libcrypto.verify(key.spki_der, raw, b"message")
            with pytest.raises(SignatureInvalid):
                libcrypto.verify(key.spki_der, raw, b"other")
            box.open(box.seal(bytes(100), nonce=bytes(12), aad=b""), nonce=bytes(12), aad=b"")
            key.csr_der(common_name=NAME, uri=NAME)
            key.to_pem()
        gc.collect()

    pem = KEY.to_pem()
    everything(150)
    before = resident_bytes()
    everything(600)
    assert resident_bytes() - before < 1 << 17


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_threads_share_one_key() -> None:
    failures: list[Exception] = []

    def work(name: bytes) -> None:
        try:
            for number in range(100):
                message = name + bytes([number])
                libcrypto.verify(KEY.spki_der, KEY.sign(message), message)
        except TrustError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(bytes([n]),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_device_loads_nothing_but_the_standard_library() -> None:
    """Goal: encoder, signer and chain check of a device start without any third-party package."""
    program = (
        "import sys\n"
        "from asepsis.core.trust import libcrypto, libcrypto_x509, origin_chain, merkle\n"
        "from asepsis.core.wire import frames, origin\n"
        "foreign = {'cryptography', 'msgspec', '_cffi_backend'} & set(sys.modules)\n"
        "sys.exit(str(foreign) if foreign else 0)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_key_does_not_show_itself() -> None:
    half = THEIRS.private_numbers().private_value
    assert f"{half:x}" not in repr(libcrypto.load_key(pem_of(THEIRS)))
