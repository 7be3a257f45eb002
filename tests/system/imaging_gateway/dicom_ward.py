"""A DICOM gateway as real processes, and the tools of DCMTK as its modalities."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from stow_server import StowServer

from asepsis.core.trust.authority import issue_leaf
from asepsis.core.trust.identity import Profile
from asepsis.edge.gateway.imaging import part10
from asepsis.edge.gateway.imaging.requestor import Remote, Requestor, associate
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital as Addresses
from asepsis.edge.uplink.folder import IdentityFolder
from hospital import Hospital, HubProcess, device_name, system_name

GATEWAY = system_name(8)
DEVICE = device_name(1)
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
"""DCMTK waits for delayed acknowledgements without it."""
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def peer_text(name: str = "ct", titles: Sequence[str] = ("CT1",), *, more: str = "") -> str:
    """Return the settings of one peer that may store everything, in clear text."""
    return (
        f'[[imaging.peers]]\nname = "{name}"\nlistener = "rad"\naddresses = ["127.0.0.1"]\n'
        f"ae_titles = {json.dumps(list(titles))}\ndevice = {json.dumps(DEVICE)}\n{more or CLEAR}\n"
    )


CLEAR = 'sop_classes = ["storage"]\ncleartext = true\n'
PLAIN = '[[imaging.listeners]]\nname = "rad"\nhost = "127.0.0.1"\nport = 0\nae_titles = ["GATE"]\n'


@dataclass
class DicomWard:
    """A hospital, its hub or what stands there, and a gateway; the processes come and go."""

    folder: Path
    hospital: Hospital
    hub_port: int
    hub: HubProcess | None = None
    server: StowServer | None = None
    gateway: "subprocess.Popen[bytes] | None" = None
    ready: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "gateway"

    @property
    def images(self) -> Path:
        return self.data / "spool" / "images"

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def start_server(self, *, keep: bool = True) -> StowServer:
        self.server = StowServer(self.hospital, self.hub_port, keep=keep)
        return self.server

    def start_gateway(self, *, wrap: Sequence[str] = ()) -> None:
        file = self.data / "run" / "imaging.json"
        file.unlink(missing_ok=True)
        command = [*wrap, sys.executable, "-m", "asepsis.edge.gateway.imaging.app"]
        with (self.folder / "gateway.log").open("ab") as log:
            self.gateway = subprocess.Popen(
                [*command, str(self.data / "gateway.toml")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while not file.exists():
            if self.gateway.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the gateway did not start:\n{self.log}")
            time.sleep(0.02)
        self.ready = json.loads(file.read_text())

    def port(self, listener: str = "rad") -> int:
        return self.ready["listeners"][listener]["port"]

    def kill_gateway(self) -> None:
        assert self.gateway is not None
        self.gateway.send_signal(signal.SIGKILL)
        self.gateway.wait()

    def keeper(self) -> int:
        """Return the process that keeps spool and key."""
        assert self.gateway is not None
        return children(self.gateway.pid)[0]

    def findings(self) -> Counter[str]:
        """Return how often each kind of finding was logged."""
        found: Counter[str] = Counter()
        for line in self.log.splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                found[json.loads(line)["finding"]] += 1
        return found

    def spooled(self) -> int:
        """Return how many instances are durable here."""
        return len(list(self.images.glob("*.record")))

    def close(self) -> None:
        if self.gateway is not None and self.gateway.poll() is None:
            self.gateway.kill()
            self.gateway.wait()
        if self.server is not None:
            self.server.close()
        if self.hub is not None and self.hub.process.poll() is None:
            self.hub.stop()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(part) for part in text.split()]


def make_ward(
    folder: Path, *, peers: str = "", head: str = "", listeners: str = PLAIN, hub: str = "",
    more: str = "", registered: bool = False,
) -> DicomWard:  # fmt: skip
    """Prepare hospital and gateway; nothing runs yet. Only a real hub asks for `registered`."""
    folder.mkdir(parents=True, exist_ok=True)
    hub_port = free_port()
    hospital = Hospital(folder / "hospital", more=hub, port=hub_port)
    ward = DicomWard(folder, hospital, hub_port)
    identity = IdentityFolder(ward.data / "identity")
    identity.create()
    if registered:
        files = hospital.enlist([(GATEWAY, Profile.GATEWAY)], declared=[DEVICE])[0].files
        shutil.copy(files.chain_path, identity.path / "tls.pem")
        shutil.copy(files.key_path, identity.path / "tls.key")
    else:
        make_identity(hospital, identity.path)
    address = Endpoint("localhost", hub_port)
    identity.finish(
        GATEWAY, Addresses(address, Endpoint("localhost", free_port())), hospital.root_der
    )
    passphrase = folder / "gateway-passphrase"
    passphrase.write_text(secrets.token_hex(16))
    passphrase.chmod(0o600)
    (ward.data / "gateway.toml").write_text(
        f'device_segments = ["127.0.0.0/8"]\n[sealing]\nsource = "passphrase"\n'
        f'passphrase_file = "{passphrase}"\n[hub]\nclock = "system"\n[imaging]\n{head}\n'
        f"{listeners}\n{peers or peer_text()}\n{more}\n"
    )
    return ward


def make_identity(hospital: Hospital, folder: Path) -> None:
    """Write key and chain of the gateway."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = issue_leaf(
        key.public_key(),
        profile=Profile.GATEWAY,
        name=GATEWAY,
        issuer=hospital.issuer,
        now_ns=time.time_ns(),
        serial=x509.random_serial_number(),
        hosts=(),
    )
    chain = (leaf, hospital.issuer.certificate, hospital.root)
    pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
    (folder / "tls.pem").write_bytes(pem)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "tls.key").write_bytes(text)
    (folder / "tls.key").chmod(0o600)


