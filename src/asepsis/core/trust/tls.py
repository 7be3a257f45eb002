"""TLS contexts: one for each listener, and for clients. Standard library only.

All contexts speak TLS 1.3 and, for older peers, TLS 1.2 with the suites of RFC 9325 section 4.2;
nothing older, no compression, no renegotiation, no early data (RFC 9325 sections 3.1.1 to 3.5,
RFC 8996). Python's `ssl` never accepts early data, so REQ-TLS-004 holds by construction.

A client certificate is anchored at the *issuing* certificates (partial chain), not at the root: a
hospital's own root may have issued other CAs, and X.509 name constraints cannot confine URN names
(RFC 5280 section 4.2.1.10 constrains hosts only), so another CA under the same root must not count.

Expiry: OpenSSL judges it only in a full handshake and never in a resumed one. The hub therefore
judges `notAfter` itself on every connection and request (REQ-TLS-006). Only contexts named "without
time check" leave it out of the handshake.
"""

import hashlib
import hmac
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, cast

from asepsis.core.errors import ConfigError, IdentityInvalid

SUITES_TLS12: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305"
    ":ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305"
)
"""Suites of TLS 1.2: ephemeral keys and authenticated encryption only (RFC 9325 section 4.2)."""
NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL's `x509_vfy.h`: validity dates are left to the caller."""
PARTIAL_CHAIN: Final = 0x80000
"""X509_V_FLAG_PARTIAL_CHAIN: an intermediate in the trust store is an anchor."""
TICKETS_CLINICAL: Final = 1
"""TLS 1.3 tickets a device gets: one resumption for a reconnect after a ward outage."""
CHAIN_CERTIFICATES_MAX: Final = 8
PIN_CHARS: Final = 64


class Listener(StrEnum):
    """The listeners of the hub; each has its own context and therefore its own ticket key."""

    CLINICAL = "clinical"
    ENROLMENT = "enrolment"
    PEOPLE = "people"
    DDI = "ddi"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAndChain:
    """Where a TLS end keeps what it proves itself with.

    Attributes:
        chain_path: PEM file: leaf, issuing certificate, root. The root goes along so that a client
            which holds only a token can compare its pin (REQ-TLS-007; RFC 8446 section 4.4.2).
        key_path: PEM file of the private key (PKCS#8), readable by this process only.
    """

    chain_path: Path
    key_path: Path


