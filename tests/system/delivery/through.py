"""Two gateways with a hub between them: an old sender before, an old EHR behind, both in clear."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import gateway_ward
from delivery_ward import Sink
from gateway_ward import FAST_HUB

from asepsis.core.trust.identity import Profile
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital as Addresses
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.people import PeopleClient
from hospital import system_name

OUT = system_name(8)
ROUTES = """\
[[routes]]
name = "everything"
to = ["ehr"]
on_refused = "{on_refused}"
"""


@dataclass
class Through:
    """Sender -> gateway A -> hub -> gateway B -> EHR."""

    folder: Path
    ward: gateway_ward.Ward
    sink: Sink
    outbound: "subprocess.Popen[bytes] | None" = None

    @property
    def data(self) -> Path:
        return self.folder / "outbound"

    @property
    def log(self) -> str:
        return (self.folder / "outbound.log").read_text()

    def start_outbound(self) -> None:
        ready = self.data / "run" / "outbound.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "asepsis.edge.gateway.outbound.app"]
        with (self.folder / "outbound.log").open("ab") as log:
            self.outbound = subprocess.Popen(
                [*command, str(self.data / "gateway.toml")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert self.outbound.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def stop_outbound(self, number: int = signal.SIGTERM) -> int:
        assert self.outbound is not None
        self.outbound.send_signal(number)
        return self.outbound.wait(15)

    def people(self) -> PeopleClient:
        assert self.ward.hub is not None
        data = self.ward.hospital.data
        address = self.ward.hub.ready["listeners"]["people"]
        return PeopleClient(
            f"https://{address['host']}:{address['port']}",
            root_path=data / "ca" / "root.crt",
            token_path=data / "hub" / "admin.token",
        )

    def enter(self) -> None:
        """Enter the destination as an administrator does."""
        client = self.people()
        options = {"gateway": OUT}
        body = {"name": "ehr", "kind": "gateway", "address": "old EHR", "options": options}
        client.post("/api/destinations", body)
        client.close()

    def close(self) -> None:
        if self.outbound is not None and self.outbound.poll() is None:
            self.outbound.kill()
            self.outbound.wait()
        self.ward.close()
        self.sink.kill()


def make_through(folder: Path, *, on_refused: str = "step-over", in_flight: int = 8) -> Through:
    """Prepare everything; only the EHR runs."""
    peers = gateway_ward.peer_text("monitor", ["127.0.0.1"], more='ack = "spool"')
    return prepare_outbound(folder, on_refused=on_refused, in_flight=in_flight, peers=peers)


def prepare_outbound(
    folder: Path,
    *,
    peers: str,
    on_refused: str = "step-over",
    in_flight: int = 8,
) -> Through:
    """Prepare everything for given senders."""
    hub = FAST_HUB + '[delivery]\nroutes = "routes.toml"\n'
    ward = gateway_ward.make_ward(folder, hub=hub, peers=peers)
    (ward.hospital.data / "routes.toml").write_text(ROUTES.format(on_refused=on_refused))
    sink = Sink(folder / "ehr", tls=None)
    sink.start()
    made = Through(folder, ward, sink)
    machine = ward.hospital.enlist([(OUT, Profile.GATEWAY)])[0]
    identity = IdentityFolder(made.data / "identity")
    identity.create()
    shutil.copy(machine.files.chain_path, identity.path / "tls.pem")
    shutil.copy(machine.files.key_path, identity.path / "tls.key")
    clinical = Endpoint("localhost", ward.hub_port)
    enrolment = Endpoint("localhost", gateway_ward.free_port())
    identity.finish(OUT, Addresses(clinical, enrolment), ward.hospital.root_der)
    (made.data / "gateway.toml").write_text(
        f"""\
device_segments = ["127.0.0.0/8"]
[hub]
clock = "system"
[[outbound]]
destination = "ehr"
host = "127.0.0.1"
port = {sink.port}
cleartext = true
in_flight = {in_flight}
answer_s = 3.0
"""
    )
    return made
