"""Who the other side is: TLS contexts and the checks of a certificate that TLS does not make.

OpenSSL checks chain, time and, where a host is declared, its name. Purpose and declared identity
are checked here from the certificate's DER, on every connection, before a byte is sent.

Source: ISO/IEEE 11073-20701 (participant key purposes); RFC 9325; RFC 5280 section 4.2.1.12.
"""

import hmac
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from asepsis.core.errors import ConfigError, IdentityInvalid
from asepsis.core.trust import tls
from asepsis.core.trust.identity import EKU_SDC_PROVIDER, load_certificate
from asepsis.edge.gateway.sdc.cable import Proof
from asepsis.edge.gateway.sdc.plans import SdcPlan

CA_BYTES_MAX: Final = 65_536
CAS_MAX: Final = 16


def proof(plan: SdcPlan) -> Proof:
    """Read the plan's files; return how both sides prove themselves.

    Raises:
        ConfigError: A file cannot be read or used.
    """
    anchors = _anchors(plan)
    own = tls.KeyAndChain(chain_path=plan.chain, key_path=plan.key)
    return Proof(
        client=tls.peer_client_context(anchors, identity=own, by_host=not plan.entry.identity),
        server=tls.peer_server_context(anchors, identity=own),
        host=plan.entry.host or plan.entry.address,
        address=plan.entry.address,
        check=lambda leaf: check_provider(leaf, identity=plan.entry.identity),
    )


def _anchors(plan: SdcPlan) -> Sequence[bytes]:
    try:
        with plan.ca.open("rb") as file:
            pem = file.read(CA_BYTES_MAX + 1)
        found = x509.load_pem_x509_certificates(pem[:CA_BYTES_MAX])
    except (OSError, ValueError) as error:
        raise ConfigError(f"sdc {plan.entry.name}: {plan.ca} holds no certificate") from error
    if len(found) > CAS_MAX or len(pem) > CA_BYTES_MAX:
        raise ConfigError(f"sdc {plan.entry.name}: more than {CAS_MAX} CAs")
    return [one.public_bytes(Encoding.DER) for one in found]


def check_provider(leaf_der: bytes, *, identity: str) -> None:
    """Check that a certificate may provide SDC services, and whose it is.

    Args:
        leaf_der: Of the connected device; its chain is verified.
        identity: URI that its subject alternative names have to hold; empty asks for none.

    Raises:
        IdentityInvalid: It lacks serverAuth or the SDC participant key purpose, or is another's.

    Source: ISO/IEEE 11073-20701 (1.2.840.10004.20701.1.1); RFC 9525 section 6.
    """
    certificate = load_certificate(leaf_der)
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise IdentityInvalid("the certificate names no extended key usage") from error
    if ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        raise IdentityInvalid("the certificate is not for servers (serverAuth)")
    if EKU_SDC_PROVIDER not in usages:
        raise IdentityInvalid("the certificate is not for SDC service providers")
    if identity and not any(
        hmac.compare_digest(identity.encode(), uri.encode()) for uri in _uris(certificate)
    ):
        raise IdentityInvalid("the certificate is another device's")


def _uris(certificate: x509.Certificate) -> Sequence[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return ()
