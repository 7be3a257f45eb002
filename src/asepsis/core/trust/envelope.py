"""CMS envelopes for images that leave the hospital: AES-256 for the content, RSA for its key.

Source: RFC 5652 section 6 (EnvelopedData); DICOM PS3.15 annex E.1 (encrypted attributes).
"""

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
    pkcs7,
)

from asepsis.core.errors import ConfigError, FramingError, SignatureInvalid

RECIPIENTS_MAX: Final = 16
RSA_BITS_MIN: Final = 2_048


def read_recipient(pem: bytes) -> x509.Certificate:
    """Return a recipient's certificate.

    Raises:
        ConfigError: No certificate, or no RSA key of at least 2048 bits.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("the recipient's certificate cannot be read") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < RSA_BITS_MIN:
        raise ConfigError(f"a recipient has an RSA key of at least {RSA_BITS_MIN} bits")
    return certificate


def read_key(pem: bytes, *, passphrase: bytes | None = None) -> rsa.RSAPrivateKey:
    """Return a recipient's private key.

    Raises:
        ConfigError: No RSA key, or another passphrase.
    """
    try:
        key = load_pem_private_key(pem, password=passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError("the private key cannot be read") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError("a recipient has an RSA key")
    return key


def seal_envelope(content: bytes, recipients: list[x509.Certificate]) -> bytes:
    """Encrypt for recipients, AES-256-CBC as PS3.15 names it; DER.

    CMS envelopes of this kind do not authenticate the content: they hide it, nothing else.

    Raises:
        ConfigError: No recipient, or too many.
    """
    if not 1 <= len(recipients) <= RECIPIENTS_MAX:
        raise ConfigError(f"an envelope has 1 to {RECIPIENTS_MAX} recipients")
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(content)
    builder = builder.set_content_encryption_algorithm(algorithms.AES256)
    for recipient in recipients:
        builder = builder.add_recipient(recipient)
    return builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def open_envelope(der: bytes, *, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> bytes:
    """Decrypt an envelope; one byte of padding after it is passed over.

    Raises:
        FramingError: Not an envelope.
        SignatureInvalid: Not for this recipient, or it was changed.
    """
    exact = der[: _der_length(der)]
    try:
        return pkcs7.pkcs7_decrypt_der(exact, certificate, key, [])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureInvalid("the envelope does not open for this recipient") from error


def _der_length(der: bytes) -> int:
    if len(der) < 2 or der[0] != 0x30:
        raise FramingError("not a CMS envelope")
    if der[1] < 0x80:
        return 2 + der[1]
    count = der[1] & 0x7F
    if not 1 <= count <= 8 or len(der) < 2 + count:
        raise FramingError("not a CMS envelope")
    return 2 + count + int.from_bytes(der[2 : 2 + count], "big")
