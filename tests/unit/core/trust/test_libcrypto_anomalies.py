"""Goal: whichever call of libcrypto fails, a typed error comes out; no crash, no half result."""

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import ConfigError, FramingError, TrustError
from asepsis.core.trust import der, libcrypto, libcrypto_binding, libcrypto_gcm, libcrypto_x509

REAL = libcrypto_binding.library()
# These only read, free or name things; OpenSSL documents no failure for them.
CANNOT_FAIL = {
    "OpenSSL_version_num",
    "EVP_sha256",
    "EVP_aes_256_gcm",
    "X509_STORE_CTX_get_error",
    "X509_verify_cert_error_string",
    "X509_VERIFY_PARAM_set_depth",
    "X509_VERIFY_PARAM_set_auth_level",
}


class FailingLibrary:
    """Libcrypto whose n-th call that can fail does nothing and says so."""

    def __init__(self, fails_at: int) -> None:
        self.calls = 0
        self._fails_at = fails_at

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(REAL, name)
        if name in CANNOT_FAIL or name.startswith("ERR_") or name.endswith("_free"):
            return function

        def call(*arguments: Any) -> Any:
            self.calls += 1
            return 0 if self.calls == self._fails_at else function(*arguments)

        return call


KEY = libcrypto.generate_key()
PEM, RAW = KEY.to_pem(), KEY.sign(b"message")
BOX = libcrypto_gcm.AesGcm(bytes(32))
SEALED = BOX.seal(b"message", nonce=bytes(12), aad=b"aad")
NAME = "urn:dev:mac:0011223344556677"

