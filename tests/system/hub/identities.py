"""A ward with a signer of its own, and every identity that somebody might come with."""

import os
import secrets
import shutil
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from asepsis.core.trust import tls
from asepsis.core.trust.authority import Issuer, issue_leaf, issuing_certificate, root_certificate
from asepsis.core.trust.identity import Profile, peer_from_der
from asepsis.core.trust.signer_values import Expectation
from asepsis.hub.initialise import InitOptions, initialise
from asepsis.hub.keyholder import Separation
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.registry import records
from asepsis.hub.settings import read_settings
from asepsis.hub.signer.keystore import Role, SealedKeyStore
from asepsis.hub.signer.sealed import local_secret
from hospital import DAY_NS, Hospital

HOSTS: Final = ("localhost", "127.0.0.1")
SERVER_NAME: Final = "urn:uuid:00000000-0000-4000-8000-00000000000b"


@dataclass(frozen=True)
class Certified:
    """A leaf with the files that a TLS client presents it from, and its key."""

    leaf: x509.Certificate
    files: tls.KeyAndChain
    key: ec.EllipticCurvePrivateKey


class SignedHospital(Hospital):
    """A hospital whose CA is that of a real signer, made by `initialise`."""

    def _make_authority(self) -> None:
        self.home = self.folder / "home"
        uid, gid = os.geteuid(), os.getegid()
        initialise(
            InitOptions(data=self.home, hospital="Test hospital", host_names=HOSTS),
            clock=time.time_ns,
            who=Separation(
                separated=False, hub_uid=uid, hub_gid=gid, signer_uid=uid, signer_gid=gid
            ),
        )
        signer, ca = self.home / "signer", self.home / "ca"
        keys = SealedKeyStore.open(signer, secret=local_secret(signer))
        certificate = x509.load_pem_x509_certificate((ca / "issuing.crt").read_bytes())
        self.issuer = Issuer(certificate, keys.key(Role.ISSUING))
        self.root = x509.load_pem_x509_certificate((ca / "root.crt").read_bytes())
        self.root_der = self.root.public_bytes(Encoding.DER)
        for file in ("root.crt", "issuing.crt"):
            shutil.copy(ca / file, self.data / "ca" / file)
        (self.data / "run/signer.sock").symlink_to(self.home / "run/signer.sock")
        self._write_identity(self.data / "hub/tls", Profile.SERVER, SERVER_NAME, hosts=HOSTS)


def certify(
    hospital: Hospital,
    profile: Profile,
    name: str,
    *,
    ends_ns: int | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Certified:
    """Issue a certificate that the registry does not know, by default good for 90 days.

    Args:
        hospital: Whose CA.
        profile: What it is for.
        name: Whose it is.
        ends_ns: When it ends, nanoseconds since 1970; it began a day earlier.
        key: Its key, by default a new one.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    leaf = issue_leaf(
        key.public_key(),
        profile=profile,
        name=name,
        issuer=hospital.issuer if ends_ns is None else _issuer_of_old(hospital),
        now_ns=time.time_ns() if ends_ns is None else ends_ns - DAY_NS,
        serial=x509.random_serial_number(),
        hosts=HOSTS if profile is Profile.SERVER else (),
        days=90 if ends_ns is None else 1,
    )
    chain = (leaf, hospital.issuer.certificate, hospital.root)
    return Certified(leaf, _write(hospital.folder, chain, key), key)


def register(hospital: Hospital, leaf: x509.Certificate, profile: Profile) -> None:
    """Record a machine and its certificate as another hub would; a running hub follows."""
    settings = read_settings(hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
    store = open_store(settings, kek, clock=time.time_ns)
    peer, now_ns = peer_from_der(leaf.public_bytes(Encoding.DER)), time.time_ns()
    with store.unit_of_work() as connection:
        listed = Expectation(id="0" * 16, name=peer.uri, profile=profile.value, lease_ms=2_000)
        records.put_device(connection, peer, listed, now_ns=now_ns)
        records.put_certificate(connection, peer, profile, now_ns=now_ns)
        records.touch(connection, peer.uri)
    store.close()


def make_maker() -> Issuer:
    """Return the CA of a maker of devices."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Maker CA")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _dated(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return Issuer(builder.sign(key, hashes.SHA256()), key)


def make_idevid(maker: Issuer, folder: Path) -> tls.KeyAndChain:
    """Return the IDevID of a device as its maker gave it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, "SN-1")])
    builder = _dated(subject, maker.certificate.subject, key).add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    leaf = builder.sign(maker.key, hashes.SHA256())
    return _write(folder, (leaf, maker.certificate), key)


def knock(context: ssl.SSLContext, port: int) -> bytes:
    """Finish what a client sees as the handshake, send nothing, and return what comes back.

    With TLS 1.3 a client learns only afterwards whether its certificate was taken; a server that
    took it waits for a request, and this raises.

    Raises:
        TimeoutError: The server keeps the connection.
    """
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as sock,
        ):
            return sock.recv(1)
    except ssl.SSLCertVerificationError:
        raise  # The client refused the hub: not what is asked here.
    except (ssl.SSLError, ConnectionResetError):
        return b""  # An alert or the end.


def _issuer_of_old(hospital: Hospital) -> Issuer:
    """Return the hospital's issuing key under a certificate that began ten days ago."""
    began_ns = time.time_ns() - 10 * DAY_NS
    key = ec.generate_private_key(ec.SECP256R1())
    root = root_certificate(key, hospital="Test hospital", now_ns=began_ns, serial=1)
    spki = hospital.issuer.key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    certificate = issuing_certificate(
        spki, root=Issuer(root, key), hospital="Test hospital", now_ns=began_ns, serial=2
    )
    return Issuer(certificate, hospital.issuer.key)


def _dated(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(tz=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3_650))
    )


def _write(
    parent: Path, chain: tuple[x509.Certificate, ...], key: ec.EllipticCurvePrivateKey
) -> tls.KeyAndChain:
    folder = parent / "machines" / secrets.token_hex(8)
    folder.mkdir(parents=True)
    files = tls.KeyAndChain(chain_path=folder / "chain.pem", key_path=folder / "key.pem")
    files.chain_path.write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in chain))
    files.key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files
