"""A real hub with its signer, one consumer that pulls everything, and devices enrolled at it."""

import asyncio
import base64
import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asepsis.core.trust import tls
from asepsis.core.trust.signer_values import Expectation
from asepsis.edge.uplink.connection import Endpoint, HubConnection
from asepsis.edge.uplink.enrolment import EnrolmentOrder, enrol
from asepsis.edge.uplink.folder import Hospital, IdentityFolder
from asepsis.edge.uplink.token import EnrolmentToken
from asepsis.hub.keys import AdminClient
from asepsis.tools.simulator import hospital
from asepsis.tools.simulator.processes import HubProcess

LANES = ("alert", "vitals", "waveform", "late")


@dataclass
class RealHub:
    """The hub, and what its consumer has got so far."""

    folder: Path
    made: hospital.Prepared
    addresses: Hospital
    consumer: str
    records: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {lane: [] for lane in LANES}
    )
    consumer_folder: IdentityFolder | None = None
    _connection: HubConnection | None = None

    def enrolled(self, name: str, *, kind: str = "device") -> IdentityFolder:
        """List and enrol a device or consumer, as a person would."""
        folder = IdentityFolder(self.folder / name.rpartition(":")[2])
        order = EnrolmentOrder(
            name=name,
            hospital=self.addresses,
            token=EnrolmentToken.parse(asyncio.run(self._expect(name, kind))),
            origin=kind == "device",
        )
        enrol(folder, order)
        return folder

    async def _expect(self, name: str, kind: str) -> str:
        admin = AdminClient(self.made.admin_socket)
        expectation = Expectation(
            id="",
            name=name,
            profile=kind,
            model="under test",
            origin_required=kind == "device",
            lease_ms=2_000,
        )
        try:
            return (await admin.expect(expectation)).token
        finally:
            await admin.close()

    def pull(self) -> None:
        """Get what is new on every lane."""
        if self._connection is None:
            folder = self.consumer_folder = self.enrolled(self.consumer, kind="consumer")
            _, hospital_, root_der = folder.load()
            context = tls.client_context(root_der=root_der, identity=folder.identity)
            self._connection = HubConnection(
                hospital_.clinical, context, now_ns=time.time_ns, timeout_s=10
            )
        path = f"/consumers/{self.consumer}"
        for lane in LANES:
            url = f"{path}/batch?lane={lane}&max=200&wait_s=0"
            answer = self._connection.request("GET", url)
            found = json.loads(answer.body)["records"]
            if found:
                self.records[lane] += found
                self._connection.request(
                    "POST",
                    f"{path}/commit",
                    body=json.dumps({"lane": lane, "position": found[-1]["position"]}).encode(),
                    headers={"Content-Type": "application/json"},
                )

    def of(self, device: str, *lanes: str, account: str = "origin") -> list[tuple[int, int, bytes]]:
        """Return epoch, sequence and body of what the hub has of a device's signed batches."""
        return [
            (record["epoch"], record["sequence"], base64.b64decode(record["body"]))
            for lane in lanes
            for record in self.records[lane]
            if record["producer"] == device and record["account"] == account
        ]

    def technical(self, device: str) -> list[dict[str, Any]]:
        """Return the conditions that the hub itself found about a device."""
        bodies = [
            json.loads(base64.b64decode(record["body"]))
            for record in self.records["alert"]
            if record["kind"] == "technical-alarm"
        ]
        return [body for body in bodies if body["device"] == device]

    def close(self) -> None:
        if self._connection:
            self._connection.close()


@contextlib.contextmanager
def running(folder: Path, *, settings: str = "") -> Iterator[RealHub]:
    """Run a hub made for this test, with more settings behind the usual ones."""
    consumer = f"urn:uuid:{uuid.uuid4()}"
    made = hospital.prepare(folder / "hub", subscriber=consumer)
    with (made.data / "hub.toml").open("a", encoding="utf-8") as file:
        file.write(settings)
    process = HubProcess(made.data, ready=made.ready, log=folder / "hub.log")
    ready = process.start(timeout_s=60)
    ports = {name: where["port"] for name, where in ready["listeners"].items()}
    addresses = Hospital(
        Endpoint(made.host, ports["clinical"]), Endpoint(made.host, ports["enrolment"])
    )
    hub = RealHub(folder=folder, made=made, addresses=addresses, consumer=consumer)
    try:
        yield hub
    finally:
        hub.close()
        process.stop()
