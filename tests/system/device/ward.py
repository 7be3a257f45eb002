"""A device to attack and to kill: enrolled by hand, run by the real supervisor."""

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from asepsis.edge.device.supervisor import Setting, Supervisor
from asepsis.edge.sandbox.layers import Layer
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital, IdentityFolder

HOST = "127.0.0.1"
NAME = "urn:dev:mac:0012210000000009"
ATTACKER = Path(__file__).with_name("attacker.py")
HOOK = """
import asepsis.edge.device.network as _network
TARGETS["dial"] = lambda worker, number: _CLIENTS[0].dial(number, timeout_s=1.0)
_CLIENTS = []
_made = _network.BrokerClient
def _keep(channels):
    _CLIENTS.append(_made(channels))
    return _CLIENTS[0]
_network.BrokerClient = _keep
_network.Network.run = attack_all
"""


def enrolled(path: Path, *, clinical: int, enrolment: int) -> IdentityFolder:
    """Make the folder of an enrolled device, with certificates of a hospital made for it."""
    folder = IdentityFolder(path)
    folder.create()
    now_ns = time.time_ns()
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    root = root_certificate(keys[0], hospital="T", now_ns=now_ns, serial=random.getrandbits(100))
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
        serial=random.getrandbits(100),
    )
    for name, profile in (("tls", Profile.DEVICE), ("origin", Profile.ORIGIN)):
        public = serialization.load_der_public_key(folder.key(name).spki_der)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        leaf = issue_leaf(
            public,
            profile=profile,
            name=NAME,
            issuer=Issuer(issuing, keys[1]),
            now_ns=now_ns,
            serial=random.getrandbits(100),
        )
        folder.store_chain(name, [_der(leaf), _der(issuing), _der(root)])
    hospital = Hospital(Endpoint(HOST, clinical), Endpoint(HOST, enrolment))
    folder.finish(NAME, hospital, _der(root))
    return folder


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


@contextlib.contextmanager
def listener() -> Iterator[tuple[int, list[object]]]:
    """Listen on loopback and note who connects; nothing is ever answered."""
    got: list[object] = []
    kept: list[socket.socket] = []
    server = socket.create_server((HOST, 0))

    def accept() -> None:
        while True:
            try:
                connection, peer = server.accept()
            except OSError:
                return
            kept.append(connection)
            got.append(peer)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1], got
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)
        for connection in kept:
            connection.close()


@dataclass
class Ward:
    """One device under test and everything its supervisor told."""

    folder: IdentityFolder
    holding: frozenset[Layer]
    preludes: dict[str, str] = field(default_factory=dict)
    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    on_event: Callable[[str, str], None] = lambda _who, _what: None
    supervisor: Supervisor | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Supervisor]:
        supervisor = Supervisor(
            self.folder,
            holding=self.holding,
            setting=Setting(seed=5, preludes=self.preludes),
            tell=self._tell,
        )
        self.supervisor = supervisor
        try:
            yield supervisor
        finally:
            supervisor.close()

    def _tell(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        self.events.append((compartment, event, dict(details)))
        self.on_event(compartment, event)

    def until(self, wanted: Callable[[], object], *, timeout_s: float = 20) -> None:
        """Run the supervisor until something is so."""
        assert self.supervisor
        deadline = time.monotonic() + timeout_s
        while not wanted():
            assert time.monotonic() < deadline, self.events[-20:]
            self.supervisor.step()

    def during(self, seconds: float) -> None:
        """Run the supervisor for some time."""
        assert self.supervisor
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.supervisor.step()

    def told(self, compartment: str, event: str) -> list[dict[str, Any]]:
        return [d for who, what, d in self.events if (who, what) == (compartment, event)]


def attacker_prelude(targets: Mapping[str, Any], *, hook: str = HOOK) -> str:
    """Return the code that takes a compartment over."""
    source = ATTACKER.read_text(encoding="utf-8")
    values = json.dumps(json.dumps(targets))
    return f"{source}\nimport json\nTARGETS.update(json.loads({values}))\n{hook}"
