"""What a vendor, two approvers, a person at the hub and a device do about a release."""

import asyncio
import base64
import json
import ssl
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from asepsis.cli.devices import people
from asepsis.core.trust import tls
from asepsis.core.trust.metadata.directing import director_key
from asepsis.core.trust.signer_values import Expectation
from asepsis.edge.device.update import place
from asepsis.edge.device.update.fetching import Fetcher, Place, Repository
from asepsis.edge.device.update.starting import verify
from asepsis.edge.device.update.talk import DIRECTOR, Kind
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.enrolment import EnrolmentOrder, enrol
from asepsis.edge.uplink.folder import Hospital as Addresses
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.edge.uplink.token import EnrolmentToken
from asepsis.hub.keys import AdminClient
from asepsis.tools.people import PeopleClient
from asepsis.tools.release.approving import approve, propose, root_of
from asepsis.tools.release.upload import published
from asepsis.tools.simulator import hospital
from asepsis.tools.simulator.hospital import Prepared
from asepsis.tools.simulator.processes import HubProcess
from asepsis.tools.testing.releases import MODEL, Hospital, Vendor

SIGNING, OTHER = (f"urn:dev:mac:00000000000000{n:02x}" for n in (1, 2))
HARDWARE = "m5-rev-b"
VENDOR = "/api/updates/vendors/acme"


