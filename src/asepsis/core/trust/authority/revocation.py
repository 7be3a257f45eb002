"""Signs a certificate revocation list for consumers outside; the hub itself never reads one.

The hub's own state decides who may speak. A list that is a week stale therefore warns people and
never refuses a ward (REQ-ID-017), as OpenSSL would do with every device past `nextUpdate`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from asepsis.core.trust.authority.certificates import Issuer

CRL_DAYS: Final = 7
"""Until the next list is promised; a new one is made at every revocation and daily."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """One serial number that ended.

    Attributes:
        serial: Serial number of the certificate.
        at_ns: When, nanoseconds since 1970.
        reason: Which reason people gave.
    """

    serial: int
    at_ns: int
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


def sign_crl(
    revoked: Iterable[Revoked],
    *,
    issuer: Issuer,
    number: int,
    now_ns: int,
) -> bytes:
    """Return a CRL v2 in DER over all serials that ended.

    Args:
        revoked: The serials, in any order.
        issuer: Issuing certificate and its key.
        number: CRL number, greater than that of every list before.
        now_ns: Nanoseconds since 1970.

    Source: RFC 5280 sections 5.1, 5.2.1, 5.2.3, 5.3.1.
    """
    now = _moment(now_ns)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now)
        .next_update(now + timedelta(days=CRL_DAYS))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
    )
    for entry in sorted(revoked, key=lambda one: one.serial):
        builder = builder.add_revoked_certificate(_entry(entry))
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _entry(entry: Revoked) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(entry.serial)
        .revocation_date(_moment(entry.at_ns))
    )
    if entry.reason is not x509.ReasonFlags.unspecified:  # RFC 5280 5.3.1: absent, not zero
        builder = builder.add_extension(x509.CRLReason(entry.reason), critical=False)
    return builder.build()


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // 1_000_000_000, tz=UTC)
