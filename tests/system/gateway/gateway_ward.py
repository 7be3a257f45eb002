"""A gateway as a real process before a real hub, and MLLP senders to torment it with."""

import contextlib
import json
import secrets
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from asepsis.core.journal.ports import Append
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.identity import Profile
from asepsis.core.wire import message_record
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageEntry
from asepsis.core.wire.mllp import FrameReader, frame
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital as Addresses
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.hub.exchange import technical
from asepsis.hub.opening import open_journal, open_kek
from asepsis.hub.settings import read_settings
from hospital import Hospital, HubProcess, Machine, device_name, system_name

GATEWAY = system_name(7)
DEVICE = device_name(1)
EI = b"%b^^%b^EUI-64" % ((DEVICE.removeprefix("urn:dev:mac:").upper().encode(),) * 2)
TYPES = ["ORU^R01", "ADT^*"]
FAST_HUB = "[exchange]\nrate_factor = 1000\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def oru(
    number: int,
    *,
    device: bytes = EI,
    sender: bytes = b"MON|ICU",
    value: int = 60,
    ack: bytes = b"||AL|NE",
    control: bytes | None = None,
    at: bytes = b"20261103120000+0100",
) -> bytes:
    """Return a small PCD-01 message."""
    control = b"%d" % number if control is None else control
    return (
        b"MSH|^~\\&|%b|GW|HOSP|%b||ORU^R01^ORU_R01|%b|P|2.6|%b\r" % (sender, at, control, ack)
        + b"PID|||4711^^^HOSP^MR||DOE^JANE\rOBR|1|||69965^MDC_DEV_MON_PHYSIO^MDC|||%b\r" % at
        + b"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.7.4.147842|%d|" % value
        + b"264864^MDC_DIM_BEAT_PER_MIN^MDC|||||R|||%b||||%b\r" % (at, device)
    )


