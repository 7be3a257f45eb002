"""Enrols a device by hand, with certificates of a hospital made for it."""

import secrets
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.trust.authority import (
    Issuer,
    issue_leaf,
    issuing_certificate,
    root_certificate,
)
from asepsis.core.trust.identity import Profile
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital, IdentityFolder

HOST = "127.0.0.1"
NAME = "urn:dev:mac:0012210000000009"
NO_HUB = 9


def enrolled(path: Path) -> IdentityFolder:
    """Make the folder of an enrolled device, with certificates of a hospital made for it.

    Args:
        path: Where; it must not be there yet.
    """
    folder = IdentityFolder(path)
    folder.create()
    now_ns = time.time_ns()
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    root = root_certificate(keys[0], hospital="T", now_ns=now_ns, serial=secrets.randbits(100))
    spki = (
        keys[1]
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    issuing = issuing_certificate(
        spki,
        root=Issuer(root, keys[0]),
        hospital="T",
        now_ns=now_ns,
        serial=secrets.randbits(100),
    )
    for name, profile in (("tls", Profile.DEVICE), ("origin", Profile.ORIGIN)):
        public = serialization.load_der_public_key(folder.key(name).spki_der)
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise TypeError("the folder made another kind of key")
        leaf = issue_leaf(
            public,
            profile=profile,
            name=NAME,
            issuer=Issuer(issuing, keys[1]),
            now_ns=now_ns,
            serial=secrets.randbits(100),
        )
        folder.store_chain(name, [_der(leaf), _der(issuing), _der(root)])
    hospital = Hospital(Endpoint(HOST, NO_HUB), Endpoint(HOST, NO_HUB))
    folder.finish(NAME, hospital, _der(root))
    return folder


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
