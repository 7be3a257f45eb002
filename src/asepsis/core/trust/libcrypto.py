"""ES256, AES-256-GCM and certificate requests over the libcrypto that Python's `ssl` loads.

A device carries no third-party package: these few functions are all the cryptography it needs
besides TLS. Errors name libcrypto's reason; nothing secret stands in them.

Source: RFC 7518 section 3.4 (ES256); NIST SP 800-38D (GCM); RFC 5958 and RFC 5915 (private keys);
RFC 5480 (public keys); RFC 2986 (requests). Tested against `cryptography`.
"""

import base64
import binascii
import ctypes
import os
import re
from ctypes import byref, c_size_t, c_void_p
from pathlib import Path
from typing import Final, NoReturn

from asepsis.core.errors import InputError, LimitExceeded, SignatureInvalid, TransientError
from asepsis.core.trust import der
from asepsis.core.trust.libcrypto_binding import check, failure, library, owned, parsed, written

SIGNATURE_BYTES: Final = 64
MESSAGE_BYTES_MAX: Final = 1 << 26
"""Largest message signed, sealed or opened at once: 64 MiB, far below libcrypto's own limits."""

PEM_BYTES_MAX: Final = 4_096
COMMON_NAME_CHARS_MAX: Final = 64  # RFC 5280 appendix A.1, ub-common-name.
URI_CHARS_MAX: Final = 120

_SPKI_PREFIX: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_SPKI_BYTES: Final = len(_SPKI_PREFIX) + 64
_SCALAR_BYTES: Final = 32
_PEM: Final = re.compile(
    rb"\s*-----BEGIN (EC PRIVATE KEY|PRIVATE KEY)-----\s([A-Za-z0-9+/=\s]+)-----END \1-----\s*"
)


class PrivateKey:
    """A P-256 signing key; its pointer is freed with the object.

    Make one with `generate_key`, `load_key` or `read_key`.

    Args:
        pointer: EVP_PKEY whose ownership passes to this object.

    Raises:
        InputError: Another kind of key.
        TrustError: libcrypto refuses the key, or its two halves do not belong together.

    Resource handling: the key stays in memory until the object is collected.
    """

    __slots__ = ("_free", "_pointer", "_spki")

    def __init__(self, pointer: int) -> None:
        lib = library()
        self._pointer, self._free = pointer, lib.EVP_PKEY_free
        self._spki = written(lib.i2d_PUBKEY, pointer, "cannot write the public key")
        if len(self._spki) != _SPKI_BYTES or not self._spki.startswith(_SPKI_PREFIX):
            raise InputError("not a P-256 key")
        context = lib.EVP_PKEY_CTX_new(pointer, None)
        with owned(context, lib.EVP_PKEY_CTX_free, "no memory for a key check"):
            check(lib.EVP_PKEY_pairwise_check(context), "the two halves of the key do not match")

    def __del__(self) -> None:
        """Free the key."""
        # `__init__` may have failed before the fields were set.
        if free := getattr(self, "_free", None):
            free(self._pointer)

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled.

        Raises:
            TypeError: Always: two objects with one pointer would free it twice.
        """
        raise TypeError("a private key is not copied")

    def __repr__(self) -> str:
        return f"<P-256 private key, SPKI ...{self._spki[-4:].hex()}>"

    @property
    def spki_der(self) -> bytes:
        """SubjectPublicKeyInfo, DER, uncompressed point, 91 bytes (RFC 5480 section 2)."""
        return self._spki

    def to_pem(self) -> bytes:
        """Return the key as unencrypted PKCS#8 PEM (RFC 5958, RFC 7468 section 10)."""
        lib = library()
        with owned(
            lib.EVP_PKEY2PKCS8(self._pointer), lib.PKCS8_PRIV_KEY_INFO_free, "cannot write the key"
        ) as info:
            raw = written(lib.i2d_PKCS8_PRIV_KEY_INFO, info, "cannot write the key")
        text = base64.b64encode(raw)
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        return b"\n".join(
            (b"-----BEGIN PRIVATE KEY-----", *lines, b"-----END PRIVATE KEY-----", b"")
        )

    def sign(self, message: bytes) -> bytes:
        """Sign with ES256.

        Args:
            message: At most `MESSAGE_BYTES_MAX` bytes; SHA-256 is taken of it here.

        Returns:
            r and s, 32 bytes each, big-endian.

        Raises:
            LimitExceeded: Too long a message.
            TrustError: libcrypto fails.

        Source: RFC 7518 section 3.4; FIPS 186-5 section 6.4.1.
        """
        return _raw_signature(self._sign_der(message))

    def csr_der(self, *, common_name: str, uri: str) -> bytes:
        """Return a signed certificate request for this key.

        Args:
            common_name: 1 to 64 printable ASCII characters; the issuer may ignore it.
            uri: Name for the subject alternative name, 1 to 120 printable ASCII characters.

        Returns:
            PKCS#10 in DER; its signature proves possession of the key.

        Raises:
            InputError: A name outside its range.
            TrustError: libcrypto fails.

        Source: RFC 2986 section 4; RFC 5280 section 4.2.1.6; RFC 5758 section 3.2.
        """
        info = _request_info(common_name, uri, self._spki)
        algorithm = der.element(der.SEQUENCE, der.object_identifier("1.2.840.10045.4.3.2"))
        signature = der.element(der.BIT_STRING, b"\0", self._sign_der(info))
        return der.element(der.SEQUENCE, info, algorithm, signature)

    def _sign_der(self, message: bytes) -> bytes:
        check_size(message)
        lib = library()
        signature = ctypes.create_string_buffer(80)
        size = c_size_t(len(signature))
        with owned(lib.EVP_MD_CTX_new(), lib.EVP_MD_CTX_free, "no memory to sign") as context:
            check(
                lib.EVP_DigestSignInit(context, None, lib.EVP_sha256(), None, self._pointer),
                "cannot start to sign",
            )
            check(
                lib.EVP_DigestSign(context, signature, byref(size), message, len(message)),
                "cannot sign",
            )
        return signature.raw[: size.value]


