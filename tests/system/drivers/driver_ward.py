"""A hub, a gateway's drivers as real processes, an IntelliVue monitor and a MEDIBUS ventilator."""

import contextlib
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from asepsis.core.trust import tls
from asepsis.core.trust.identity import Profile
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital as Addresses
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.people import PeopleClient
from asepsis.tools.testing.intellivue_monitor import Monitor
from asepsis.tools.testing.medibus_ventilator import Ventilator
from asepsis.tools.testing.peer_servers import PtyPeer, UdpPeer
from hospital import Hospital, HubProcess, device_name, system_name

GATEWAY, CONSUMER = system_name(7), system_name(8)
MONITOR, VENTILATOR = device_name(41), device_name(42)
LANES = '["alert", "vitals", "waveform", "late", "event"]'
HUB = f"""
[exchange]
rate_factor = 100
[[consumers]]
name = "{CONSUMER}"
lanes = {LANES}
mandatory = ["alert"]
record = "devices"
"""
Event = tuple[str, dict[str, Any]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class DriverWard:
    """Everything; processes come and go."""

    def __init__(self, folder: Path, *, declared: Sequence[str] = (MONITOR, VENTILATOR)) -> None:
        self.folder = folder
        self.hub_port = free_port()
        self.hospital = Hospital(folder / "hospital", more=HUB, port=self.hub_port)
        (self.machine,) = self.hospital.enlist([(GATEWAY, Profile.GATEWAY)], declared=declared)
        (self.reader,) = self.hospital.enlist([(CONSUMER, Profile.CONSUMER)])
        self.data = folder / "gateway"
        self.monitor, self.ventilator = Monitor(), Ventilator()
        self.udp, self.pty = UdpPeer(self.monitor), PtyPeer(self.ventilator)
        self.announcements = free_port()
        self.hub: HubProcess | None = None
        self.gateway: subprocess.Popen[bytes] | None = None
        self.seen: list[Event] = []
        self._changed = threading.Condition()
        self._client: httpx.Client | None = None
        self._prepare()
        self.udp.start()
        self.pty.start()

    def _identity_files(self) -> None:
        identity = IdentityFolder(self.data / "identity")
        identity.create()
        shutil.copy(self.machine.files.chain_path, identity.path / "tls.pem")
        shutil.copy(self.machine.files.key_path, identity.path / "tls.key")
        hub = Endpoint("localhost", self.hub_port)
        identity.finish(
            GATEWAY, Addresses(hub, Endpoint("localhost", free_port())), self.hospital.root_der
        )

    def _prepare(self) -> None:
        self._identity_files()
        passphrase = self.folder / "passphrase"
        passphrase.write_text(secrets.token_hex(16))
        passphrase.chmod(0o600)
        (self.data / "gateway.toml").write_text(f"""\
device_segments = ["127.0.0.0/8"]
[sealing]
source = "passphrase"
passphrase_file = "{passphrase}"
[hub]
clock = "system"
[[drivers]]
name = "monitor-1"
driver = "intellivue"
device = "{MONITOR}"
address = "127.0.0.1"
port = {self.udp.port}
local_address = "127.0.0.1"
local_port = {free_port()}
announcements = {self.announcements}
cleartext = true
[[drivers]]
name = "ventilator-1"
driver = "medibus"
device = "{VENTILATOR}"
line = "{self.pty.path}"
""")

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def findings(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for line in self.log.splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                told = json.loads(line)
                found[told["finding"], told["peer"]] += 1
        return found

    def start_hub(self) -> None:
        self.hub = self.hospital.start_hub()

    def people(self) -> PeopleClient:
        """Return the administrator, who closes it."""
        assert self.hub is not None
        return PeopleClient(
            f"https://localhost:{self.hub.ready['listeners']['people']['port']}",
            root_path=self.hospital.data / "ca" / "root.crt",
            token_path=self.hospital.data / "hub" / "admin.token",
        )

    def declare(self, device: str, **network: str | int) -> None:
        """Say what the network must show of a device."""
        with contextlib.closing(self.people()) as client:
            client.declare(GATEWAY, [device], days=9, evidence="observed", network=network)

    def delegation(self, device: str) -> dict[str, Any]:
        """Return the line of a device, with what is seen of it."""
        with contextlib.closing(self.people()) as client:
            lines = client.get("/api/delegations")["delegations"]
        return next(line for line in lines if line["device"] == device)

    def start_gateway(self) -> None:
        command = [sys.executable, "-m", "asepsis.edge.gateway.drivers.app"]
        with (self.folder / "gateway.log").open("ab") as log:
            self.gateway = subprocess.Popen(
                [*command, str(self.data / "gateway.toml")], stdout=log, stderr=log
            )

    def ready(self) -> dict[str, Any]:
        return json.loads((self.data / "run/drivers.json").read_text())

    def client(self) -> httpx.Client:
        if self._client is None:
            context = tls.client_context(
                root_der=self.hospital.root_der, identity=self.reader.files
            )
            base = f"https://localhost:{self.hub_port}"
            self._client = httpx.Client(verify=context, base_url=base, timeout=30)
        return self._client

    def watch(self) -> None:
        """Follow the live view of both devices in the background."""
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        path = f"/views/live?device={MONITOR}&device={VENTILATOR}&waveforms=1"
        with contextlib.suppress(httpx.HTTPError), self.client().stream("GET", path) as answer:
            name = ""
            for line in answer.iter_lines():
                if line.startswith("event:"):
                    name = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    with self._changed:
                        self.seen.append((name, json.loads(line.removeprefix("data:"))))
                        self._changed.notify_all()

    def until(self, found: Callable[[], bool], *, seconds: float = 20) -> None:
        with self._changed:
            assert self._changed.wait_for(found, seconds), (self.log, self.kinds())

    def kinds(self) -> Counter[str]:
        return Counter(name for name, _ in self.seen)

    def records(self, lane: str) -> list[dict[str, Any]]:
        """Return everything of a lane that the consumer has not committed."""
        path = f"/consumers/{CONSUMER}/batch?lane={lane}&max=1000"
        return self.client().get(path).json()["records"]

    def stop_gateway(self) -> int:
        assert self.gateway is not None
        self.gateway.send_signal(signal.SIGTERM)
        return self.gateway.wait(30)

    def close(self) -> None:
        if self.gateway is not None and self.gateway.poll() is None:
            self.gateway.send_signal(signal.SIGKILL)
            self.gateway.wait()
        if self.hub is not None and self.hub.process.poll() is None:
            self.hub.stop()
        if self._client is not None:
            self._client.close()
        self.udp.close()
        self.pty.close()


def wait_for(found: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)