def run(*command: object, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it said."""
    return subprocess.run(
        [str(part) for part in command],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=check, errors="replace",
    )  # fmt: skip


def storescu(port: int, *files: object, title: str = "CT1", called: str = "GATE",
             options: Sequence[object] = ()) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Send files; the return code is 0 if every one was a success."""
    return run(
        "storescu", "-v", "-nh", "-aet", title, "-aec", called, *options,
        "127.0.0.1", port, *files,
    )  # fmt: skip


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    """Return a data set in pieces."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def opened(ward: DicomWard, *pairs: tuple[str, str], title: str = "CT1") -> Requestor:
    """Return an association with the gateway."""
    remote = Remote(host="127.0.0.1", port=ward.port(), called="GATE", calling=title)
    return await associate(remote, pairs)


def send(ward: DicomWard, instances: Sequence[tuple[str, bytes]], *, title: str = "CT1",
         results: list[int] | None = None) -> list[int]:  # fmt: skip
    """Store instances over one association; return the statuses, also in `results` as they come."""
    found: list[int] = [] if results is None else results

    async def store() -> None:
        user = await opened(ward, (CT, EXPLICIT), title=title)
        try:
            for uid, data in instances:
                found.append((await user.store((CT, EXPLICIT), uid, pieces(data)))[0])
        except BaseException:
            await user.abort()
            raise
        await user.release()

    asyncio.run(store())
    return found


def data_set(file: bytes) -> bytes:
    """Return the data set of a file."""
    found = part10.decode_head(file)
    assert found is not None
    return file[found[1] :]


def instance(number: int, size: int = 1_024, *, sop_class: str = CT) -> tuple[str, bytes]:
    """Return a UID and a data set in Explicit VR Little Endian."""
    uid = f"1.2.826.0.1.3680043.9.9999.1.{number}"
    data = b"".join(
        (
            _element(0x0008, 0x0016, b"UI", sop_class.encode()),
            _element(0x0008, 0x0018, b"UI", uid.encode()),
            _element(0x0008, 0x0060, b"CS", b"CT"),
            _element(0x0010, 0x0010, b"PN", b"DOE^JANE"),
            _element(0x0010, 0x0020, b"LO", b"4711"),
            _element(0x0020, 0x000D, b"UI", b"1.2.826.0.1.3680043.9.9999.2"),
            _element(0x0020, 0x000E, b"UI", b"1.2.826.0.1.3680043.9.9999.3"),
        )
    )
    pixels = secrets.token_bytes(size // 2 * 2)
    return uid, data + struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", len(pixels)) + pixels


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value
