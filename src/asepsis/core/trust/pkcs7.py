"""The certs-only message of EST: a degenerate PKCS#7 that carries certificates and no signature.

Source: RFC 7030 sections 4.1.3 and 4.2.3; RFC 5652 section 5.1; RFC 5751 section 3.8.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.trust import der

CERTIFICATES_MAX: Final = 16
BODY_BYTES_MAX: Final = 65_536
_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_DATA: Final = "1.2.840.113549.1.7.1"


def certs_only(certificates_der: Sequence[bytes]) -> bytes:
    """Return certificates as a degenerate SignedData in DER, in the order given.

    Raises:
        LimitExceeded: None, or more than `CERTIFICATES_MAX`.

    Source: RFC 5652 section 5.1 (SignedData version 1, no digest algorithms, no signers).
    """
    if not 1 <= len(certificates_der) <= CERTIFICATES_MAX:
        raise LimitExceeded(f"a certs-only message carries 1 to {CERTIFICATES_MAX} certificates")
    signed_data = der.element(
        der.SEQUENCE,
        der.integer(1),
        der.element(der.SET),
        der.element(der.SEQUENCE, der.object_identifier(_DATA)),
        der.element(der.context(0), *certificates_der),
        der.element(der.SET),
    )
    return der.element(
        der.SEQUENCE,
        der.object_identifier(_SIGNED_DATA),
        der.element(der.context(0), signed_data),
    )


def read_certs_only(message_der: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a certs-only message; nothing is verified.

    Raises:
        InputError: Not such a message, or one that carries more than certificates.
        LimitExceeded: Too large, or too many certificates.

    Source: RFC 5652 section 5.1.
    """
    content_info = der.DerReader(message_der)
    body = content_info.inner(der.SEQUENCE)
    content_info.end()
    if der.dotted(body.content(der.OBJECT_IDENTIFIER)) != _SIGNED_DATA:
        raise InputError("not a SignedData message")
    signed_data = body.inner(der.context(0)).inner(der.SEQUENCE)
    signed_data.unsigned()
    signed_data.content(der.SET)
    signed_data.content(der.SEQUENCE)
    certificates = signed_data.inner(der.context(0))
    found: list[bytes] = []
    while certificates.more:
        found.append(certificates.raw(der.SEQUENCE))
        if len(found) > CERTIFICATES_MAX:
            raise LimitExceeded(f"over {CERTIFICATES_MAX} certificates in one message")
    return tuple(found)


def to_body(message_der: bytes) -> bytes:
    """Return the base64 text of an EST body, lines of 64 characters (RFC 7030 section 4.1.3)."""
    text = base64.b64encode(message_der)
    return b"".join(text[at : at + 64] + b"\r\n" for at in range(0, len(text), 64))


def from_body(body: bytes) -> bytes:
    """Return the DER of an EST body: base64 with any line ends (RFC 8951 section 3.1).

    Raises:
        LimitExceeded: Over `BODY_BYTES_MAX` bytes.
        InputError: Not base64.
    """
    if len(body) > BODY_BYTES_MAX:
        raise LimitExceeded(f"EST body is over {BODY_BYTES_MAX} bytes")
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise InputError("EST body is not base64") from error
