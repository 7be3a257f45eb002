"""A saved TLS session does not outlive the identity: a real hub, revoked and expired devices."""

import json
import socket
import ssl
import time
from dataclasses import dataclass, field

import pytest
from hub_ward import SIGNING, Ward
from identities import certify, knock, register

from asepsis.core.errors import IdentityExpired, IdentityRevoked
from asepsis.core.trust import tls
from asepsis.core.trust.identity import Profile
from hospital import device_name

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
REQUEST = b"GET /metadata HTTP/1.1\r\nHost: localhost\r\n\r\n"
LIVES_S = 10


def exchange(sock: ssl.SSLSocket) -> tuple[int, dict[str, object]]:
    """Ask for the metadata; return status and body."""
    sock.sendall(REQUEST)
    with sock.makefile("rb") as answer:
        status = int(answer.readline().split()[1])
        length = 0
        while line := answer.readline().strip():
            name, _, value = line.lower().partition(b":")
            if name == b"content-length":
                length = int(value)
        return status, json.loads(answer.read(length))


@dataclass
class Device:
    """A client of the clinical listener that keeps its TLS session, in one version of TLS."""

    context: ssl.SSLContext
    port: int
    session: ssl.SSLSession | None = field(default=None)

    def connect(self) -> ssl.SSLSocket:
        """Connect with the session that was kept, if any."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.context.wrap_socket(raw, server_hostname="localhost", session=self.session)

    def ask(self) -> tuple[bool, int, object]:
        """Connect, ask, keep the session; return whether it was resumed, status and code."""
        with self.connect() as sock:
            status, body = exchange(sock)
            self.session = sock.session or self.session
            return sock.session_reused, status, body.get("code")


def devices_of(ward: Ward, files: tls.KeyAndChain) -> list[Device]:
    """Return a client for each version of TLS."""
    assert ward.hub is not None
    made: list[Device] = []
    for version in VERSIONS:
        context = tls.client_context(root_der=ward.hospital.root_der, identity=files)
        context.minimum_version = context.maximum_version = version
        made.append(Device(context, ward.hub.port))
    return made


def wait_followed(device: Device) -> None:
    """Wait until the hub knows of a registration that another process made."""
    deadline = time.monotonic() + 3
    while device.ask()[1] != 200:
        assert time.monotonic() < deadline
        device.session = None
        time.sleep(0.1)


def test_a_saved_session_of_a_revoked_device_is_refused(ward: Ward) -> None:
    """Goal: accepted with the session before the revocation, refused with it after (REQ-TLS)."""
    devices = devices_of(ward, ward.machines[SIGNING].files)
    kept = [device.connect() for device in devices]
    for device, sock in zip(devices, kept, strict=True):
        assert exchange(sock)[0] == 200
        assert device.ask() == (False, 200, None)
        assert device.ask() == (True, 200, None)
    token = (ward.hospital.data / "hub" / "admin.token").read_text().strip()
    people = ward.client(None, "people")
    people.headers["Authorization"] = f"Bearer {token}"
    url = f"/api/devices/{SIGNING}/revoke"
    # Those that `ask` left may still be closing.
    deadline = time.monotonic() + 2
    while people.post(url, json={"reason": "stolen"}).json()["would_close"] > len(kept):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    done = people.post(url, json={"reason": "stolen", "confirm": SIGNING}).json()
    assert done == {"done": True, "closed": len(kept)}
    for device, sock in zip(devices, kept, strict=True):
        sock.settimeout(1)
        assert sock.recv(1) == b""
        sock.close()
        assert device.ask() == (True, 403, IdentityRevoked.code)
        device.session = None
        assert device.ask() == (False, 403, IdentityRevoked.code)


@pytest.mark.slow
def test_a_session_does_not_outlive_its_certificate(ward: Ward) -> None:
    """Goal: OpenSSL judges no date when it resumes; the hub does, on kept connections too."""
    ends_s = int(time.time()) + LIVES_S
    made = certify(ward.hospital, Profile.DEVICE, device_name(20), ends_ns=ends_s * 1_000_000_000)
    register(ward.hospital, made.leaf, Profile.DEVICE)
    devices = devices_of(ward, made.files)
    wait_followed(devices[0])
    devices[0].session = None
    kept = [device.connect() for device in devices]
    for device, sock in zip(devices, kept, strict=True):
        assert exchange(sock)[0] == 200
        assert device.ask() == (False, 200, None)
        assert device.ask() == (True, 200, None)
    assert time.time() < ends_s, "the machine is too slow for this test"
    time.sleep(ends_s + 0.1 - time.time())
    for device, sock in zip(devices, kept, strict=True):
        status, body = exchange(sock)
        assert (status, body["code"]) == (403, IdentityExpired.code)
        sock.close()
        assert device.ask() == (True, 403, IdentityExpired.code)
        # Without the session TLS itself looks at the date.
        assert knock(device.context, device.port) == b""
