"""Certificates on a device: read one, and verify a chain to a pinned root without asking the clock.

A device that was stored for a year boots with a wrong clock. It must still tell the hospital's hub
from an impostor, so the chain is verified without time; whether the certificate is valid *now* is
decided against trusted time by the caller, who gets the dates from `read_certificate`.

Source: RFC 5280 sections 4.1, 4.2 and 6.1; RFC 3161 section 2.3 (time-stamping purpose).
"""

import calendar
import contextlib
import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asepsis.core.errors import FramingError, IdentityInvalid, InputError, LimitExceeded, TrustError
from asepsis.core.trust import der
from asepsis.core.trust.libcrypto_binding import check, failure, library, owned, parsed

CERTIFICATE_BYTES_MAX: Final = 16_384
CERTIFICATES_MAX: Final = 8
"""Most intermediates, and most roots, in one verification."""

EXTENSIONS_MAX: Final = 64
NAMES_MAX: Final = 64
DEPTH_MAX: Final = 4
"""Most certificates between leaf and root."""

_FLAGS: Final = 0x200000 | 0x20  # X509_V_FLAG_NO_CHECK_TIME, X509_V_FLAG_X509_STRICT.
_LEVEL: Final = 2  # 112 bits: P-256 and SHA-256 pass, SHA-1 and RSA-1024 do not.
_EKU: Final = "2.5.29.37"
_SAN: Final = "2.5.29.17"
_DNS_TAG: Final = der.context(2, constructed=False)
_URI_TAG: Final = der.context(6, constructed=False)
_UTC_TIME: Final = re.compile(rb"[0-9]{12}Z")
_GENERALIZED_TIME: Final = re.compile(rb"[0-9]{14}Z")


class Purpose(IntEnum):
    """What the leaf must be allowed to do; the numbers are OpenSSL's X509_PURPOSE values."""

    TLS_CLIENT = 1
    TLS_SERVER = 2
    ANY = 7
    TIMESTAMP_SIGN = 9
    """Extended key usage timeStamping, critical and alone (RFC 3161 section 2.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What a device needs to know of a certificate.

    Attributes:
        serial: Positive integer, at most 20 bytes (RFC 5280 section 4.1.2.2).
        not_before_ns: Start of validity, nanoseconds since 1970.
        not_after_ns: Last moment of validity, nanoseconds since 1970.
        spki_der: SubjectPublicKeyInfo as it stands in the certificate.
        uris: URIs of the subject alternative name, in order.
        dns_names: DNS names of the subject alternative name, in order.
        purposes: Extended key usages, dotted.
        fingerprint: SHA-256 of the certificate.
    """

    serial: int
    not_before_ns: int
    not_after_ns: int
    spki_der: bytes
    uris: tuple[str, ...]
    dns_names: tuple[str, ...]
    purposes: tuple[str, ...]
    fingerprint: bytes


def read_certificate(certificate_der: bytes) -> CertificateFacts:
    """Read a certificate's facts; says nothing about who signed it.

    Args:
        certificate_der: One X.509 v3 certificate, at most `CERTIFICATE_BYTES_MAX` bytes.

    Raises:
        FramingError: Not one whole certificate in DER.
        LimitExceeded: More bytes, extensions or names than the limits.

    Source: RFC 5280 section 4.1.
    """
    _check_certificate_size(certificate_der)
    outer = der.DerReader(certificate_der)
    certificate = outer.inner(der.SEQUENCE)
    outer.end()
    body = certificate.inner(der.SEQUENCE)
    certificate.content(der.SEQUENCE)  # Signature algorithm; OpenSSL judges it and the signature.
    certificate.content(der.BIT_STRING)
    certificate.end()
    if body.content(der.context(0)) != der.integer(2):
        raise FramingError("not an X.509 version 3 certificate")
    serial = body.unsigned()
    body.content(der.SEQUENCE)  # Signature algorithm, again.
    body.content(der.SEQUENCE)  # Issuer.
    validity = body.inner(der.SEQUENCE)
    not_before_ns, not_after_ns = _time_ns(validity), _time_ns(validity)
    validity.end()
    body.content(der.SEQUENCE)  # Subject: the name is in the alternative name.
    spki = body.raw(der.SEQUENCE)
    extensions = _extensions(body)
    uris, dns_names = _names(extensions.get(_SAN, b""))
    return CertificateFacts(
        serial=serial,
        not_before_ns=not_before_ns,
        not_after_ns=not_after_ns,
        spki_der=spki,
        uris=uris,
        dns_names=dns_names,
        purposes=_purposes(extensions.get(_EKU, b"")),
        fingerprint=hashlib.sha256(certificate_der).digest(),
    )


def verify_chain(
    leaf_der: bytes,
    *,
    intermediates: Sequence[bytes] = (),
    roots: Sequence[bytes],
    purpose: Purpose,
) -> None:
    """Check that a certificate goes back to a pinned root and may be used for a purpose.

    Dates are not checked; see the module's text. Extensions are judged strictly (RFC 5280).

    Args:
        leaf_der: Certificate to judge.
        intermediates: Certificates that may stand between; not trusted, order does not matter.
        roots: Pinned self-signed roots; nothing else is trusted.
        purpose: What the leaf is used for.

    Raises:
        IdentityInvalid: No path to a root, wrong purpose, weak key or hash, malformed certificate.
        InputError: No root given.
        LimitExceeded: More or larger certificates than the limits.

    Source: RFC 5280 section 6.1; OpenSSL X509_verify_cert.
    """
    if not roots:
        raise InputError("a chain needs a root to be verified against")
    if max(len(intermediates), len(roots)) > CERTIFICATES_MAX:
        raise LimitExceeded(f"more than {CERTIFICATES_MAX} certificates")
    lib = library()
    with contextlib.ExitStack() as stack:
        # The store and the context add references of their own; the untrusted stack does not, so
        # every certificate lives until the context is gone.
        leaf = _loaded(leaf_der, stack)
        store = stack.enter_context(owned(lib.X509_STORE_new(), lib.X509_STORE_free, "no memory"))
        for root in roots:
            check(lib.X509_STORE_add_cert(store, _loaded(root, stack)), "cannot pin a root")
        between = stack.enter_context(
            owned(lib.OPENSSL_sk_new_null(), lib.OPENSSL_sk_free, "no memory")
        )
        for count, certificate in enumerate(intermediates, start=1):
            if lib.OPENSSL_sk_push(between, _loaded(certificate, stack)) != count:
                raise failure(IdentityInvalid, "cannot keep a certificate")
        _judge(store, leaf, between, purpose, stack)


