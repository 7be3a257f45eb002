"""Enrolment and renewal over EST with the standard library (RFC 7030), and signed time.

Source: RFC 7030 sections 4.1 (cacerts), 4.2 (simpleenroll, simplereenroll); RFC 8951 (base64
transfer encoding); RFC 5652 section 5.1 (the certs-only message is a degenerate SignedData).
"""

import base64
import binascii
import json
import secrets
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import FramingError
from asepsis.core.trust.der import OBJECT_IDENTIFIER, SEQUENCE, SET, DerReader, context
from asepsis.edge.uplink.connection import HubConnection
from asepsis.edge.uplink.token import EnrolmentToken

NONCE_BYTES: Final = 16
CERTIFICATES_MAX: Final = 8
_EST: Final = "/.well-known/est"


@dataclass(frozen=True, slots=True)
class SignedTimeAnswer:
    """Signed time as the hub sends it; not yet verified (standard/frames.md).

    Attributes:
        nonce: The nonce that was sent, 16 bytes.
        statement: The bytes under the signature.
        signature: 64 bytes, r and s.
        chain_der: Time certificate first, root last.
    """

    nonce: bytes
    statement: bytes
    signature: bytes
    chain_der: tuple[bytes, ...]


def enrol(
    hub: HubConnection, csr_der: bytes, *, token: EnrolmentToken | None, label: str = ""
) -> list[bytes]:
    """Ask for a first certificate.

    Args:
        hub: Connection to the enrolment listener whose root was checked against the token's pin,
            or one that presents an IDevID.
        csr_der: PKCS#10 request.
        token: One-time token, or None with an IDevID or, for the origin label, with a certificate.
        label: "" for the device's certificate, "origin" for that of its origin key.

    Returns:
        The issued certificate first, then its issuers, DER.

    Raises:
        TrustError: The hub refuses.
        TransientError: Try again with the same request: it gets the same certificate.
        FramingError: The answer is no certs-only message.
    """
    headers = {"Authorization": token.basic_credentials()} if token else {}
    return _request(hub, f"{_labelled(label)}/simpleenroll", csr_der, headers)


def renew(hub: HubConnection, csr_der: bytes, *, label: str = "") -> list[bytes]:
    """Ask for the next certificate for the same name and key; errors as `enrol`."""
    return _request(hub, f"{_labelled(label)}/simplereenroll", csr_der, {})


def _labelled(label: str) -> str:
    return f"{_EST}/{label}" if label else _EST


def _request(hub: HubConnection, path: str, csr_der: bytes, headers: dict[str, str]) -> list[bytes]:
    answer = hub.request(
        "POST",
        path,
        body=base64.encodebytes(csr_der),
        headers={
            **headers,
            "Content-Type": "application/pkcs10",
            "Content-Transfer-Encoding": "base64",
        },
    )
    return certificates_of(answer.body)


def certificates_of(body: bytes) -> list[bytes]:
    """Return the certificates of a base64 certs-only PKCS#7 message, in the order sent.

    Raises:
        FramingError: Not such a message, or more than `CERTIFICATES_MAX` certificates.
    """
    try:
        der = base64.b64decode(body, validate=False)
    except binascii.Error as error:
        raise FramingError("the EST answer is not base64") from error
    signed_data = DerReader(der).inner(SEQUENCE)
    signed_data.content(OBJECT_IDENTIFIER)
    signed_data = signed_data.inner(context(0)).inner(SEQUENCE)
    signed_data.unsigned()  # Version.
    signed_data.content(SET)  # Digest algorithms: none, nothing is signed.
    signed_data.content(SEQUENCE)  # Encapsulated content: none.
    certificates = signed_data.inner(context(0))
    found: list[bytes] = []
    while certificates.more:
        found.append(certificates.raw(SEQUENCE))
        if len(found) > CERTIFICATES_MAX:
            raise FramingError("the EST answer holds too many certificates")
    if not found:
        raise FramingError("the EST answer holds no certificate")
    return found


def ask_time(hub: HubConnection) -> SignedTimeAnswer:
    """Ask for signed time with a fresh nonce; the caller verifies chain, signature and nonce.

    Raises:
        FramingError: The answer has another form.
        TransientError: No answer.
    """
    nonce = secrets.token_bytes(NONCE_BYTES)
    answer = hub.request("GET", f"/time?nonce={nonce.hex()}")
    try:
        document = json.loads(answer.body)
        chain = [base64.b64decode(text, validate=True) for text in document["chain"]]
        if not 1 <= len(chain) <= CERTIFICATES_MAX:
            raise FramingError("the signed time comes without a chain")
        return SignedTimeAnswer(
            nonce=nonce,
            statement=base64.b64decode(document["statement"], validate=True),
            signature=base64.b64decode(document["signature"], validate=True),
            chain_der=tuple(chain),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FramingError("the signed time has another form") from error
