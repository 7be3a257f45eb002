"""A hospital in one process: the real signer's rules and keys, without its sockets."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from asepsis.core.errors import Unavailable
from asepsis.core.trust import answers, signer_values
from asepsis.core.trust import requests as typed
from asepsis.core.trust.authority import Issuer, issuing_certificate, root_certificate
from asepsis.core.trust.identity import PeerCertificate, Profile, peer_from_der
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.keys import _error_of  # the client's own table of refusals
from asepsis.hub.registry.book import IdentityBook
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.signer import entries, keystore, sealed
from asepsis.hub.signer.desk import Desk, Setting
from asepsis.hub.signer.log import SignerLog
from asepsis.hub.signer.service import Signer
from asepsis.hub.store.store import Store

DER = serialization.Encoding.DER
NAME = "urn:dev:mac:0000000000000001"
OTHER = "urn:dev:mac:0000000000000002"
GATEWAY = "urn:uuid:00000000-0000-4000-8000-000000000001"


class SignerHere:
    """Asks the real signer directly; `SignerClient` does so over its socket."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.down = False
        self.asked: list[signer_values.Message] = []

    def ask(self, request: Any) -> Any:
        """Ask as the hub."""
        self.asked.append(request)
        if self.down:
            raise Unavailable("the signer does not answer")
        return self._checked(self._signer.hub_request(request))

    def admin(self, request: Any) -> Any:
        """Ask as the operator."""
        return self._checked(self._signer.admin_request(request))

    async def issue(self, request: typed.IssueRequest) -> answers.Issued:
        """Have a certificate issued."""
        return self.ask(request)

    async def revoke(self, name: str, reason: str) -> tuple[int, ...]:
        """End an identity."""
        self.ask(typed.RevokeRequest(name=name, reason=reason))
        return ()

    async def sign_time(self, nonce: bytes) -> answers.SignedTime:
        """Have the time signed."""
        return self.ask(typed.TimeRequest(nonce=nonce))

    async def sign_tree_head(self, head: signer_values.TreeHead) -> bytes:
        """Have a tree head signed."""
        return self.ask(typed.TreeHeadRequest(head=head)).signature

    async def authorities(self) -> answers.Authorities:
        """Return public certificates."""
        return self.ask(typed.AuthoritiesRequest())

    async def ca_chain(self) -> tuple[bytes, ...]:
        """Return issuing certificate and root."""
        return (await self.authorities()).chain_der

    async def alarms(self, *, after: int = 0) -> tuple[answers.Alarm, ...]:
        """Return alarms."""
        return self.ask(typed.AlarmsRequest(after=after)).alarms

    async def status(self) -> answers.Status:
        """Return the status."""
        return self.ask(typed.StatusRequest())

    def _checked(self, answer: Any) -> Any:
        if isinstance(answer, answers.Refused):
            raise _error_of(answer)
        return answer


def make_signer(folder: Path, clock: Callable[[], int]) -> Signer:
    """Make keys, root and issuing certificate as `asepsis hub init` does."""
    folder.mkdir(mode=0o700)
    keys = keystore.SealedKeyStore.create(folder, secret=sealed.local_secret(folder))
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = root_certificate(root_key, hospital="Test", now_ns=clock(), serial=1 << 100)
    spki = (
        keys.key(keystore.Role.ISSUING)
        .public_key()
        .public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    issuing = issuing_certificate(
        spki, root=Issuer(root, root_key), hospital="Test", now_ns=clock(), serial=2 << 100
    )
    setting = Setting(separated=False, separation="one process", time_uncertainty_ms=5)
    log = SignerLog(folder / "signer.log")
    desk = Desk(keys, log=log, setting=setting, clock=clock, random_bytes=os.urandom)
    signer = Signer(desk)
    signer.install(
        entries.Installed(
            issuing_der=issuing.public_bytes(DER),
            root_der=root.public_bytes(DER),
            server_uri="urn:uuid:00000000-0000-4000-8000-00000000000a",
            server_names=("localhost",),
        )
    )
    return signer


class Machine:
    """The keys of one device, and its requests."""

    def __init__(self, name: str = NAME) -> None:
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.origin = ec.generate_private_key(ec.SECP256R1())

    def csr(self, *, origin: bool = False, name: str | None = None) -> bytes:
        """Return a request for the machine's name."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name or self.name)])
        built = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(subject)
            .add_extension(san, critical=False)
            .sign(self.origin if origin else self.key, hashes.SHA256())
        )
        return built.public_bytes(DER)


class Hospital:
    """One hub's registry with everything below it; `run` drives its event loop."""

    def __init__(self, store: Store, signer: SignerHere) -> None:
        self.store, self.signer = store, signer
        self.audit = AuditLog(store.clock)
        self.book = IdentityBook()
        self.service = RegistryService(store, signer, audit=self.audit, book=self.book)
        self.closed: list[str] = []
        self.service.on_revoked(self._close)

    def _close(self, name: str) -> int:
        self.closed.append(name)
        return 2

    def expect(self, name: str = NAME, **listed: Any) -> typed.TokenProof:
        """List a machine as a person does; return the proof that its token makes."""
        listed = {"id": "", "name": name, "profile": "device", "model": "M1"} | listed
        token = self.signer.admin(
            typed.ExpectRequest(expectation=signer_values.Expectation(**listed))
        ).token
        token_id, secret, _ = token.split(".")
        return typed.TokenProof(id=token_id, secret=secret)

    async def enrol(
        self, machine: Machine, profile: Profile = Profile.DEVICE, **listed: Any
    ) -> PeerCertificate:
        """List and enrol a machine."""
        proof = self.expect(machine.name, profile=profile.value, **listed)
        return await self.issue(machine, proof, profile)

    async def issue(
        self, machine: Machine, proof: typed.Proof, profile: Profile = Profile.DEVICE
    ) -> PeerCertificate:
        """Have a certificate issued and read it."""
        return peer_from_der(await self.issue_der(machine, proof, profile))

    async def issue_der(
        self, machine: Machine, proof: typed.Proof, profile: Profile = Profile.DEVICE
    ) -> bytes:
        """Have a certificate issued."""
        chain = await self.service.issue(
            machine.csr(origin=profile is Profile.ORIGIN), profile=profile, proof=proof, actor="t"
        )
        return chain[0]


@pytest.fixture
def signer(tmp_path: Path, clock: Any) -> Generator[SignerHere]:
    signer = make_signer(tmp_path / "signer", clock)
    yield SignerHere(signer)
    signer.close()


@pytest.fixture
def hospital(store: Store, signer: SignerHere) -> Hospital:
    return Hospital(store, signer)


@pytest.fixture
def signer_made_anew(
    hospital: Hospital, tmp_path: Path, clock: Any, open_store: Callable[[], Store]
) -> Generator[Hospital]:
    """Give the same database another signer, which knows nobody."""
    _ = hospital
    signer = make_signer(tmp_path / "signer-2", clock)
    yield Hospital(open_store(), SignerHere(signer))
    signer.close()


@pytest.fixture
def second_hub(open_store: Callable[[], Store], signer: SignerHere) -> Callable[[], Hospital]:
    """Return a function that starts another hub on the same database and signer."""
    return lambda: Hospital(open_store(), signer)


@pytest.fixture
def new_machine() -> type[Machine]:
    return Machine


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return asyncio.run