def generate_key() -> PrivateKey:
    """Make a new P-256 key with libcrypto's random generator.

    Raises:
        TrustError: libcrypto fails, for example without entropy.

    Source: FIPS 186-5 appendix A.2.
    """
    lib = library()
    made = lib.EVP_PKEY_CTX_new_from_name(None, b"EC", None)
    key = c_void_p()
    with owned(made, lib.EVP_PKEY_CTX_free, "no memory for a key") as context:
        check(lib.EVP_PKEY_keygen_init(context), "cannot start to make a key")
        check(lib.EVP_PKEY_CTX_set_group_name(context, b"P-256"), "no curve P-256")
        check(lib.EVP_PKEY_generate(context, byref(key)), "cannot make a key")
    return PrivateKey(key.value or 0)  # Null cannot be; if it were, the constructor refuses it.


def load_key(pem: bytes) -> PrivateKey:
    """Read an unencrypted P-256 key, PKCS#8 or SEC 1.

    Args:
        pem: One PEM block and nothing else, at most `PEM_BYTES_MAX` bytes.

    Raises:
        InputError: Not one such block, or another kind of key.
        TrustError: libcrypto cannot read it, or its two halves do not belong together.

    Source: RFC 7468 section 10; RFC 5958; RFC 5915.
    """
    if len(pem) > PEM_BYTES_MAX:
        raise LimitExceeded(f"key file over {PEM_BYTES_MAX} bytes")
    block = _PEM.fullmatch(pem)
    if not block:
        raise InputError("not an unencrypted private key in PEM")
    try:
        raw = base64.b64decode(b"".join(block.group(2).split()), validate=True)
    except binascii.Error as error:
        raise InputError("private key is not base64") from error
    return PrivateKey(parsed(library().d2i_AutoPrivateKey, raw, "cannot read the private key"))