OPERATIONS: dict[str, Callable[[], object]] = {
    "generate": libcrypto.generate_key,
    "load": lambda: libcrypto.load_key(PEM),
    "save": KEY.to_pem,
    "sign": lambda: KEY.sign(b"message"),
    "verify": lambda: libcrypto.verify(KEY.spki_der, RAW, b"message"),
    "request": lambda: KEY.csr_der(common_name=NAME, uri=NAME),
    "seal": lambda: BOX.seal(b"message", nonce=bytes(12), aad=b"aad"),
    "open": lambda: BOX.open(SEALED, nonce=bytes(12), aad=b"aad"),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_failing_call_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failures_of(OPERATIONS[name], monkeypatch) >= 2


def test_every_failing_call_of_a_chain_is_noticed(
    monkeypatch: pytest.MonkeyPatch, hospital: tuple[bytes, bytes, bytes]
) -> None:
    root, issuing, leaf = hospital

    def verify_chain() -> None:
        libcrypto_x509.verify_chain(
            leaf,
            intermediates=[issuing],
            roots=[root],
            purpose=libcrypto_x509.Purpose.TIMESTAMP_SIGN,
        )

    verify_chain()
    assert failures_of(verify_chain, monkeypatch) >= 10


def failures_of(operation: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the first, second, ... call fail until the operation succeeds; return how many failed."""
    for fails_at in range(1, 100):
        library = FailingLibrary(fails_at)
        for module in (libcrypto_binding, libcrypto, libcrypto_gcm, libcrypto_x509):
            monkeypatch.setattr(module, "library", lambda library=library: library)
        if library_reached_its_end(operation, library, fails_at):
            return fails_at - 1
    raise AssertionError("the operation never ends")


def library_reached_its_end(
    operation: Callable[[], object], library: FailingLibrary, fails_at: int
) -> bool:
    try:
        operation()
    except TrustError:
        assert library.calls >= fails_at
        assert REAL.ERR_get_error() == 0
        gc.collect()
        return False
    assert library.calls < fails_at, "a failed call went unnoticed"
    return True


def test_an_older_or_other_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypto_binding, "_OPENSSL_3", 0xFFFFFFFF)
    with pytest.raises(ConfigError, match="older"):
        libcrypto_binding.library.__wrapped__()
    monkeypatch.setitem(libcrypto_binding._PROTOTYPES, "EVP_no_such_thing", (None, ()))  # noqa: SLF001
    with pytest.raises(ConfigError, match="EVP_no_such_thing"):
        libcrypto_binding.library.__wrapped__()


def test_a_key_that_never_was_is_collected_in_peace() -> None:
    del_me = libcrypto.PrivateKey.__new__(libcrypto.PrivateKey)
    del del_me
    gc.collect()


def fake_certificate(
    *, extensions: bytes = b"", version: bytes = b"", times: tuple[bytes, bytes] | None = None
) -> bytes:
    """A certificate as far as its facts go; nobody signed it."""
    element, sequence = der.element, der.SEQUENCE
    start, end = times or (
        element(der.UTC_TIME, b"260101000000Z"),
        element(der.GENERALIZED_TIME, b"20510101000000Z"),
    )
    body = element(
        sequence,
        version or element(der.context(0), der.integer(2)),
        der.integer(7),
        element(sequence),
        element(sequence),
        element(sequence, start, end),
        element(sequence),
        element(sequence, b"\x05\x00"),
        element(der.context(1, constructed=False), b"\0issuer"),
        element(der.context(2, constructed=False), b"\0subject"),
        element(der.context(3), element(sequence, extensions)) if extensions else b"",
    )
    return element(sequence, body, element(sequence), element(der.BIT_STRING, b"\0"))


def extension(oid: str, *items: bytes) -> bytes:
    content = der.element(der.SEQUENCE, *items)
    octets = der.element(der.OCTET_STRING, content)
    return der.element(der.SEQUENCE, der.object_identifier(oid), octets)


def test_odd_but_lawful_certificates_are_read() -> None:
    """Goal: unique ids, other kinds of name and a certificate without extensions are no trouble."""
    facts = libcrypto_x509.read_certificate(fake_certificate())
    assert (facts.serial, facts.uris, facts.purposes) == (7, (), ())
    assert facts.not_after_ns == 2_556_144_000 * 10**9
    mail = der.element(der.context(1, constructed=False), b"a@b.example")
    uri = der.element(der.context(6, constructed=False), NAME.encode())
    facts = libcrypto_x509.read_certificate(
        fake_certificate(extensions=extension("2.5.29.17", mail, uri))
    )
    assert facts.uris == (NAME,)


NOT_ASCII = der.element(der.context(6, constructed=False), b"\xff")
UTC, GENERAL = der.UTC_TIME, der.GENERALIZED_TIME
BAD_CERTIFICATES = {
    "name not ASCII": fake_certificate(extensions=extension("2.5.29.17", NOT_ASCII)),
    "purpose no OID": fake_certificate(extensions=extension("2.5.29.37", der.integer(1))),
    "extension twice": fake_certificate(extensions=extension("2.5.29.17") * 2),
    "version 1": fake_certificate(version=der.element(der.context(0), der.integer(0))),
    "no version": fake_certificate(version=der.integer(7)),
    **{
        f"time {text!r}": fake_certificate(times=(der.element(tag, text),) * 2)
        for tag, text in (
            (UTC, b"2601010000Z"),
            (UTC, b"260101000000+0100"),
            (UTC, b"269901000000Z"),
            (GENERAL, b"20510101000000.5Z"),
            (GENERAL, b"20511301000000Z"),
            (der.INTEGER, b"20511301000000Z"),
        )
    },
}


@pytest.mark.parametrize("name", BAD_CERTIFICATES)
def test_malformed_certificates_are_refused(name: str) -> None:
    with pytest.raises(FramingError):
        libcrypto_x509.read_certificate(BAD_CERTIFICATES[name])


@pytest.fixture(name="hospital", scope="module")
def hospital_fixture() -> tuple[bytes, bytes, bytes]:
    """Root, issuing and time certificate of the golden vectors."""
    path = Path(__file__).parents[4] / "standard" / "vectors" / "trust.json"
    chain = json.loads(path.read_text(encoding="utf-8"))["signed_time"]["chain"]
    leaf, issuing, root = (bytes.fromhex(text) for text in chain)
    return root, issuing, leaf
