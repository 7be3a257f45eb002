"""Storage commitment all the way: pynetdicom asks as a modality, Orthanc answers as archive."""

import io
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from dicom_ward import CT, ENVIRONMENT, GATEWAY, DicomWard, free_port, make_ward, peer_text
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from asepsis.tools.people import PeopleClient

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "imaging"), str(TESTS / "hub")]

from objects import made  # noqa: E402 - found by the path above
from orthanc_server import REFUSED, Orthanc  # noqa: E402

ROUTES = '[[routes]]\nname = "images"\nfrom = "images"\nto = ["pacs"]\n'
HUB = (
    "[images]\nreserve_bytes = 0\nkeep_s = 0\nkeep_full_s = 0\npurge_every_s = 0.1\n"
    '[delivery]\nroutes = "routes.toml"\n'
)
COMMITS = 'sop_classes = ["storage", "commitment"]\ncleartext = true\narchive = "pacs"\n'

pytestmark = pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not installed")


@dataclass
class Modality:
    """A CT that stores, asks for a commitment, and hears of it on its own port."""

    port: int
    heard: list[tuple[int, Dataset]] = field(default_factory=list)
    status: int = 0

    def listen(self) -> None:
        """Begin to hear event reports."""
        unit = AE("CT1")
        unit.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)

        def handle(event: evt.Event) -> tuple[int, None]:
            self.heard.append((event.request.EventTypeID, event.event_information))
            return self.status, None

        self._server = unit.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, handle)]
        )

    def close(self) -> None:
        self._server.shutdown()

    def work(self, gate: int, objects: Sequence[bytes], *, instance: str = "") -> tuple[str, int]:
        """Store everything and ask for a commitment; return its transaction and the status."""
        found = [dcmread(io.BytesIO(data)) for data in objects]
        unit = AE("CT1")
        unit.add_requested_context(CT, ExplicitVRLittleEndian)
        unit.add_requested_context(StorageCommitmentPushModel)
        association = unit.associate("127.0.0.1", gate, ae_title="GATE")
        assert association.is_established
        for each in found:
            assert association.send_c_store(each).Status == 0
        asked = Dataset()
        asked.TransactionUID = generate_uid()
        asked.ReferencedSOPSequence = []
        for each in found:
            item = Dataset()
            item.ReferencedSOPClassUID = each.SOPClassUID
            item.ReferencedSOPInstanceUID = each.SOPInstanceUID
            asked.ReferencedSOPSequence.append(item)
        status, _ = association.send_n_action(
            asked, 1, StorageCommitmentPushModel, instance or StorageCommitmentPushModelInstance
        )
        association.release()
        return asked.TransactionUID, status.Status


