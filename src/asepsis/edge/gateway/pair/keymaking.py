"""Makes the key and the certificate of the link between two gateways; only people call this."""

import datetime as dt
import os
import uuid
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway.pair import keys

YEARS: Final = 10
"""The certificate is pinned, so its end protects nothing; people change it when they want to."""


def make(data: Path, *, now: dt.datetime) -> str:
    """Make key and certificate once; return the certificate as PEM, for the other gateway.

    Args:
        data: The gateway's data folder; `identity/` is in it.
        now: Start of validity, UTC.

    Raises:
        ConfigError: The folder cannot be written.

    Source: RFC 5280 section 4.1 (self-signed, no CA).
    """
    place = keys.place(data)
    if place.chain_path.exists():
        return place.chain_path.read_text("ascii")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"gateway link {uuid.uuid4()}")])
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = certificate.public_bytes(Encoding.PEM).decode("ascii")
    body = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        place.key_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(place.key_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
        place.chain_path.write_text(text, "ascii")
    except OSError as error:
        raise ConfigError(f"{place.key_path}: {error.strerror}") from error
    return text