@dataclass
class Ward:
    """A hospital, its hub and a gateway; both processes come and go."""

    folder: Path
    hospital: Hospital
    machine: Machine
    hub_port: int
    hub: HubProcess | None = None
    gateway: "subprocess.Popen[bytes] | None" = None
    ready: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "gateway"

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def start_hub(self) -> None:
        self.hub = self.hospital.start_hub()

    def start_gateway(self, *, wrap: Sequence[str] = ()) -> None:
        file = self.data / "run" / "ready.json"
        file.unlink(missing_ok=True)
        command = [*wrap, sys.executable, "-m", "asepsis.edge.gateway.app"]
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

    def port(self, listener: str = "ward") -> int:
        return self.ready["listeners"][listener]["port"]

    def kill_gateway(self) -> None:
        assert self.gateway is not None
        self.gateway.send_signal(signal.SIGKILL)
        self.gateway.wait()

    def stop_gateway(self) -> int:
        assert self.gateway is not None
        self.gateway.terminate()
        return self.gateway.wait(30)

    def findings(self) -> Counter[str]:
        """Return how often each kind of finding was logged."""
        found: Counter[str] = Counter()
        for line in self.log.splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                found[json.loads(line)["finding"]] += 1
        return found

    def close(self) -> None:
        if self.gateway is not None and self.gateway.poll() is None:
            self.gateway.kill()
            self.gateway.wait()
        if self.hub is not None and self.hub.process.poll() is None:
            self.hub.stop()

    def journalled(self) -> list[bytes]:
        """Stop the hub and return every message in its journal, in order."""
        return [entry.body for entry in self.entries()]

    def entries(self) -> list[MessageEntry]:
        """Stop the hub and return every message in its journal with its findings, in order."""
        found: list[MessageEntry] = []
        for append in self.records(Lane.MESSAGE):
            assert append.producer == GATEWAY
            found += message_record.decode(append.kind, append.body, sequence=append.sequence)
        return found

    def technical(self) -> list[technical.TechnicalEvent]:
        """Stop the hub and return the technical alarm events that it has found, in order."""
        return [
            technical.decode_event(append.body)
            for append in self.records(Lane.ALERT)
            if append.kind == technical.EVENT_KIND
        ]

    def records(self, lane: Lane) -> list[Append]:
        """Stop the hub and return every record of a lane, in order."""
        assert self.hub is not None
        if self.hub.process.poll() is None:
            self.hub.stop()
        settings = read_settings(self.hospital.toml)
        kek = open_kek(settings.sealing, hub_folder=self.hospital.data / "hub")
        journal = open_journal(settings, kek, clock=time.time_ns)
        found: list[Append] = []
        after = 0
        while records := journal.read(lane, after=after, records_max=2_000):
            after = records[-1].position
            found += [record.append for record in records]
        journal.close()
        return found

    def wait_journalled(self, *, timeout_s: float = 30) -> None:
        """Wait until the hub has every group of messages that the gateway made durable."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            made = accounts(self.data / "spool/journal/signed.db", "gateway")
            if made and made == accounts(self.hospital.data / "hub/journal/signed.db", GATEWAY):
                return
            time.sleep(0.05)
        raise AssertionError("the hub has not every message of the gateway")


def accounts(path: Path, producer: str) -> dict[int, int]:
    """Look into the journal of a running process: epoch -> highest sequence without a gap."""
    query = "SELECT epoch, highest FROM account WHERE account='message' AND producer=? AND gaps=x''"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return dict(db.execute(query, (producer,)).fetchall())
    except sqlite3.Error:
        return {}


def make_ward(
    folder: Path,
    *,
    peers: str = "",
    head: str = "",
    listeners: str = "",
    hub: str = FAST_HUB,
) -> Ward:
    """Prepare hospital and gateway; nothing runs yet."""
    folder.mkdir(parents=True, exist_ok=True)
    hub_port = free_port()
    hospital = Hospital(folder / "hospital", more=hub, port=hub_port)
    machine = hospital.enlist([(GATEWAY, Profile.GATEWAY)], declared=[DEVICE])[0]
    ward = Ward(folder, hospital, machine, hub_port)
    identity = IdentityFolder(ward.data / "identity")
    identity.create()
    shutil.copy(machine.files.chain_path, identity.path / "tls.pem")
    shutil.copy(machine.files.key_path, identity.path / "tls.key")
    address = Endpoint("localhost", hub_port)
    identity.finish(
        GATEWAY, Addresses(address, Endpoint("localhost", free_port())), hospital.root_der
    )
    passphrase = folder / "gateway-passphrase"
    passphrase.write_text(secrets.token_hex(16))
    passphrase.chmod(0o600)
    (ward.data / "gateway.toml").write_text(
        settings_text(passphrase, peers=peers, head=head, listeners=listeners)
    )
    return ward


def settings_text(passphrase: Path, *, peers: str, head: str, listeners: str) -> str:
    listeners = listeners or '[[listeners]]\nname = "ward"\nhost = "127.0.0.1"\nport = 0\n'
    return f"""\
device_segments = ["127.0.0.0/8"]
{head}
[sealing]
source = "passphrase"
passphrase_file = "{passphrase}"
[hub]
clock = "system"
wait_s = 2.0
{listeners}
{peers or peer_text("monitor", ["127.0.0.1"])}
"""


def peer_text(name: str, addresses: Iterable[str], *, more: str = "", ward: str = "ward") -> str:
    """Return the settings of one peer whose senders are MON/ICU and ADT/HIS."""
    return f"""\
[[peers]]
name = "{name}"
listener = "{ward}"
addresses = {json.dumps(list(addresses))}
message_types = {json.dumps(TYPES)}
senders = [{{ application = "MON", facility = "ICU" }}, {{ application = "ADT", facility = "HIS" }}]
devices = [{{ name = "{DEVICE}", identifiers = ["MON-1"] }}]
cleartext = true
rate_per_s = 100000.0
burst = 100000
{more}
"""


class Sender:
    """A blocking MLLP client; `tls` makes it speak TLS."""

    def __init__(
        self, port: int, *, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._frames = FrameReader()

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, message: bytes) -> str | None:
        """Send one message and return MSA-1, or None if the connection ended without one."""
        try:
            self.raw(frame(message))
        except OSError:
            return None
        answer = self.answer()
        return None if answer is None else answer.get("MSA-1")

    def answer(self, timeout_s: float = 15) -> Message | None:
        """Return the next acknowledgement, or None at the end of the connection."""
        self.socket.settimeout(timeout_s)
        while (payload := self._frames.next_frame()) is None:
            try:
                chunk = self.socket.recv(65_536)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not chunk:
                return None
            self._frames.feed(chunk)
        return Message.parse(payload)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