def read_key(path: Path) -> PrivateKey:
    """Read a key file.

    Raises:
        InputError: Not one unencrypted P-256 key in PEM.
        TrustError: libcrypto cannot read it, or its two halves do not belong together.
        TransientError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            pem = file.read(PEM_BYTES_MAX + 1)
    except OSError as error:
        raise TransientError(f"cannot read key file {path.name}: {error.strerror}") from error
    return load_key(pem)


def write_key(key: PrivateKey, path: Path) -> None:
    """Write a key durably and readable to its owner only, in place of any earlier one.

    A power cut leaves the old file or the new one, never half of one.

    Raises:
        TransientError: The file cannot be written; the old one is intact.
    """
    try:
        _replace_durably(path, key.to_pem())
    except OSError as error:
        raise TransientError(f"cannot write key file {path.name}: {error.strerror}") from error


def _replace_durably(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def verify(spki_der: bytes, signature: bytes, message: bytes) -> None:
    """Check an ES256 signature.

    Args:
        spki_der: P-256 public key, uncompressed, 91 bytes.
        signature: r and s, 64 bytes.
        message: What was signed, at most `MESSAGE_BYTES_MAX` bytes.

    Raises:
        InputError: Not a P-256 public key.
        LimitExceeded: Too long a message.
        SignatureInvalid: Another signature, key or message.

    Source: RFC 7518 section 3.4; FIPS 186-5 section 6.4.2.
    """
    check_size(message)
    encoded = _der_signature(signature)
    if len(spki_der) != _SPKI_BYTES or not spki_der.startswith(_SPKI_PREFIX):
        raise InputError("not a P-256 public key")
    lib = library()
    key = parsed(lib.d2i_PUBKEY, spki_der, "not a point of P-256")
    with (
        owned(key, lib.EVP_PKEY_free, "no key"),
        owned(lib.EVP_MD_CTX_new(), lib.EVP_MD_CTX_free, "no memory to verify") as context,
    ):
        check(
            lib.EVP_DigestVerifyInit(context, None, lib.EVP_sha256(), None, key),
            "cannot start to verify",
        )
        if lib.EVP_DigestVerify(context, encoded, len(encoded), message, len(message)) != 1:
            raise failure(SignatureInvalid, "signature does not verify")


def check_size(message: bytes) -> None:
    """Refuse what is larger than one call takes.

    Raises:
        LimitExceeded: Over `MESSAGE_BYTES_MAX` bytes.
    """
    if len(message) > MESSAGE_BYTES_MAX:
        raise LimitExceeded(f"message over {MESSAGE_BYTES_MAX} bytes")


def _raw_signature(encoded: bytes) -> bytes:
    reader = der.DerReader(encoded).inner(der.SEQUENCE)
    return b"".join(reader.unsigned().to_bytes(_SCALAR_BYTES, "big") for _ in "rs")


def _der_signature(raw: bytes) -> bytes:
    if len(raw) != SIGNATURE_BYTES:
        raise SignatureInvalid("an ES256 signature has 64 bytes")
    halves = (raw[:_SCALAR_BYTES], raw[_SCALAR_BYTES:])
    return der.element(der.SEQUENCE, *(der.integer(int.from_bytes(half, "big")) for half in halves))


def _request_info(common_name: str, uri: str, spki: bytes) -> bytes:
    for name, most in ((common_name, COMMON_NAME_CHARS_MAX), (uri, URI_CHARS_MAX)):
        if not 1 <= len(name) <= most or not name.isascii() or not name.isprintable():
            raise InputError(f"a name in a request has 1 to {most} printable ASCII characters")
    oid, element, sequence = der.object_identifier, der.element, der.SEQUENCE
    common = element(der.UTF8_STRING, common_name.encode("ascii"))
    subject = element(sequence, element(der.SET, element(sequence, oid("2.5.4.3"), common)))
    # GeneralName [6] is uniformResourceIdentifier; OID 2.5.29.17 is subjectAltName.
    names = element(sequence, element(der.context(6, constructed=False), uri.encode("ascii")))
    extension = element(sequence, oid("2.5.29.17"), element(der.OCTET_STRING, names))
    # OID 1.2.840.113549.1.9.14 is extensionRequest (RFC 2985 section 5.4.2).
    request = element(
        sequence,
        oid("1.2.840.113549.1.9.14"),
        element(der.SET, element(sequence, extension)),
    )
    return element(sequence, der.integer(0), subject, spki, element(der.context(0), request))
