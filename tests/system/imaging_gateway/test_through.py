"""Modality, gateway, mutual TLS, hub, gateway, PACS: every piece real, the bytes the same."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from dicom_ward import (
    ENVIRONMENT,
    GATEWAY,
    DicomWard,
    data_set,
    free_port,
    instance,
    make_ward,
    send,
    storescu,
)

from asepsis.tools.people import PeopleClient

ROUTES = '[[routes]]\nname = "images"\nfrom = "images"\nto = ["pacs"]\n'
HUB = f'[images]\nreserve_bytes = 0\nreaders = ["{GATEWAY}"]\n[delivery]\nroutes = "routes.toml"\n'


@dataclass
class Pacs:
    """DCMTK's storescp, which keeps every file as it came; it comes and goes."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, *options: str) -> None:
        self.folder.mkdir(exist_ok=True)
        command = ["storescp", "--fork", "-aet", "PACS", "+xa", "+B", *options]
        self.process = subprocess.Popen(
            [*command, "-od", str(self.folder), str(self.port)],
            env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def files(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.folder.iterdir()) if path.is_file()]


@dataclass
class Chain:
    """Everything between a modality and its archive."""

    ward: DicomWard
    pacs: Pacs
    archives: "subprocess.Popen[bytes] | None" = None
    clients: list[PeopleClient] = field(default_factory=list)

    def people(self) -> PeopleClient:
        assert self.ward.hub is not None
        data = self.ward.hospital.data
        address = self.ward.hub.ready["listeners"]["people"]
        client = PeopleClient(
            f"https://{address['host']}:{address['port']}",
            root_path=data / "ca" / "root.crt",
            token_path=data / "hub" / "admin.token",
        )
        self.clients.append(client)
        return client

    def add_destination(self) -> None:
        options = {"carries": "images", "gateway": GATEWAY, "local": True}
        body = {"name": "pacs", "kind": "gateway", "address": "", "options": options}
        self.people().post("/api/destinations", body)

    def start_archives(self) -> None:
        with (self.ward.folder / "archives.log").open("ab") as log:
            self.archives = subprocess.Popen(
                [sys.executable, "-m", "asepsis.edge.gateway.imaging.archives_app",
                 str(self.ward.data / "gateway.toml")], stdout=log, stderr=log,
            )  # fmt: skip

    def kill_archives(self) -> None:
        if self.archives is not None:
            self.archives.kill()
            self.archives.wait()

    def wait_files(self, count: int, *, within_s: float = 30) -> list[bytes]:
        deadline = time.monotonic() + within_s
        while len(list(self.pacs.folder.glob("*"))) < count:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)
        time.sleep(0.2)
        return self.pacs.files()

    @property
    def log(self) -> str:
        return (self.ward.folder / "archives.log").read_text() + self.ward.log

    def close(self) -> None:
        self.kill_archives()
        for client in self.clients:
            client.close()
        self.ward.close()
        self.pacs.stop()


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Callable[..., Chain]]:
    """Return a function that starts a hub and a gateway before and behind it."""
    made: list[Chain] = []

    def start(more: str = "") -> Chain:
        port = free_port()
        ward = make_ward(
            tmp_path / "ward",
            hub=HUB,
            registered=True,
            more=f'[[archives]]\ndestination = "pacs"\nhost = "127.0.0.1"\nport = {port}\n'
            f'called = "PACS"\ncleartext = true\n{more}',
        )
        (ward.hospital.data / "routes.toml").write_text(ROUTES)
        found = Chain(ward, Pacs(tmp_path / "pacs", port))
        made.append(found)
        ward.hub = ward.hospital.start_hub()
        ward.start_gateway()
        found.add_destination()
        return found

    yield start
    for each in made:
        each.close()


@pytest.mark.slow
def test_an_image_goes_all_the_way_unchanged(chain: Callable[..., Chain]) -> None:
    found = chain()
    found.pacs.start()
    found.start_archives()
    done = storescu(found.ward.port(), pydicom.data.get_testdata_file("CT_small.dcm"))
    assert "Received Store Response (Success)" in done.stdout + done.stderr
    mine = [instance(number, 300_000) for number in range(5)]
    assert send(found.ward, mine) == [0] * 5
    files = found.wait_files(6)
    arrived = {data_set(file) for file in files}
    assert {data for _, data in mine} <= arrived
    assert len(arrived) == 6
    lines = found.people().get("/api/delegations")["delegations"]
    assert "127.0.0.1" in {line["seen"]["address"] for line in lines if line["seen"]}


@pytest.mark.slow
def test_the_pacs_is_away_and_the_gateway_dies(chain: Callable[..., Chain]) -> None:
    """Goal: what was a success reaches the archive whatever happens between; none is lost."""
    found = chain()
    found.start_archives()
    mine = [instance(number, 50_000) for number in range(12)]
    assert send(found.ward, mine[:6]) == [0] * 6
    time.sleep(1)
    found.kill_archives()
    found.pacs.start()
    found.start_archives()
    assert send(found.ward, mine[6:]) == [0] * 6
    found.wait_files(3)
    found.kill_archives()
    found.start_archives()
    files = found.wait_files(12)
    assert {data_set(file) for file in files} == {data for _, data in mine}
    assert json.loads(found.log.splitlines()[0])["finding"]


@pytest.mark.slow
def test_a_pacs_that_rejects_every_association_is_tried_again(
    chain: Callable[..., Chain],
) -> None:
    """Goal: a PACS that is set up wrong delays; nothing counts as refused for it."""
    found = chain()
    found.pacs.start("--refuse")
    found.start_archives()
    assert send(found.ward, [instance(1)]) == [0]
    time.sleep(1)
    assert found.pacs.files() == []
    found.pacs.stop()
    found.pacs.start()
    assert len(found.wait_files(1)) == 1


@pytest.mark.slow
def test_a_destination_gets_images_without_the_patient(
    chain: Callable[..., Chain], tmp_path: Path
) -> None:
    """Goal: the archive of research has pixels and study, and nothing that says whose they are."""
    secret = tmp_path / "uids.secret"
    secret.write_bytes(os.urandom(32))
    found = chain(f'deidentify = true\nuid_secret_file = "{secret}"\n')
    found.pacs.start()
    found.start_archives()
    mine = [instance(number, 2_000) for number in range(2)]
    assert send(found.ward, mine) == [0, 0]
    files = found.wait_files(2)
    assert not any(word in file for file in files for word in (b"DOE", b"4711", b"9999.1"))
    read = [pydicom.dcmread(io.BytesIO(file), force=True) for file in files]
    assert {one.PixelData for one in read} == {data[-2_000:] for _, data in mine}
    assert len({one.StudyInstanceUID for one in read}) == 1
    assert {one.PatientIdentityRemoved for one in read} == {"YES"}