@dataclass
class Chain:
    """Modality, gateway, hub; the archive comes and goes."""

    ward: DicomWard
    modality: Modality
    orthanc: Orthanc
    programs: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start_reports(self) -> None:
        self.start("reports_app")

    def start(self, family: str) -> None:
        """Start a family of the gateway."""
        command = [sys.executable, "-m", f"asepsis.edge.gateway.imaging.{family}"]
        with (self.ward.folder / "reports.log").open("ab") as log:
            self.programs.append(
                subprocess.Popen(
                    [*command, str(self.ward.data / "gateway.toml")],
                    stdout=log, stderr=log, env=ENVIRONMENT,
                )
            )  # fmt: skip

    def kill_reports(self) -> None:
        for program in self.programs:
            program.kill()
            program.wait()
        self.programs.clear()

    @property
    def log(self) -> str:
        return self.ward.log + (self.ward.folder / "reports.log").read_text()

    def people(self) -> PeopleClient:
        assert self.ward.hub is not None
        data, address = self.ward.hospital.data, self.ward.hub.ready["listeners"]["people"]
        return PeopleClient(
            f"https://{address['host']}:{address['port']}",
            root_path=data / "ca" / "root.crt",
            token_path=data / "hub" / "admin.token",
        )

    def declare(self, *, dimse: bool) -> None:
        """Enter the archive as an administrator does."""
        client = self.people()
        body = {"name": "pacs", "kind": "stow", "address": self.orthanc.url + "/dicom-web"}
        options = {"carries": "images", "local": True, "tries": 1, "title": "ARCHIVE"}
        if dimse:
            body |= {"kind": "gateway", "address": ""}
            options |= {"gateway": GATEWAY}
        client.post("/api/destinations", {**body, "options": options})
        client.close()

    def held(self) -> set[str]:
        """Return the instances that the hub holds."""
        client = self.people()
        studies = client.get("/api/images")["studies"]
        found = {
            each["instance"]
            for study in studies
            for each in client.get(f"/api/images/{study['study']}")["instances"]
        }
        client.close()
        return found

    def close(self) -> None:
        self.kill_reports()
        self.ward.close()
        self.modality.close()
        self.orthanc.stop()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Return a hub with a gateway before it, and an archive with DICOMweb that is not there yet."""
    yield from make_chain(tmp_path_factory.mktemp("commitment"))


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Chain]:
    """Return the same with an archive that speaks DIMSE only, behind the gateway."""
    yield from make_chain(tmp_path, dimse=True)


def make_chain(folder: Path, *, dimse: bool = False) -> Iterator[Chain]:
    """Start everything but the archive."""
    ear = free_port()
    modality = Modality(free_port())
    orthanc = Orthanc(DicomModalities={"far": ["FAR", "127.0.0.1", ear]})
    archives = (
        f'[[archives]]\ndestination = "pacs"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n'
        'called = "ORTHANC"\ncalling = "FAR"\ncleartext = true\ncommits = true\nanswer_s = 5\n'
        f'reports_host = "127.0.0.1"\nreports_port = {ear}\n'
    )
    listeners = (
        '[[imaging.listeners]]\nname = "rad"\nhost = "127.0.0.1"\nport = 0\n'
        'ae_titles = ["GATE"]\n[[imaging.destinations]]\ntitle = "CT1"\nhost = "127.0.0.1"\n'
        f'port = {modality.port}\ncalling = "GATE"\ncleartext = true\nanswer_s = 5\n'
    )
    hub = HUB.replace("[images]", f'[images]\nreaders = ["{GATEWAY}"]')
    hub = hub.replace("keep_s = 0", "keep_s = 3600") if dimse else hub
    ward = make_ward(
        folder / "ward", peers=peer_text(more=COMMITS), listeners=listeners,
        hub=hub,
        registered=True, more=archives if dimse else "",
    )  # fmt: skip
    (ward.hospital.data / "routes.toml").write_text(ROUTES)
    found = Chain(ward, modality, orthanc)
    modality.listen()
    try:
        ward.hub = ward.hospital.start_hub()
        ward.start_gateway()
        found.declare(dimse=dimse)
        found.start_reports()
        if dimse:
            found.start("archives_app")
            found.start("questions_app")
        yield found
    finally:
        found.close()


def wait_until(condition: Callable[[], bool], chain: Chain, *, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, chain.log
        time.sleep(0.05)


@pytest.mark.slow
def test_the_modality_hears_the_archives_word_about_each_instance(chain: Chain) -> None:
    """Goal: a silent archive is no success; one of twenty fails; that one survives retention."""
    uids = [generate_uid() for _ in range(20)]
    objects = [made(instance=uid) for uid in uids]
    objects[3] = made(instance=uids[3], PatientID=REFUSED)
    transaction, status = chain.modality.work(chain.ward.port(), objects)
    assert status == 0  # It was taken, which says nothing of the archive.
    time.sleep(2)
    assert not chain.modality.heard
    assert chain.held() == set(uids)
    # Whoever carries the word may die; the modality may not take it the first time.
    chain.kill_reports()
    chain.modality.status = 0x0110
    chain.orthanc.start()
    chain.start_reports()
    wait_until(lambda: bool(chain.modality.heard), chain)
    chain.modality.status = 0
    told = len(chain.modality.heard)
    wait_until(lambda: len(chain.modality.heard) > told, chain)
    kind, word = chain.modality.heard[-1]
    assert kind == 2
    assert word.TransactionUID == transaction
    assert word.RetrieveAETitle == "ARCHIVE"
    kept = {each.ReferencedSOPInstanceUID for each in word.ReferencedSOPSequence}
    assert kept == set(uids) - {uids[3]}
    (failed,) = word.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == (uids[3], 0x0112)
    assert kept == chain.orthanc.held()
    wait_until(lambda: chain.held() == {uids[3]}, chain)
    count = len(chain.modality.heard)

    # All of them: event type 1, although the hub may have let go of them already.
    uid = generate_uid()
    transaction, status = chain.modality.work(chain.ward.port(), [made(instance=uid)])
    assert status == 0
    wait_until(lambda: len(chain.modality.heard) > count, chain)
    kind, word = chain.modality.heard[-1]
    assert (kind, word.TransactionUID) == (1, transaction)
    assert "FailedSOPSequence" not in word
    assert chain.held() == {uids[3]}
    assert len(chain.modality.heard) == count + 1


@pytest.mark.slow
def test_an_action_that_is_none_is_refused(chain: Chain) -> None:
    _, status = chain.modality.work(chain.ward.port(), [made()], instance="1.2.3")
    assert status == 0x0110


@pytest.mark.slow
def test_an_archive_that_speaks_dimse_gives_its_word_by_an_event_report(plain: Chain) -> None:
    """Goal: the same where the archive has the service itself; its word comes when it comes."""
    uids = [generate_uid() for _ in range(20)]
    objects = [made(instance=uid) for uid in uids]
    objects[3] = made(instance=uids[3], PatientID=REFUSED)
    transaction, status = plain.modality.work(plain.ward.port(), objects)
    assert status == 0
    time.sleep(2)
    assert not plain.modality.heard
    plain.orthanc.start()
    wait_until(lambda: bool(plain.modality.heard), plain, within_s=40)
    kind, word = plain.modality.heard[-1]
    assert (kind, word.TransactionUID, word.RetrieveAETitle) == (2, transaction, "ORTHANC")
    kept = {each.ReferencedSOPInstanceUID for each in word.ReferencedSOPSequence}
    assert kept == set(uids) - {uids[3]} == plain.orthanc.held()
    (failed,) = word.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == (uids[3], 0x0112)
    # Whatever the answer to its C-STORE was: what the archive does not keep is not accepted.
    with sqlite3.connect(plain.ward.hospital.data / "hub/state.db", timeout=10) as state:
        rows = state.execute("SELECT instance FROM delivered_instances").fetchall()
    state.close()
    assert {uid for (uid,) in rows} == kept
    assert plain.held() == set(uids)
