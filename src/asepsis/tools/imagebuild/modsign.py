"""Signs kernel modules as the kernel reads it: PKCS #7 behind the module, then a trailer.

Source: Linux `include/linux/module_signature.h`, `scripts/sign-file.c`;
Documentation/admin-guide/module-signing.rst; RFC 5652.
"""

import struct
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from asepsis.core.errors import ConfigError

MAGIC: Final = b"~Module signature appended~\n"
_PKCS7: Final = 2
"""PKEY_ID_PKCS7."""
_TRAILER: Final = struct.Struct(">BBBBB3xI")
_OPTIONS: Final = (
    pkcs7.PKCS7Options.DetachedSignature,
    pkcs7.PKCS7Options.Binary,
    pkcs7.PKCS7Options.NoAttributes,
    pkcs7.PKCS7Options.NoCerts,
)


def sign_module(module: bytes, *, key: Path, certificate: Path) -> bytes:
    """Return a module with a signature behind it.

    Args:
        module: Without one.
        key: RSA key, PEM: the kernel knows no other kind.
        certificate: Of this key, PEM.

    Raises:
        ConfigError: Key or certificate cannot be read, or is of another kind.
    """
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        own = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot use {key} with {certificate}") from error
    if not isinstance(private, rsa.RSAPrivateKey) or private.public_key() != own.public_key():
        raise ConfigError(f"{key} is no RSA key, or {certificate} is of another one")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(module)
    builder = builder.add_signer(own, private, hashes.SHA256())
    signature = builder.sign(serialization.Encoding.DER, list(_OPTIONS))
    return module + signature + _TRAILER.pack(0, 0, _PKCS7, 0, 0, len(signature)) + MAGIC
