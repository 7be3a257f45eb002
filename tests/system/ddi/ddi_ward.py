"""A hub with the DDI listener, two people, and what update clients prove themselves with."""

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from asepsis.core.trust import tls
from asepsis.hub.access.principal import Role
from asepsis.hub.access.service import PeopleService
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.settings import read_settings
from hospital import Hospital, HubProcess

MORE = """
[listeners.ddi]
host = "127.0.0.1"
port = 0
[ddi]
gateway_tokens = true
client_ca_file = "updates-ca.pem"
sleep_s = 1
least_s = 1
spread = 0.0
"""
CBOR = "application/cbor"


class Maker:
    """The CA whose certificates name update clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Maker of pumps")])
        self.certificate = self._sign("Maker of pumps", self.key.public_key(), authority=True)

    def certify(self, name: str, *, ended: bool = False) -> tls.KeyAndChain:
        """Return files of a key with a certificate for a target."""
        key = ec.generate_private_key(ec.SECP256R1())
        found = self._sign(name, key.public_key(), ended=ended)
        stem = f"{name}-{'ended' if ended else 'good'}"
        files = tls.KeyAndChain(
            chain_path=self.folder / f"{stem}.pem", key_path=self.folder / f"{stem}.key"
        )
        files.chain_path.write_bytes(found.public_bytes(Encoding.PEM))
        files.key_path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return files

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        *,
        authority: bool = False,
        ended: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        ends = now - dt.timedelta(days=1) if ended else now + dt.timedelta(days=1)
        own = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        usage = x509.KeyUsage(
            digital_signature=not authority,
            key_cert_sign=authority,
            crl_sign=authority,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False
            )
        )
        if not authority:
            client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
            made = made.add_extension(client, critical=False)
        return made.sign(self.key, hashes.SHA256())


class DdiWard:
    """A running hub.

    Args:
        folder: Empty folder.
        more: Further TOML.
        before: Called before the hub starts, with its state made.
        core: Core that the hub is kept to, or None.
    """

    def __init__(
        self,
        folder: Path,
        *,
        more: str = MORE,
        before: Callable[[], None] | None = None,
        core: int | None = None,
    ) -> None:
        self.hospital = Hospital(folder, more=more)
        self.maker = Maker(folder / "maker")
        ca = self.maker.certificate.public_bytes(Encoding.PEM)
        (self.hospital.data / "updates-ca.pem").write_bytes(ca)
        self.tokens = _give_tokens(self.hospital)
        if before is not None:
            before()
        self.hub: HubProcess = self.hospital.start_hub(core=core)
        self._clients: list[httpx.Client] = []
        self.engineer, self.second = (self._person(name) for name in ("ana", "ben"))

    def url(self, listener: str = "ddi") -> str:
        """Return where a listener listens."""
        return f"https://localhost:{self.hub.ready['listeners'][listener]['port']}"

    def client(
        self, name: str, *, files: tls.KeyAndChain | None = None, **headers: str
    ) -> "Client":
        """Return an update client."""
        context = tls.client_context(root_der=self.hospital.root_der, identity=files)
        made = httpx.Client(verify=context, base_url=self.url(), headers=headers, timeout=20)
        self._clients.append(made)
        return Client(made, name)

    def target(self, name: str, *, profile: str = "generic") -> "Client":
        """Add a target and return its client with its token."""
        token = self.add_target(name, profile=profile)
        return self.client(name, Authorization=f"TargetToken {token}")

    def add_target(self, name: str, *, profile: str = "generic") -> str:
        """Add a target and return its token."""
        body = {"name": name, "profile": profile}
        return self.ask("POST", "/api/ddi/targets", json=body)["token"]

    def module(self, content: bytes, *, version: str = "2", file: str = "os.swu") -> int:
        """Bring a module as the first person."""
        found = self.ask(
            "POST",
            "/api/ddi/modules",
            params={"name": "os", "version": version, "part": "os", "file": file},
            content=content,
            headers={"Content-Type": "application/octet-stream"},
        )
        return found["id"]

    def assign(self, target: str, module: int, **more: Any) -> int:
        """Assign a module as the second person; return the action's number."""
        body = {"targets": [target], "modules": [module]} | more
        return self.ask("POST", "/api/ddi/actions", self.second, json=body)["actions"][0]["id"]

    def action(self, number: int) -> dict[str, Any]:
        """Return an action with its reports."""
        return self.ask("GET", f"/api/ddi/actions/{number}")

    def ask(self, method: str, path: str, who: httpx.Client | None = None, **more: Any) -> Any:
        """Ask as a person, and expect that it works."""
        answer = (who or self.engineer).request(method, path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def close(self) -> None:
        """End everything."""
        for client in self._clients:
            client.close()
        if self.hub.process.poll() is None:
            self.hub.stop()

    def _person(self, name: str) -> httpx.Client:
        context = tls.client_context(root_der=self.hospital.root_der)
        made = httpx.Client(
            verify=context,
            base_url=self.url("people"),
            headers={"Authorization": f"Bearer {self.tokens[name]}"},
            timeout=20,
        )
        self._clients.append(made)
        return made


class Client:
    """One update client.

    Args:
        http: Its connection.
        name: Its own name.
    """

    def __init__(self, http: httpx.Client, name: str) -> None:
        self.http = http
        self.name = name
        self.base = f"/default/controller/v1/{name}"

    def poll(self) -> dict[str, Any]:
        """Return the answer to a poll."""
        return self.get("")

    def links(self) -> set[str]:
        """Return the relations that a poll shows."""
        return set(self.poll()["_links"])

    def get(self, path: str) -> dict[str, Any]:
        """Return a document below this client's path."""
        answer = self.http.get(self.base + path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def status(self, method: str, path: str, **more: Any) -> int:
        """Return the status of any request below this client's path."""
        return self.http.request(method, self.base + path, **more).status_code

    def say(
        self, number: int, execution: str, finished: str = "none", *details: str, to: str = ""
    ) -> int:
        """Report on an action and return the status."""
        body = {
            "id": str(number),
            "time": "20261122T024609",
            "status": {
                "execution": execution,
                "result": {"finished": finished},
                "details": list(details),
            },
        }
        path = f"/{to or 'deploymentBase'}/{number}/feedback"
        return self.status("POST", path, json=body)

    def describe(self, **data: str) -> int:
        """Say attributes; underscores become dashes."""
        body = {"mode": "merge", "data": {k.replace("_", "-"): v for k, v in data.items()}}
        return self.status("PUT", "/configData", json=body)


def eventually(check: Callable[[], object], *, seconds: float = 20) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)


def _give_tokens(hospital: Hospital) -> dict[str, str]:
    settings = read_settings(hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
    store = open_store(settings, kek, clock=time.time_ns)
    people = PeopleService(store, AuditLog(time.time_ns))
    tokens: dict[str, str] = {}
    for name in ("ana", "ben"):
        people.add_person(name, [Role.CLINICAL_ENGINEER], actor="test")
        tokens[name] = people.issue_token(name, actor="test")
    store.close()
    return tokens
