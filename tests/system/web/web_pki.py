"""A throw-away hospital CA in a folder, for the tests and benchmarks of the web server."""

import datetime as dt
import itertools
import ssl
import uuid
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID

from asepsis.core.trust import tls
from asepsis.core.trust.identity import EKU_GATEWAY, EKU_SDC_PROVIDER, EKU_SERVER

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
FAR = 40_000 * DAY
_serials = itertools.count(1000)
DEVICE = (Eku.CLIENT_AUTH, Eku.SERVER_AUTH, EKU_SDC_PROVIDER)
GATEWAY = (Eku.CLIENT_AUTH, EKU_GATEWAY)


def device_uri(number: int) -> str:
    return f"urn:dev:mac:{number:016x}"


@dataclass(frozen=True)
class Identity:
    """A key and chain on disk."""

    uri: str
    chain: Path
    key: Path
    der: bytes


class Authority:
    """Root and issuing CA that write what they issue below `folder`."""

    def __init__(self, folder: Path, *, name: str = "Test Hospital") -> None:
        self.folder = folder
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        root_name, self.name = _name(f"{name} Root"), _name(f"{name} Issuing")
        root = _builder(root_name, root_name, self.root_key.public_key(), -DAY, FAR)
        self.root = _ca(root, self.root_key, self.root_key, None)
        issuing = _builder(root_name, self.name, self.key.public_key(), -DAY, FAR)
        self.issuing = _ca(issuing, self.key, self.root_key, 0)
        self.root_der = self.root.public_bytes(serialization.Encoding.DER)
        self.issuing_der = self.issuing.public_bytes(serialization.Encoding.DER)
        (folder / "root.pem").write_bytes(self.root.public_bytes(serialization.Encoding.PEM))

    def leaf(
        self,
        label: str,
        *,
        uri: str | None = None,
        usages: tuple[x509.ObjectIdentifier, ...] | None = DEVICE,
        start: dt.timedelta = -DAY,
        days: int = 40_000,
        serial_number: str | None = None,
        host: str | None = None,
    ) -> Identity:
        """Issue a leaf; `usages` None leaves the extension out."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(label, serial_number=serial_number)
        builder = _builder(self.name, subject, key.public_key(), start, start + days * DAY)
        names: list[x509.GeneralName] = []
        names += [x509.UniformResourceIdentifier(uri)] if uri else []
        names += [x509.DNSName(host)] if host else []
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not label)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        certificate = _finish(builder, key, self.key, digital=True, issuer=self.key)
        return self._write(label, certificate, key, uri or "")

    def server(self) -> tls.KeyAndChain:
        """Issue the hub's own identity for `localhost`."""
        own = self.leaf(
            "hub",
            uri=f"urn:uuid:{uuid.UUID(int=1)}",
            usages=(Eku.SERVER_AUTH, EKU_SERVER),
            host="localhost",
        )
        return tls.KeyAndChain(chain_path=own.chain, key_path=own.key)

    def device(self, number: int, **more: object) -> Identity:
        """Issue a device certificate."""
        uri = device_uri(number)
        return self.leaf(f"device-{number}", uri=uri, **more)  # type: ignore[arg-type]

    def _write(
        self, label: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey, uri: str
    ) -> Identity:
        pem = serialization.Encoding.PEM
        chain_path, key_path = self.folder / f"{label}.pem", self.folder / f"{label}.key"
        chain_path.write_bytes(
            b"".join(c.public_bytes(pem) for c in (cert, self.issuing, self.root))
        )
        key_path.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        der = cert.public_bytes(serialization.Encoding.DER)
        return Identity(uri=uri, chain=chain_path, key=key_path, der=der)


def client_context(
    root_der: bytes, identity: Identity | None, *, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """Return a client's context, fixed to one TLS version if given."""
    own = None
    if identity is not None:
        own = tls.KeyAndChain(chain_path=identity.chain, key_path=identity.key)
    context = tls.client_context(root_der=root_der, identity=own)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def _name(common: str, *, serial_number: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if serial_number:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial_number))
    return x509.Name(parts)


def _builder(
    issuer: x509.Name,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    start: dt.timedelta,
    end: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(next(_serials))
        .not_valid_before(EPOCH + start)
        .not_valid_after(EPOCH + end)
    )


def _ca(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    path_length: int | None,
) -> x509.Certificate:
    builder = builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=path_length), critical=True
    )
    return _finish(builder, key, signer, digital=False, issuer=signer)


def _finish(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    digital: bool,
    issuer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = builder.add_extension(
        x509.KeyUsage(
            digital_signature=digital, key_cert_sign=not digital, crl_sign=not digital, **usage
        ),
        critical=True,
    )
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
    )
    return builder.sign(signer, hashes.SHA256())