def _judge(
    store: int, leaf: int, between: int, purpose: Purpose, stack: contextlib.ExitStack
) -> None:
    lib = library()
    context = stack.enter_context(
        owned(lib.X509_STORE_CTX_new(), lib.X509_STORE_CTX_free, "no memory")
    )
    check(lib.X509_STORE_CTX_init(context, store, leaf, between), "cannot start to verify")
    parameters = lib.X509_STORE_CTX_get0_param(context)
    if not parameters:
        raise failure(TrustError, "cannot set what is verified")
    check(lib.X509_VERIFY_PARAM_set_flags(parameters, _FLAGS), "cannot set flags")
    check(lib.X509_VERIFY_PARAM_set_purpose(parameters, int(purpose)), "cannot set the purpose")
    lib.X509_VERIFY_PARAM_set_depth(parameters, DEPTH_MAX)
    lib.X509_VERIFY_PARAM_set_auth_level(parameters, _LEVEL)
    if lib.X509_verify_cert(context) != 1:
        reason: bytes = lib.X509_verify_cert_error_string(lib.X509_STORE_CTX_get_error(context))
        lib.ERR_clear_error()
        raise IdentityInvalid(f"certificate chain: {reason.decode('ascii', 'replace')}")


def _loaded(certificate_der: bytes, stack: contextlib.ExitStack) -> int:
    _check_certificate_size(certificate_der)
    lib = library()
    try:
        pointer = parsed(lib.d2i_X509, certificate_der, "not a certificate")
    except (InputError, TrustError) as error:
        raise IdentityInvalid("not one whole certificate in DER") from error
    return stack.enter_context(owned(pointer, lib.X509_free, "not a certificate"))


def _check_certificate_size(certificate_der: bytes) -> None:
    if len(certificate_der) > CERTIFICATE_BYTES_MAX:
        raise LimitExceeded(f"certificate over {CERTIFICATE_BYTES_MAX} bytes")


def _time_ns(reader: der.DerReader) -> int:
    # RFC 5280 section 4.1.2.5: seconds and Z always; two-digit years are 1950 to 2049.
    if reader.next_is(der.UTC_TIME):
        text = reader.content(der.UTC_TIME)
        if not _UTC_TIME.fullmatch(text):
            raise FramingError("certificate time is not in the form of RFC 5280")
        text = (b"19" if text[:2] >= b"50" else b"20") + text
    else:
        text = reader.content(der.GENERALIZED_TIME)
        if not _GENERALIZED_TIME.fullmatch(text):
            raise FramingError("certificate time is not in the form of RFC 5280")
    try:
        return calendar.timegm(time.strptime(text.decode("ascii"), "%Y%m%d%H%M%SZ")) * 10**9
    except ValueError as error:
        raise FramingError("certificate time is no moment") from error


def _extensions(body: der.DerReader) -> dict[str, bytes]:
    for unique_id in (1, 2):
        if body.next_is(der.context(unique_id, constructed=False)):
            body.content(der.context(unique_id, constructed=False))
    if not body.more:
        return {}
    wrapper = body.inner(der.context(3))
    body.end()
    listed = wrapper.inner(der.SEQUENCE)
    wrapper.end()
    found: dict[str, bytes] = {}
    while listed.more:
        extension = listed.inner(der.SEQUENCE)
        name = der.dotted(extension.content(der.OBJECT_IDENTIFIER))
        if extension.next_is(der.BOOLEAN):
            extension.content(der.BOOLEAN)
        if name in found:
            raise FramingError("an extension stands twice in a certificate")
        found[name] = extension.content(der.OCTET_STRING)
        extension.end()
        if len(found) > EXTENSIONS_MAX:
            raise LimitExceeded(f"more than {EXTENSIONS_MAX} extensions")
    return found


def _names(extension: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names: dict[int, list[str]] = {_URI_TAG: [], _DNS_TAG: []}
    for count, (tag, content) in enumerate(_items(extension)):
        if count >= NAMES_MAX:
            raise LimitExceeded(f"more than {NAMES_MAX} alternative names")
        if tag in names:
            try:
                names[tag].append(content.decode("ascii"))
            except UnicodeDecodeError as error:
                raise FramingError("an alternative name is not ASCII") from error
    return tuple(names[_URI_TAG]), tuple(names[_DNS_TAG])


def _purposes(extension: bytes) -> tuple[str, ...]:
    items = _items(extension)
    if any(tag != der.OBJECT_IDENTIFIER for tag, _ in items) or len(items) > NAMES_MAX:
        raise FramingError("extended key usage is malformed")
    return tuple(der.dotted(content) for _, content in items)


def _items(extension: bytes) -> list[tuple[int, bytes]]:
    if not extension:
        return []
    outer = der.DerReader(extension)
    inner = outer.inner(der.SEQUENCE)
    outer.end()
    found: list[tuple[int, bytes]] = []
    while inner.more:
        found.append(inner.any())
    return found