def server_context(
    listener: Listener,
    *,
    identity: KeyAndChain,
    issuing_der: Sequence[bytes] = (),
    maker_der: Sequence[bytes] = (),
) -> ssl.SSLContext:
    """Build the context of one listener.

    * clinical: a certificate of the hospital's issuing CA is required, inside its validity.
    * enrolment: a certificate of the hospital's or a listed maker's CA is taken if it is offered,
      expired or not (a device that lay in store renews here); the hub decides what it may do.
    * people: no client certificate.
    * ddi: a certificate of the CAs named for update clients, if there are any, and only if it is
      offered; see `require_client`.

    Tickets: the clinical and the DDI listener give one per TLS 1.3 connection; the two others none.

    Args:
        listener: Which one.
        identity: The hub's own chain and key.
        issuing_der: Issuing certificates of the hospital CA, DER; at least one unless `PEOPLE`.
            For `DDI` those of the CAs whose certificates name update clients, or none.
        maker_der: CA certificates of makers whose IDevIDs may enrol, DER; only for `ENROLMENT`.

    Raises:
        ConfigError: A file or certificate does not load, or anchors do not suit the listener.

    Source: RFC 9325 sections 3.1.1, 3.3, 3.4, 3.5, 4.2; RFC 7030 section 3.3.2; REQ-TLS-001 to 009.
    """
    if listener is not Listener.DDI and (listener is Listener.PEOPLE) == bool(issuing_der):
        raise ConfigError(f"listener {listener}: wrong set of hospital CA certificates")
    if maker_der and listener is not Listener.ENROLMENT:
        raise ConfigError(f"listener {listener} takes no maker's certificates")
    context = _floor(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_SINGLE_ECDH_USE
    if listener is Listener.DDI:
        context.num_tickets = TICKETS_CLINICAL
        context.verify_mode = ssl.CERT_OPTIONAL if issuing_der else ssl.CERT_NONE
    elif listener is Listener.CLINICAL:
        context.num_tickets = TICKETS_CLINICAL
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    else:
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    if listener is Listener.ENROLMENT:
        context.verify_mode = ssl.CERT_OPTIONAL
        _add_verify_flag(context, NO_CHECK_TIME)
    if issuing_der:
        _add_verify_flag(context, PARTIAL_CHAIN)
        _trust(context, [*issuing_der, *maker_der])
    reload_identity(context, identity)
    return context


def require_client(context: ssl.SSLContext) -> None:
    """Let nobody finish a handshake with this context who shows no certificate of its CAs.

    Source: RFC 8446 section 4.4.2.4.
    """
    context.verify_mode = ssl.CERT_REQUIRED


def reload_identity(context: ssl.SSLContext, identity: KeyAndChain) -> None:
    """Use a renewed chain and key for every handshake from now on; open connections go on.

    Raises:
        ConfigError: The files do not load or do not belong together; the old ones stay in use.

    Source: RFC 7030 section 4.2.2 (renewal without a gap).
    """
    try:
        # A scratch context first: OpenSSL would leave a half-changed one behind.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            identity.chain_path, identity.key_path, password=_no_password
        )
        context.load_cert_chain(identity.chain_path, identity.key_path, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"TLS chain or key does not load: {identity.chain_path}",
            hint="chain and key must belong together and be readable by this user",
        ) from error


