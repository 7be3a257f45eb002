"""A signer with real keys and a real log in one process, on a clock that the test turns."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.trust import answers, signer_values
from asepsis.core.trust import requests as typed
from asepsis.core.trust.authority import Issuer, issuing_certificate, root_certificate
from asepsis.hub.signer import entries
from asepsis.hub.signer.desk import Desk, Setting
from asepsis.hub.signer.keystore import Role, SealedKeyStore
from asepsis.hub.signer.log import SignerLog
from asepsis.hub.signer.sealed import SealSecret
from asepsis.hub.signer.service import Signer

BEGUN_NS = 1_795_000_000 * 10**9
DAY_NS = 86_400 * 10**9
SECRET = SealSecret(b"a secret for tests", "the test")
SERVER_URI = "urn:uuid:5307bbeb-bc66-4f78-8d5a-5c20d8fa1eae"
DER = serialization.Encoding.DER


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def request_for(key: ec.EllipticCurvePrivateKey, *uris: str) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(u) for u in uris])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(DER)


@dataclass
class Bench:
    """A hospital with its signer; `restart` reads everything from disk again."""

    folder: Path
    now_ns: int = BEGUN_NS
    root_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    signer: Signer = field(init=False)

    def __post_init__(self) -> None:
        keys = SealedKeyStore.create(self.folder, secret=SECRET)
        root = root_certificate(
            self.root_key, hospital="St. Vitus", now_ns=self.now_ns, serial=1 << 99
        )
        issuing = issuing_certificate(
            keys.key(Role.ISSUING)
            .public_key()
            .public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo),
            root=Issuer(root, self.root_key),
            hospital="St. Vitus",
            now_ns=self.now_ns,
            serial=2 << 99,
        )
        self.root_der = root.public_bytes(DER)
        self.issuing_der = issuing.public_bytes(DER)
        self._open()
        self.signer.install(
            entries.Installed(
                issuing_der=self.issuing_der,
                root_der=self.root_der,
                server_uri=SERVER_URI,
                server_names=("hub.example", "127.0.0.1"),
            )
        )

    def _open(self) -> None:
        setting = Setting(separated=False, separation="test", time_uncertainty_ms=5)
        self.signer = Signer(
            Desk(
                SealedKeyStore.open(self.folder, secret=SECRET),
                log=SignerLog(self.folder / "signer.log", lock_wait_s=0),
                setting=setting,
                clock=lambda: self.now_ns,
                random_bytes=os.urandom,
            )
        )

    def restart(self) -> None:
        self.signer.close()
        self._open()

    def pass_days(self, days: float) -> None:
        self.now_ns += int(days * DAY_NS)

    def expect(self, name: str, profile: str = "device", **more: object) -> typed.TokenProof:
        wanted = signer_values.Expectation(id="", name=name, profile=profile, **more)  # type: ignore[arg-type]
        answer = self.signer.admin_request(typed.ExpectRequest(expectation=wanted))
        assert isinstance(answer, answers.Token), answer
        id_, secret, pin = answer.token.split(".")
        assert pin == hashlib.sha256(self.root_der).hexdigest()
        return typed.TokenProof(id=id_, secret=secret)

    def ask(
        self,
        key: ec.EllipticCurvePrivateKey,
        proof: typed.Proof,
        *,
        profile: str = "device",
        csr_der: bytes | None = None,
    ) -> answers.Answer:
        csr_der = csr_der or request_for(key)
        return self.signer.hub_request(
            typed.IssueRequest(csr_der=csr_der, profile=profile, proof=proof)
        )

    def enrol(self, name: str, profile: str = "device", **more: object) -> "Enrolled":
        key = new_key()
        answer = self.ask(key, self.expect(name, profile, **more), profile=profile)
        assert isinstance(answer, answers.Issued), answer
        return Enrolled(key, answer.chain_der[0])

    def status(self) -> answers.Status:
        answer = self.signer.hub_request(typed.StatusRequest())
        assert isinstance(answer, answers.Status)
        return answer

    def alarms(self) -> list[str]:
        answer = self.signer.hub_request(typed.AlarmsRequest())
        assert isinstance(answer, answers.Alarms)
        return [one.code for one in answer.alarms]


@dataclass
class Enrolled:
    """A name's key and certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate_der: bytes

    @property
    def renewal(self) -> typed.RenewalProof:
        return typed.RenewalProof(current_cert_der=self.certificate_der)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.signer.close()


@pytest.fixture
def key_maker() -> Callable[[], ec.EllipticCurvePrivateKey]:
    return new_key


@pytest.fixture
def csr_maker() -> Callable[..., bytes]:
    return request_for
