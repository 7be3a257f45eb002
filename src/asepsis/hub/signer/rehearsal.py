"""Uses every part once with throw-away keys, before privileges go.

Two purposes: a self-test of the cryptography (issue, sign, verify, seal, list), and the loading of
every module that Python or a library would otherwise load on first use, when the code may lie in a
folder that the signer's user cannot read.
"""

import importlib
import time
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.errors import ConfigError, IdentityInvalid
from asepsis.core.trust import requests as typed
from asepsis.core.trust import signer_values
from asepsis.core.trust.authority import (
    Issuer,
    Revoked,
    issue_leaf,
    issuing_certificate,
    read_csr,
    root_certificate,
    sign_crl,
    verify_idevid_chain,
    verify_issued_by,
)
from asepsis.core.trust.identity import Profile, peer_from_der
from asepsis.hub.signer import sealed

NAME: Final = "urn:dev:mac:0000000000000000"
PKCS11_LIBRARY: Final = "pkcs11._pkcs11"
"""What `pkcs11` loads when a token is opened."""
_DER: Final = serialization.Encoding.DER


def rehearse() -> None:
    """Issue, verify, list and seal once.

    Raises:
        ConfigError: The cryptography of this machine does not do what it must.
    """
    now_ns = time.time_ns()
    root_key, issuing_key, device_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = root_certificate(root_key, hospital="rehearsal", now_ns=now_ns, serial=1 << 80)
    spki = issuing_key.public_key().public_bytes(
        _DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    issuing = issuing_certificate(
        spki,
        root=Issuer(root, root_key),
        hospital="rehearsal",
        now_ns=now_ns,
        serial=2 << 80,
    )
    issuer = Issuer(issuing, issuing_key)
    csr = read_csr(_request(device_key), name=NAME, profile=Profile.DEVICE)
    leaf = issue_leaf(
        csr.public_key,
        profile=Profile.DEVICE,
        name=NAME,
        issuer=issuer,
        now_ns=now_ns,
        serial=3 << 80,
    )
    verify_issued_by(leaf, issuer=issuing)
    if peer_from_der(leaf.public_bytes(_DER)).uri != NAME:
        raise ConfigError("self-test: a certificate does not read back")
    sign_crl([Revoked(5, now_ns)], issuer=issuer, number=1, now_ns=now_ns)
    _rehearse_refusal(leaf, root)
    _rehearse_seal()
    importlib.import_module(PKCS11_LIBRARY)


def _request(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(NAME)])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(name, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(_DER)
    )


def _rehearse_refusal(leaf: x509.Certificate, root: x509.Certificate) -> None:
    """A certificate without serialNumber is no IDevID: the refusal must work too."""
    try:
        verify_idevid_chain([leaf.public_bytes(_DER)], anchors=[root.public_bytes(_DER)])
    except IdentityInvalid:
        return
    raise ConfigError("self-test: a foreign certificate was taken for an IDevID")


def _rehearse_seal() -> None:
    secret = sealed.SealSecret(b"rehearsal-secret", "rehearsal")
    if sealed.unseal(sealed.seal({"k": b"v"}, secret=secret), secret=secret) != {"k": b"v"}:
        raise ConfigError("self-test: a seal does not open")
    frame = typed.encode_message(typed.StatusRequest())
    typed.decode_hub_request(frame[signer_values.LENGTH.size :])
