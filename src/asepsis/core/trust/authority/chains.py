"""Verifies who signed a certificate: our own issuing CA, or a maker's chain up to a listed anchor.

Time is left out on purpose where it says so: an IDevID lives as long as its device (IEEE 802.1AR
clause 8.4), and an expired device certificate is not a revoked one (REQ-ID-015).
"""

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID

from asepsis.core.errors import IdentityInvalid
from asepsis.core.trust.identity import IDevId, idevid_from_der, load_certificate
from asepsis.core.trust.signer_values import CERTIFICATES_PER_CHAIN_MAX

RSA_BITS_MIN: Final = 2_048
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)


def verify_issued_by(certificate: x509.Certificate, *, issuer: x509.Certificate) -> None:
    """Check that `issuer` signed `certificate`; validity in time is the caller's business.

    Both come from `load_certificate`, which has read them through.

    Raises:
        IdentityInvalid: Another issuer's name, a bad signature, or a weak hash or key.

    Source: RFC 5280 section 6.1.3 (a)(1) and (a)(4).
    """
    try:
        if not isinstance(certificate.signature_hash_algorithm, _HASHES):
            raise IdentityInvalid("certificate is signed with a weak hash")
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise IdentityInvalid("certificate is not signed by its issuer") from error


def verify_idevid_chain(chain_der: Sequence[bytes], *, anchors: Sequence[bytes]) -> IDevId:
    """Verify a maker's chain up to a trusted maker CA and return the device's identity.

    Basic path validation without time: names chain, signatures hold, every issuer is a CA that may
    sign certificates and whose path length suffices, no critical extension is left unread.

    Args:
        chain_der: The IDevID, then intermediates in order, at most 5; the anchor may be left out.
        anchors: Trusted maker CA certificates, DER; roots or intermediates.

    Raises:
        IdentityInvalid: The chain does not hold, or ends at no anchor.

    Source: RFC 5280 section 6.1; IEEE 802.1AR-2018 clause 8.
    """
    if not chain_der:
        raise IdentityInvalid("IDevID chain is empty")
    identity = idevid_from_der(chain_der[0])
    verify_maker_chain(chain_der, anchors=anchors)
    return identity


def verify_maker_chain(chain_der: Sequence[bytes], *, anchors: Sequence[bytes]) -> x509.Certificate:
    """Verify a maker's chain up to a trusted maker CA and return the first certificate.

    Args:
        chain_der: Leaf, then intermediates in order, at most 5; the anchor may be left out.
        anchors: Trusted maker CA certificates, DER; roots or intermediates.

    Raises:
        IdentityInvalid: The chain does not hold, or ends at no anchor.

    Source: RFC 5280 section 6.1, without time.
    """
    if not 1 <= len(chain_der) <= CERTIFICATES_PER_CHAIN_MAX:
        raise IdentityInvalid("the maker's chain is empty or too long")
    chain = [load_certificate(der) for der in chain_der]
    trusted = [load_certificate(der) for der in anchors]
    _require_strong_key(chain[0])
    _require_understood(chain[0])
    for depth, (certificate, issuer) in enumerate(zip(chain, [*chain[1:], None], strict=True)):
        anchor = _anchor_of(certificate, trusted)
        if anchor is not None:
            _require_authority(anchor, below=depth)
            return chain[0]
        if issuer is None:
            break
        _require_authority(issuer, below=depth)
        verify_issued_by(certificate, issuer=issuer)
    raise IdentityInvalid("the chain ends at no trusted maker")


def check_anchor(der: bytes) -> x509.Certificate:
    """Return a maker's CA certificate if it may be an anchor.

    Raises:
        IdentityInvalid: Not a CA certificate, without keyCertSign, or with a weak key.

    Source: RFC 5280 sections 4.2.1.3, 4.2.1.9.
    """
    certificate = load_certificate(der)
    _require_authority(certificate, below=0)
    return certificate


def _anchor_of(
    certificate: x509.Certificate, trusted: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    """Find the anchor whose key signed it: two anchors may carry one name."""
    for anchor in trusted:
        if anchor.subject != certificate.issuer:
            continue
        try:
            verify_issued_by(certificate, issuer=anchor)
        except IdentityInvalid:
            continue
        return anchor
    return None


def _require_authority(certificate: x509.Certificate, *, below: int) -> None:
    """Check that a certificate may issue, with `below` CA certificates between it and the leaf."""
    _require_strong_key(certificate)
    _require_understood(certificate)
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise IdentityInvalid("an issuer of the chain is no CA certificate") from error
    if not constraints.ca or not usage.key_cert_sign:
        raise IdentityInvalid("an issuer of the chain may not sign certificates")
    if constraints.path_length is not None and constraints.path_length < below:
        raise IdentityInvalid("chain is longer than its issuer's path length")


def _require_strong_key(certificate: x509.Certificate) -> None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS_MIN:
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES):
        return
    raise IdentityInvalid("chain holds a weak key")


def _require_understood(certificate: x509.Certificate) -> None:
    critical = {extension.oid for extension in certificate.extensions if extension.critical}
    if critical - _UNDERSTOOD:
        raise IdentityInvalid("chain holds a critical extension that is not understood")
