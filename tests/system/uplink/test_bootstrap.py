"""A device proves itself only to the hub whose root it pinned."""

import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.errors import IdentityInvalid, Unavailable
from asepsis.core.trust import tls
from asepsis.core.trust.authority import (
    Issuer,
    issue_leaf,
    issuing_certificate,
    root_certificate,
)
from asepsis.core.trust.identity import Profile
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.enrolment import EnrolmentOrder, enrol
from asepsis.edge.uplink.folder import Hospital, IdentityFolder
from asepsis.edge.uplink.token import EnrolmentToken

HOST = "127.0.0.1"
SECRET = "s3cret" * 8


@dataclass
class Hub:
    """A TLS server of some hospital that notes every application byte it gets."""

    root_der: bytes
    port: int
    got: bytearray = field(default_factory=bytearray)
    handshakes: int = 0


def hospital(folder: Path, name: str) -> tuple[bytes, tls.KeyAndChain]:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    now_ns = time.time_ns()
    root = root_certificate(keys[0], hospital=name, now_ns=now_ns, serial=random.getrandbits(100))
    spki = (
        keys[1]
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    issuing = issuing_certificate(
        spki,
        root=Issuer(root, keys[0]),
        hospital=name,
        now_ns=now_ns,
        serial=random.getrandbits(100),
    )
    leaf = issue_leaf(
        keys[2].public_key(),
        profile=Profile.SERVER,
        name="urn:uuid:00000000-0000-4000-8000-000000000001",
        issuer=Issuer(issuing, keys[1]),
        now_ns=now_ns,
        serial=random.getrandbits(100),
        hosts=[HOST],
    )
    return root.public_bytes(serialization.Encoding.DER), written(
        folder, keys[2], [leaf, issuing, root]
    )


def written(
    folder: Path, key: ec.EllipticCurvePrivateKey, chain: list[x509.Certificate]
) -> tls.KeyAndChain:
    pem = serialization.Encoding.PEM
    folder.mkdir()
    files = tls.KeyAndChain(chain_path=folder / "chain.pem", key_path=folder / "key.pem")
    files.chain_path.write_bytes(b"".join(c.public_bytes(pem) for c in chain))
    files.key_path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Hub]:
    """Goal: a perfect TLS server, only of another hospital."""
    root_der, files = hospital(tmp_path / "impostor", "Impostor")
    context = tls.server_context(tls.Listener.PEOPLE, identity=files)
    with socket.create_server((HOST, 0)) as server:
        hub = Hub(root_der, server.getsockname()[1])
        stop = threading.Event()
        thread = threading.Thread(target=serve, args=(server, context, hub, stop))
        thread.start()
        yield hub
        stop.set()
        thread.join()


def serve(server: socket.socket, context: ssl.SSLContext, hub: Hub, stop: threading.Event) -> None:
    server.settimeout(0.1)
    while not stop.is_set():
        try:
            plain, _ = server.accept()
        except TimeoutError:
            continue
        plain.settimeout(5)
        try:
            with context.wrap_socket(plain, server_side=True) as connection:
                hub.handshakes += 1
                while chunk := connection.recv(4096):
                    hub.got += chunk
        except OSError:
            continue


def order(port: int, pin: str) -> EnrolmentOrder:
    endpoint = Endpoint(HOST, port)
    return EnrolmentOrder(
        name="urn:dev:mac:0012210000000001",
        hospital=Hospital(endpoint, endpoint),
        token=EnrolmentToken.parse(f"id-1.{SECRET}.{pin}"),
        origin=True,
    )


def test_an_impostor_gets_zero_bytes_of_the_token(tmp_path: Path, impostor: Hub) -> None:
    root_der, _ = hospital(tmp_path / "real", "Real")
    with pytest.raises(IdentityInvalid):
        enrol(IdentityFolder(tmp_path / "device"), order(impostor.port, tls.pin_of(root_der)))
    time.sleep(0.2)
    assert impostor.handshakes == 1, "the device did look at the chain"
    assert bytes(impostor.got) == b""
    assert not IdentityFolder(tmp_path / "device").enrolled


def test_the_pinned_hub_does_get_the_token(tmp_path: Path, impostor: Hub) -> None:
    """Goal: the test above can fail: with the right pin the secret is sent."""
    pin = tls.pin_of(impostor.root_der)
    with pytest.raises(Unavailable):  # It never answers; what counts is what it was sent.
        enrol(IdentityFolder(tmp_path / "device"), order(impostor.port, pin))
    assert b"Authorization: Basic" in bytes(impostor.got)


def test_nobody_there_is_a_reason_to_try_again(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unavailable):
        enrol(IdentityFolder(tmp_path / "device"), order(port, "ab" * 32))