@dataclass
class ReleaseWard:
    """A hub with two devices, and everybody who has a say in software."""

    made: Prepared
    endpoint: Endpoint
    addresses: Addresses
    folder: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    devices: dict[str, IdentityFolder] = field(default_factory=dict[str, IdentityFolder])

    def __post_init__(self) -> None:
        self.person: PeopleClient = people(self.made.data)
        for name in (SIGNING, OTHER):
            self.devices[name] = asyncio.run(self._enrolled(name))
        self.vendor = Vendor(self.folder / "acme", now=self.now, name="acme")
        key = director_key(asyncio.run(self._director_der()))
        self.hospital = Hospital(self.folder / "director", key, now=self.now)
        self.person.post(
            "/api/updates/vendors", {"name": "acme", "root": _text(self.vendor.first_root)}
        )
        self.put_root(self.hospital.first_root)
        self.list_devices({"device": SIGNING, "model": MODEL, "hardware": HARDWARE})

    @property
    def console(self) -> str:
        """Address of the console."""
        ready = json.loads(self.made.ready.read_text("utf-8"))
        return f"https://localhost:{ready['listeners']['people']['port']}"

    async def _enrolled(self, name: str) -> IdentityFolder:
        """List and enrol a device, as a person would."""
        folder = IdentityFolder(self.folder / name.rpartition(":")[2])
        admin = AdminClient(self.made.admin_socket)
        listed = Expectation(id="", name=name, profile="device", model="under test")
        try:
            token = EnrolmentToken.parse((await admin.expect(listed)).token)
        finally:
            await admin.close()
        order = EnrolmentOrder(name=name, hospital=self.addresses, token=token, origin=False)
        await asyncio.to_thread(enrol, folder, order)
        return folder

    async def _director_der(self) -> bytes:
        admin = AdminClient(self.made.admin_socket)
        try:
            return (await admin.authorities()).director_der
        finally:
            await admin.close()

    def put_root(self, content: bytes) -> Any:
        """Give the hub a root of its director."""
        return self.person.post("/api/updates/director/roots", {"content": _text(content)})

    def list_devices(self, *devices: dict[str, str]) -> None:
        """List devices for updates."""
        self.person.post("/api/updates/devices", {"devices": devices})

    def bring(self, *, without: str = "") -> None:
        """Bring what the vendor published, as files; `without` names an area to leave out."""
        for area, name, path in published(self.vendor.folder / "public"):
            if area != without:
                self.put_file(area, name, path)

    def put_file(self, area: str, name: str, path: Path) -> None:
        """Bring one file."""
        self.person.put_file(f"{VENDOR}/files/{area}/{quote(name, safe='')}", path)

    def import_(self) -> dict[str, int]:
        """Let the hub verify what was brought."""
        return self.person.post(f"{VENDOR}/import", {})

    def authorise(self, path: str, *parties: str) -> bytes:
        """Have a release approved by parties, each with their own key."""
        content = propose(self.vendor.repository, path, models=(), floor=0, days=30, now=self.now)
        for party in parties:
            who = self.vendor if party == "vendor" else self.hospital
            root = root_of(who.first_root, party)
            content = approve(content, who.approver, root=root, party=party)
        return content

    def submit(self, content: bytes) -> dict[str, Any]:
        """Bring an authorisation to the hub."""
        return self.person.post("/api/updates/authorisations", {"content": _text(content)})

    def shown(self, path: str) -> dict[str, Any]:
        """Return a release as people see it."""
        found = self.person.get("/api/updates")["releases"]
        return next(one for one in found if one["path"] == path)

    def ready(self, counter: int) -> dict[str, Any]:
        """Release, import and approve; returns the release as people see it."""
        path = self.vendor.release(counter)
        self.bring()
        self.import_()
        return self.submit(self.authorise(path, "vendor", "hospital"))

    def context(self, name: str) -> ssl.SSLContext:
        """Return what a device trusts and shows on a connection."""
        _, _, root_der = self.devices[name].load()
        return tls.client_context(root_der=root_der, identity=self.devices[name].identity)

    def device(self, name: str = SIGNING) -> httpx.Client:
        """Return a client with a device's certificate."""
        base = f"https://{self.endpoint.host}:{self.endpoint.port}"
        return httpx.Client(verify=self.context(name), base_url=base, timeout=20, trust_env=False)

    def assign(self, device: str, sha256: str) -> Any:
        """Assign a release to a device, as a person does on the bench."""
        return self.person.post(f"{_device(device)}/assign", {"artefact": sha256})

    def clear(self, device: str) -> Any:
        """Take back what is assigned."""
        return self.person.post(f"{_device(device)}/clear", {})

    def take(
        self, folder: Path, name: str = SIGNING, *, at_s: int = 0, **own: str
    ) -> dict[str, Any]:
        """Let a device look for what it is to have: its fetcher and its verifier.

        Args:
            folder: Its own.
            name: Of the device.
            at_s: Its time, seconds since 1970; 0 for now.
            own: What it believes of itself otherwise.
        """
        base = Place("https", self.endpoint.host, self.endpoint.port, "/")
        images = "/updates/images/acme"
        incoming = folder / "incoming"
        if not incoming.exists():
            incoming.mkdir(parents=True)
            place.begin(
                folder / "update",
                director_root=self.hospital.first_root,
                vendor_roots={"acme": self.vendor.first_root},
            )
        fetcher = Fetcher(
            repositories={
                DIRECTOR: Repository(replace(base, path="/updates/director/")),
                "acme": Repository(
                    replace(base, path=f"{images}/metadata/"),
                    replace(base, path=f"{images}/targets/"),
                ),
            },
            incoming=incoming,
            now_s=time.monotonic,
            context=self.context(name),
        )
        order = {
            "folder": str(folder / "update"),
            "incoming": str(incoming),
            "own": {"device": name, "hardware": HARDWARE, "model": MODEL} | own,
            "vendors": ["acme"],
            "now_s": at_s or int(time.time()),
        }
        return verify(order, fetcher, kind=Kind.ASSIGNMENTS)

    def taken(self, folder: Path) -> list[str]:
        """Return what the first device accepts."""
        result = self.take(folder)
        assert result["done"], result
        return result["files"]


@contextmanager
def running() -> Generator[ReleaseWard]:
    """Run a hub whose signer directs devices."""
    # Not pytest's own folder: the hub's and the signer's users must be able to pass.
    with tempfile.TemporaryDirectory(prefix="asepsis-releases-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = hospital.prepare(folder / "hub", subscriber=f"urn:uuid:{uuid.uuid4()}")
        process = HubProcess(made.data, ready=made.ready, log=folder / "hub.log")
        ready = process.start(timeout_s=60)
        clinical, enrolment = (
            Endpoint(made.host, ready["listeners"][one]["port"])
            for one in ("clinical", "enrolment")
        )
        try:
            whole = ReleaseWard(made, clinical, Addresses(clinical, enrolment), folder)
            yield whole
            whole.person.close()
        finally:
            process.stop()


def _device(name: str) -> str:
    return f"/api/updates/devices/{quote(name, safe='')}"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
