"""A ward whose beds a test holds in its hand, and whose hub comes back where it was."""

import re
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
from console_ward import WARD, ConsoleWard

from asepsis.edge.device.catalogue import Kind
from asepsis.edge.uplink.connection import Endpoint
from asepsis.hub.access.service import PeopleService
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.settings import read_settings
from hospital import device_name
from ward_beds import Bed

MODELS = {1: "Bedside monitor", 2: "Bedside monitor", 3: "Bedside monitor", 4: "Bedside monitor"}


class LiveWard(ConsoleWard):
    """A console's ward with beds that send, and a hub that comes back where it was."""

    def __init__(self, folder: Path, *, kinds: Mapping[int, Kind] | None = None) -> None:
        super().__init__(folder, models=MODELS)
        self._kinds = kinds or {}
        self._keep_ports()
        self.beds = {number: self._bed(number) for number in MODELS}

    def start_beds(self) -> None:
        for bed in self.beds.values():
            bed.start()

    def kill(self) -> None:
        """End the hub as a power cut would."""
        assert self.ward.hub is not None
        self.ward.hub.kill()

    def move(self, number: int, bed: str) -> None:
        """Put a device that is used for a patient at another bed."""
        where = {"point_of_care": WARD, "room": "1", "bed": bed}
        name = device_name(number)
        body = {"place": where, "fixed": False, "confirm": name}
        assert self.api.put(f"/api/devices/{name}/place", json=body).json()["done"]

    def speak_for(self, person: str) -> httpx.Client:
        """Return a client of the people listener with a person's token."""
        client = self.client()
        client.headers["Authorization"] = f"Bearer {self.token_file(person).read_text()}"
        return client

    def token_file(self, person: str) -> Path:
        """Return a file with a fresh token of a person."""
        settings = read_settings(self.ward.hospital.toml)
        kek = open_kek(settings.sealing, hub_folder=self.ward.hospital.data / "hub")
        store = open_store(settings, kek, clock=time.time_ns)
        service = PeopleService(store, AuditLog(time.time_ns))
        path = self.folder / f"{person}.token"
        path.write_text(service.issue_token(person, actor="person:test"))
        store.close()
        return path

    def close(self) -> None:
        for bed in self.beds.values():
            bed.stop()
        super().close()

    def _bed(self, number: int) -> Bed:
        found = next(m for m in self.ward.machines.values() if m.name.endswith(f"{number:06x}"))
        kind = self._kinds.get(number, Kind.MONITOR)
        return Bed(found, self._clinical, self.ward.hospital.root_der, seed=number, kind=kind)

    def _clinical(self) -> Endpoint:
        assert self.ward.hub is not None
        return Endpoint("localhost", self.ward.hub.port)

    def _keep_ports(self) -> None:
        assert self.ward.hub is not None
        toml = self.ward.hospital.toml
        text = toml.read_text()
        for name, place in self.ward.hub.ready["listeners"].items():
            text = re.sub(rf"({name} = .*port = )\d+", rf"\g<1>{place['port']}", text)
        toml.write_text(text)
