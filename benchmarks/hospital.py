"""A hospital prepared on disk without people: CA, certificates, registered machines, hub.toml.

Benchmarks and system tests of the hub need many machines at once; enrolling each over the wire is
tested elsewhere. Certificates come from the same functions that the signer uses, and registrations
go through the registry's own records.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust import tls
from asepsis.core.trust.authority import Issuer, issue_leaf, issuing_certificate, root_certificate
from asepsis.core.trust.identity import Profile, peer_from_der
from asepsis.core.trust.libcrypto import PrivateKey, generate_key
from asepsis.core.trust.signer_values import Expectation
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.registry import records
from asepsis.hub.registry.delegations import rows
from asepsis.hub.registry.delegations.lines import Source, SourceKind
from asepsis.hub.settings import read_settings

DAY_NS = 86_400_000_000_000
SETTINGS = """\
data = "."
names = ["localhost", "127.0.0.1"]
[listeners]
clinical = {{ host = "127.0.0.1", port = {port} }}
enrolment = {{ host = "127.0.0.1", port = 0 }}
people = {{ host = "127.0.0.1", port = 0 }}
[sealing]
source = "passphrase"
passphrase_file = "{passphrase}"
[signer]
start = false
"""


@dataclass(frozen=True)
class Machine:
    """A registered machine: name, files of its TLS identity, origin key if it signs."""

    name: str
    files: tls.KeyAndChain
    origin_key: PrivateKey | None


class Hospital:
    """CA and data folder.

    Args:
        folder: Empty folder; the hub's data folder is `folder/data`.
        more: Further TOML for hub.toml.
        port: Port of the clinical listener, 0 for any.
    """

    def __init__(self, folder: Path, *, more: str = "", port: int = 0) -> None:
        self.folder = folder
        self.data = folder / "data"
        for name in ("data/ca", "data/hub/tls", "data/run", "machines"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        passphrase = folder / "passphrase"
        passphrase.write_text(secrets.token_hex(16))
        passphrase.chmod(0o600)
        self.toml = self.data / "hub.toml"
        self.toml.write_text(SETTINGS.format(port=port, passphrase=passphrase) + more)
        self._make_authority()

    def _make_authority(self) -> None:
        root_key, now_ns = ec.generate_private_key(ec.SECP256R1()), time.time_ns()
        self.root = root_certificate(
            root_key, hospital="Test hospital", now_ns=now_ns, serial=x509.random_serial_number()
        )
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = issuing_certificate(
            key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            root=Issuer(self.root, root_key),
            hospital="Test hospital",
            now_ns=now_ns,
            serial=x509.random_serial_number(),
        )
        self.issuer = Issuer(certificate, key)
        self.root_der = self.root.public_bytes(Encoding.DER)
        (self.data / "ca/root.crt").write_bytes(self.root.public_bytes(Encoding.PEM))
        (self.data / "ca/issuing.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        name = "urn:uuid:00000000-0000-4000-8000-00000000000a"
        self._write_identity(
            self.data / "hub/tls", Profile.SERVER, name, hosts=("localhost", "127.0.0.1")
        )

    def _write_identity(
        self, folder: Path, profile: Profile, name: str, *, hosts: Sequence[str] = ()
    ) -> x509.Certificate:
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = issue_leaf(
            key.public_key(),
            profile=profile,
            name=name,
            issuer=self.issuer,
            now_ns=time.time_ns(),
            serial=x509.random_serial_number(),
            hosts=hosts,
        )
        chain = (leaf, self.issuer.certificate, self.root)
        (folder / "chain.pem").write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in chain))
        key_path = folder / "key.pem"
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        key_path.chmod(0o600)
        return leaf

    def enlist(
        self,
        machines: Iterable[tuple[str, Profile]],
        *,
        signing: bool = True,
        lease_ms: int = 2_000,
        declared: Iterable[str] = (),
        sources: Iterable[str] = ("adt", "merge"),
    ) -> list[Machine]:
        """Issue certificates and register machines; the hub must not run yet."""
        settings = read_settings(self.toml)
        kek = open_kek(settings.sealing, hub_folder=self.data / "hub")
        store = open_store(settings, kek, clock=time.time_ns)
        made: list[Machine] = []
        with store.unit_of_work() as connection:
            for name, profile in machines:
                folder = self.folder / "machines" / secrets.token_hex(8)
                leaf = self._write_identity(folder, profile, name)
                peer = peer_from_der(leaf.public_bytes(Encoding.DER))
                now_ns = time.time_ns()
                listed = Expectation(
                    id="0" * 16, name=name, profile=profile.value, lease_ms=lease_ms
                )
                records.put_device(connection, peer, listed, now_ns=now_ns)
                records.put_certificate(connection, peer, profile, now_ns=now_ns)
                key = None
                if signing and peer.kind is PrincipalKind.DEVICE:
                    key = generate_key()
                    records.bind_origin(connection, name, key.spki_der)
                if declared and peer.kind is PrincipalKind.GATEWAY:
                    rows.put(
                        connection,
                        name,
                        declared,
                        person="person:test",
                        now_ns=now_ns,
                        expires_at_ns=now_ns + 365 * DAY_NS,
                    )
                for kind in sources if peer.kind is PrincipalKind.GATEWAY else ():
                    source = Source(
                        holder=name, kind=SourceKind(kind), expires_at_ns=now_ns + 365 * DAY_NS
                    )
                    rows.put_source(connection, source, now_ns=now_ns)
                records.touch(connection, name)
                files = tls.KeyAndChain(
                    chain_path=folder / "chain.pem", key_path=folder / "key.pem"
                )
                made.append(Machine(name, files, key))
        store.close()
        return made

    def start_hub(self, *, core: int | None = None, log: Path | None = None) -> "HubProcess":
        """Start the hub as a process of its own, pinned to one core if given."""
        return HubProcess(self, core=core, log=log or self.folder / "hub.log")


class HubProcess:
    """A running hub.

    Attributes:
        port: Clinical port.
        process: Its process.
    """

    def __init__(self, hospital: Hospital, *, core: int | None, log: Path) -> None:
        self.ready_file = hospital.data / "run" / "ready.json"
        self.ready_file.unlink(missing_ok=True)
        self.log = log
        pin = ["taskset", "-c", str(core)] if core is not None else []
        command = [*pin, sys.executable, "-m", "asepsis.hub.run", str(hospital.toml)]
        with log.open("ab") as file:
            self.process = subprocess.Popen(command, stderr=file, stdout=file, env=_environment())
        self.ready = self._wait_ready(60)
        self.port: int = self.ready["listeners"]["clinical"]["port"]

    def _wait_ready(self, seconds: float) -> dict[str, dict[str, dict[str, int]]]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(FileNotFoundError, json.JSONDecodeError):
                return json.loads(self.ready_file.read_text())
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the hub did not start:\n{self.log.read_text()[-4000:]}")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.terminate()
        return self.process.wait(30)


def device_name(number: int) -> str:
    """Return the EUI-64 name of device `number`."""
    return f"urn:dev:mac:{0x0250C2FFFE000000 + number:016x}"


def system_name(number: int) -> str:
    """Return the name of gateway or consumer `number`."""
    return f"urn:uuid:00000000-0000-4000-8000-{number:012x}"


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "CREDENTIALS_DIRECTORY"}
