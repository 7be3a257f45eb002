"""Certificates, tokens, assertions and tickets as an identity provider would make them."""

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
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
from dicom_ward import free_port
from lxml import etree
from signxml import SignatureMethod, XMLSigner

REALM = "HOSPITAL.TEST"
SERVICE = f"dicom/gateway.hospital.test@{REALM}"
ISSUER = "https://idp.hospital.test"
AUDIENCE = "urn:asepsis:gateway"


class Authority:
    """A CA with leaves; its own key also signs tokens and assertions."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._certify(name, self.key, ca=True)
        self.certificate_file = folder / f"{name}-ca.pem"
        self.certificate_file.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        self.public_file = folder / f"{name}-public.pem"
        self.public_file.write_bytes(
            self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )

    def leaf(self, name: str) -> tuple[Path, Path, str]:
        """Return the files of key and certificate, and the fingerprint."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certify(name, key, ca=False)
        key_file, file = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        key_file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        )
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
        return key_file, file, certificate.fingerprint(hashes.SHA256()).hex()

    def _certify(self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = own if ca else self.certificate.subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(own)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = [x509.DNSName("localhost"), x509.DNSName(f"{name}.hospital.test")]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def token(authority: Authority, *, key: object = None, **changes: object) -> str:
    """Return a JSON Web Token; `changes` replace its claims, None removes one."""
    claims: dict[str, object] = {
        "iss": ISSUER,
        "sub": "nurse",
        "aud": AUDIENCE,
        "exp": int(time.time()) + 300,
        "role": ["radiographer"],
    }
    claims = {k: v for k, v in (claims | changes).items() if v is not None}
    return jwt.encode(claims, key or authority.key, algorithm="HS256" if key else "ES256")


def assertion(
    authority: Authority, *, issuer: str = ISSUER, audience: str = AUDIENCE,
    begins_s: int = -60, ends_s: int = 300, sign: bool = True,
) -> bytes:  # fmt: skip
    """Return a SAML assertion."""
    now = datetime.now(UTC).replace(microsecond=0)
    begins, ends = (
        (now + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
        for seconds in (begins_s, ends_s)
    )
    text = f"""\
<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_a1" Version="2.0"\
 IssueInstant="{begins}"><saml:Issuer>{issuer}</saml:Issuer><saml:Subject>\
<saml:NameID>nurse</saml:NameID></saml:Subject>\
<saml:Conditions NotBefore="{begins}" NotOnOrAfter="{ends}"><saml:AudienceRestriction>\
<saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>\
<saml:AttributeStatement><saml:Attribute Name="role"><saml:AttributeValue>radiographer\
</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion>"""
    document = etree.fromstring(text)
    if sign:
        signer = XMLSigner(signature_algorithm=SignatureMethod.ECDSA_SHA256)
        document = signer.sign(
            document, key=authority.key, cert=[authority.certificate], reference_uri="#_a1"
        )
    return etree.tostring(document)


class Kdc:
    """A real MIT key distribution centre of one realm.

    Resource handling: `close` ends it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        self.folder = folder
        (folder / "krb5.conf").write_text(
            f"[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n"
            f" dns_canonicalize_hostname = false\n rdns = false\n"
            f"[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n"
        )
        (folder / "kdc.conf").write_text(
            f"[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n"
            f"[realms]\n {REALM} = {{\n  database_name = {folder}/principal\n"
            f"  key_stash_file = {folder}/stash\n }}\n"
        )
        self.environment = {
            **os.environ,
            "KRB5_CONFIG": str(folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{folder}/cache",
        }
        self._run("kdb5_util", "create", "-s", "-r", REALM, "-P", "master-of-the-test")
        for name in ("nurse", "visitor", SERVICE, f"other/gateway@{REALM}"):
            self._run("kadmin.local", "-q", f"addprinc -randkey {name}")
        for file, name in (("service", SERVICE), ("nurse", "nurse"), ("visitor", "visitor")):
            self._run("kadmin.local", "-q", f"ktadd -k {folder}/{file}.keytab {name}")
        self.process = subprocess.Popen(
            [program("krb5kdc"), "-n"], env=self.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while True:
            try:
                self._run("kinit", "-k", "-t", f"{folder}/nurse.keytab", "nurse")
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def ticket(self, *, service: str = SERVICE, user: str = "nurse") -> bytes:
        """Return a fresh GSS-API token for a service."""
        self._run("kinit", "-k", "-t", f"{self.folder}/{user}.keytab", user)
        return subprocess.run(
            [sys.executable, str(Path(__file__).with_name("ticket.py")), service],
            env=self.environment, check=True, capture_output=True,
        ).stdout  # fmt: skip

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [program(name), *arguments], env=self.environment, check=True, capture_output=True
        )


def program(name: str) -> str:
    """Return the path of a program that may lie in a folder for administrators."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") or name
