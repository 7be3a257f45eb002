"""A hub with routes and destinations, an EHR behind it, and senders before it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from hub_ward import GATEWAY, UNSIGNED, Ward, make_ward

from asepsis.core.wire.message_record import (
    BatchGroup,
    MessageFindings,
    MessagePeer,
    encode_batch,
    encode_group,
)
from asepsis.tools.people import PeopleClient

SINK = Path(__file__).with_name("ehr_sink.py")
BATCH = "application/vnd.asepsis.hl7v2-batch"
WORD = b"%b^^%b^EUI-64" % ((UNSIGNED.removeprefix("urn:dev:mac:").upper().encode(),) * 2)
ROUTES = """\
[[routes]]
name = "vitals"
to = ["ehr"]
[routes.filter]
types = ["ORU^R01"]
[[routes.map]]
do = "set"
field = "MSH-5"
value = "EHR"
"""


def oru(number: int, *, patient: str = "4711", value: int = 60) -> bytes:
    at = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%d%H%M%S.000+0000")
    return (
        f"MSH|^~\\&|MON|ICU|GW|HOSP|{at}||ORU^R01^ORU_R01|{number}|P|2.6|||AL|NE\r"
        f"PID|||{patient}^^^HOSP^MR||DOE^JANE\rOBR|1|||69965^MDC_DEV_MON_PHYSIO^MDC|||{at}\r"
        f"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.7.4.147842|{value}|"
        f"264864^MDC_DIM_BEAT_PER_MIN^MDC|||||R|||{at}||||{WORD.decode()}\r"
    ).encode()


class Sink:
    """The EHR; it comes and goes."""

    def __init__(self, folder: Path, *, tls: tuple[Path, Path] | None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = 0
        self._tls = tls
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, str(SINK), str(self.folder), str(self.port)]
        command += [str(path) for path in self._tls or ()]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def behave(self, **codes: str) -> None:
        aside = self.folder / "behave.new"
        aside.write_text(json.dumps(codes))
        aside.replace(self.folder / "behave.json")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def received(self) -> list[tuple[str, str]]:
        try:
            lines = (self.folder / "received.log").read_text().splitlines()
        except OSError:
            return []
        return [tuple(json.loads(line)) for line in lines]

    def ids(self) -> list[str]:
        return [control for control, _ in self.received()]

    def once(self) -> list[str]:
        """Return the ids in the order in which each came first."""
        return list(dict.fromkeys(self.ids()))


@dataclass
class DeliveryWard:
    """Hub, EHR, and clients of both sides."""

    folder: Path
    ward: Ward
    sink: Sink
    sequence: int = 0
    clients: list[PeopleClient] = field(default_factory=list)

    def start(self) -> None:
        self.ward.start()

    def people(self, role: str | None = None) -> PeopleClient:
        """Return the administrator, or a person of a role."""
        assert self.ward.hub is not None
        data = self.ward.hospital.data
        address = self.ward.hub.ready["listeners"]["people"]
        base = f"https://{address['host']}:{address['port']}"
        root, token = data / "ca" / "root.crt", data / "hub" / "admin.token"
        client = PeopleClient(base, root_path=root, token_path=token)
        self.clients.append(client)
        if role is None:
            return client
        token = self.folder / f"{role}.token"
        if not token.exists():
            client.add_person(role, roles=[role])
            token.write_text(client.issue_token(role, days=1))
            token.chmod(0o600)
        made = PeopleClient(base, root_path=root, token_path=token)
        self.clients.append(made)
        return made

    def add(self, name: str = "ehr", *, kind: str = "mllp", **options: Any) -> Any:
        address = options.pop("address", f"localhost:{self.sink.port}" if kind == "mllp" else "")
        body = {"name": name, "kind": kind, "address": address}
        body["options"] = {"local": True, **options}
        return self.people().post("/api/destinations", body)

    def destination(self, name: str = "ehr") -> dict[str, Any]:
        found = self.people().get("/api/destinations")["destinations"]
        return next(one for one in found if one["name"] == name)

    def send(self, bodies: Sequence[bytes]) -> None:
        """Bring messages as a gateway does."""
        words = ((WORD, UNSIGNED),)
        findings = MessageFindings(MessagePeer("monitor", "UTC", words), 0, time.time_ns())
        self.sequence += 1
        group = BatchGroup(self.sequence, 0, encode_group([(findings, b) for b in bodies]))
        headers = {"Content-Type": BATCH, "Asepsis-Epoch": "1"}
        with self.ward.client(GATEWAY) as client:
            answer = client.post("/hl7v2", content=encode_batch([group]), headers=headers)
        assert answer.status_code == 200, answer.text

    def gateway(self) -> httpx.Client:
        return self.ward.client(GATEWAY)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.ward.close()
        self.sink.kill()


def make_delivery(folder: Path, *, routes: str = ROUTES, more: str = "") -> DeliveryWard:
    """Prepare everything; the sink runs, the hub does not yet."""
    text = f'[exchange]\nrate_factor = 1000\n[delivery]\nroutes = "routes.toml"\n{more}'
    ward = make_ward(folder / "hospital", more=text)
    (ward.hospital.data / "routes.toml").write_text(routes)
    tls = ward.hospital.data / "hub" / "tls"
    sink = Sink(folder / "ehr", tls=(tls / "chain.pem", tls / "key.pem"))
    sink.start()
    return DeliveryWard(folder, ward, sink)


def wait_until(ready: Callable[[], object], *, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.03)


__all__ = ["UNSIGNED", "DeliveryWard", "Sink", "make_delivery", "oru", "wait_until"]