def client_context(*, root_der: bytes, identity: KeyAndChain | None = None) -> ssl.SSLContext:
    """Build the context of a client that trusts one pinned root and compares the host's name.

    Args:
        root_der: The hospital root, DER; nothing else is trusted, no system store is read.
        identity: The client's own chain and key, if it has one.

    Raises:
        ConfigError: A certificate or file does not load.

    Source: RFC 9325 sections 3.1.1, 4.2; RFC 9525 section 6.3 (no common-name match); REQ-TLS-005.
    """
    context = _floor(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.hostname_checks_common_name = False
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    _trust(context, [root_der])
    if identity is not None:
        reload_identity(context, identity)
    return context


def client_context_without_time_check(
    *, root_der: bytes, identity: KeyAndChain | None = None
) -> ssl.SSLContext:
    """Build a device's context that leaves validity dates to the device's own trusted time.

    A device whose clock restarted in 1970 must still reach the hub (REQ-ID-015). Whoever uses this
    context compares the hub's `notBefore` and `notAfter` with trusted time once it has any.

    Raises:
        ConfigError: A certificate or file does not load.

    Source: RFC 5280 section 6.1.3 (a)(2) is what is left out; REQ-ID-018.
    """
    context = client_context(root_der=root_der, identity=identity)
    _add_verify_flag(context, NO_CHECK_TIME)
    return context


def peer_client_context(
    anchors_der: Sequence[bytes], *, identity: KeyAndChain, by_host: bool
) -> ssl.SSLContext:
    """Build a gateway's context towards devices of its own segment that have certificates.

    Args:
        anchors_der: CAs that issue their certificates, DER; no other is trusted.
        identity: The gateway's chain and key for such devices.
        by_host: Whether OpenSSL compares the host's name; otherwise the caller must compare the
            certificate itself before it sends a byte.

    Raises:
        ConfigError: A certificate or file does not load.

    Source: RFC 9325 sections 3.1.1, 4.2; ISO/IEEE 11073-20701 (R0063, R0064).
    """
    context = _floor(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.hostname_checks_common_name = False
    context.check_hostname = by_host
    _anchor(context, anchors_der, identity)
    return context


def peer_server_context(anchors_der: Sequence[bytes], *, identity: KeyAndChain) -> ssl.SSLContext:
    """Build the context on which a gateway takes reports of such devices; they prove themselves.

    Raises:
        ConfigError: A certificate or file does not load.

    Source: RFC 9325 sections 3.1.1, 3.4, 4.2; ISO/IEEE 11073-20701.
    """
    context = _floor(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_TICKET
    context.num_tickets = 0
    _anchor(context, anchors_der, identity)
    return context


def _anchor(context: ssl.SSLContext, anchors_der: Sequence[bytes], own: KeyAndChain) -> None:
    if not anchors_der:
        raise ConfigError("no CA certificate to trust")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    _add_verify_flag(context, PARTIAL_CHAIN)
    _trust(context, anchors_der)
    reload_identity(context, own)


def pin_of(root_der: bytes) -> str:
    """Return the pin of a root: lower-case hex SHA-256 of its DER (REQ-ID-007)."""
    return hashlib.sha256(root_der).hexdigest()


class _ChainReader(Protocol):
    """The part of CPython 3.10 to 3.12's `ssl` object that has no public name before 3.13."""

    def get_unverified_chain(self) -> Sequence[object] | None: ...


def unverified_chain(tls: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """Return the certificates that the peer sent, leaf first, as DER; nothing is verified.

    Raises:
        IdentityInvalid: No chain, or one of more than `CHAIN_CERTIFICATES_MAX` certificates.
    """
    inner = cast("_ChainReader", getattr(tls, "_sslobj", tls))
    chain = inner.get_unverified_chain() or ()
    if not 1 <= len(chain) <= CHAIN_CERTIFICATES_MAX:
        raise IdentityInvalid("peer sent no chain, or one that is too long")
    return tuple(
        entry if isinstance(entry, bytes) else ssl.PEM_cert_to_DER_cert(_pem(entry))
        for entry in chain
    )


def pinned_root(chain_der: Sequence[bytes], *, pin: str) -> bytes:
    """Pick the root that a token pins out of a hub's chain.

    Having it, the client builds `client_context(root_der=...)` and connects anew: only that second,
    verified connection may carry the secret.

    Args:
        chain_der: What `unverified_chain` returned.
        pin: Third part of the token, 64 lower-case hex digits.

    Raises:
        IdentityInvalid: No certificate of the chain has that SHA-256: not the expected hub.

    Source: REQ-ID-007, REQ-ID-008; RFC 7030 section 4.1.1 (out-of-band bootstrap).
    """
    if len(pin) != PIN_CHARS:
        raise IdentityInvalid("the token's pin is not a SHA-256 in hex")
    for der in chain_der[:CHAIN_CERTIFICATES_MAX]:
        if hmac.compare_digest(pin_of(der).encode(), pin.encode()):
            return der
    raise IdentityInvalid(
        "the hub's chain does not hold the pinned root",
        hint="somebody may stand between, or the token is for another hospital",
    )


def chain_probe_context() -> ssl.SSLContext:
    """Build a context that can only be used to look at a chain before its root is known.

    It verifies nothing, so a connection made with it must be closed after the handshake without
    one byte of application data sent. `pinned_root` then decides.

    Source: RFC 7030 section 4.1.1; REQ-ID-008.
    """
    context = _floor(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _floor(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES_TLS12)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _add_verify_flag(context: ssl.SSLContext, flag: int) -> None:
    # Python names only some of OpenSSL's flags; IntFlag keeps the others as plain bits.
    context.verify_flags = ssl.VerifyFlags(int(context.verify_flags) | flag)


def _trust(context: ssl.SSLContext, certificates_der: Sequence[bytes]) -> None:
    try:
        for der in dict.fromkeys(certificates_der):
            context.load_verify_locations(cadata=der)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError("a CA certificate does not load") from error


def _no_password() -> str:
    """Answer OpenSSL's passphrase prompt, so that a server never waits at a terminal."""
    return ""


def _pem(entry: object) -> str:
    return cast("_PublicBytes", entry).public_bytes()


class _PublicBytes(Protocol):
    def public_bytes(self) -> str: ...
