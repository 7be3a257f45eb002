"""The operator's public key, as the critical compartment reads it before its rights go.

Loaded only where a key is installed: a device without one carries no code for it in vitals.
"""

import base64
import binascii
import os
import re
from collections.abc import Callable
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.trust import libcrypto, libcrypto_binding

PEM_BYTES_MAX: Final = 1_024
SPKI_BYTES: Final = 91
_PEM: Final = re.compile(
    rb"\s*-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*"
)


def read_operator(descriptor: int) -> Callable[[bytes, bytes], None]:
    """Read the key and load libcrypto; the descriptor is used up.

    Returns:
        What raises AsepsisError unless a signature (first) over bytes (second) is the operator's.

    Raises:
        ConfigError: Not a P-256 public key in PEM.
    """
    try:
        # From the start: the file's position is shared with every earlier start.
        block = _PEM.fullmatch(os.pread(descriptor, PEM_BYTES_MAX, 0))
        spki = base64.b64decode(b"".join(block.group(1).split()), validate=True) if block else b""
    except (OSError, binascii.Error) as error:
        raise ConfigError("the operator's key cannot be read") from error
    finally:
        os.close(descriptor)
    if len(spki) != SPKI_BYTES:
        raise ConfigError("the operator's key is no P-256 public key in PEM")
    libcrypto_binding.library()
    return lambda signature, message: libcrypto.verify(spki, signature, message)


def public_pem(spki_der: bytes) -> bytes:
    """Return a public key as PEM (RFC 7468 section 13)."""
    text = base64.b64encode(spki_der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join((b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----", b""))
