"""A modality's gateway, the hub, and a gateway with PACS, worklist and step manager behind it."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dicom_ward import DEVICE, ENVIRONMENT, DicomWard, free_port, make_ward, run
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from asepsis.core.trust.identity import Profile
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital as Addresses
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.people import PeopleClient
from hospital import system_name

FAR = system_name(9)
"""The gateway beside PACS and worklist."""
RIS, STEPS = f"{FAR}#ris", f"{FAR}#mpps"
PLUGIN = Path("/usr/share/orthanc/plugins/libModalityWorklists.so")
ASKS = (
    'sop_classes = ["storage", "query", "retrieve", "worklist", "mpps"]\ncleartext = true\n'
    f'archive = "pacs"\nworklist = "{RIS}"\nsteps = "{STEPS}"\n'
    'move_to = ["VIEWER"]\nmatches_max = 20\n'
)
MOVES = ASKS.replace('archive = "pacs"', 'archive = "pacs-that-moves"')
"""Of a peer whose archive stores to its gateway what is retrieved."""
STUDY = generate_uid()
SERIES = "1.2.826.0.1.3680043.9.9999.7"


@dataclass
class RelayWard:
    """Everything; the programs come and go."""

    near: DicomWard
    folder: Path
    pacs_port: int
    steps_port: int
    viewer_port: int
    moves_port: int
    programs: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.near.port()

    @property
    def log(self) -> str:
        return self.near.log + "".join(p.read_text() for p in self.folder.glob("*.log"))

    def start(self, name: str, *command: object) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.programs[name] = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log, env=ENVIRONMENT
            )

    def stop(self, name: str) -> None:
        program = self.programs.pop(name)
        program.kill()
        program.wait()

    def start_pacs(self) -> None:
        """Start Orthanc, with its worklists of files."""
        config = {
            "Name": "PACS",
            "StorageDirectory": str(self.folder / "orthanc"),
            "HttpServerEnabled": False,
            "DicomAet": "PACS",
            "DicomPort": self.pacs_port,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowFindWorklist": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomModalities": {"far": ["FAR", "127.0.0.1", self.moves_port]},
            "Plugins": [str(PLUGIN)],
            "Worklists": {"Enable": True, "Database": str(self.folder / "worklist")},
        }
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(config))
        self.start("orthanc", "Orthanc", file)
        wait_echo(self.pacs_port, "PACS")

    def start_steps(self) -> None:
        """Start the manager of performed procedure steps."""
        folder = self.folder / "steps"
        folder.mkdir(exist_ok=True)
        program = Path(__file__).parent / "step_manager.py"
        self.start("steps", sys.executable, program, self.steps_port, folder)
        wait_echo(self.steps_port, "MPPS")

    def start_viewer(self) -> None:
        folder = self.folder / "viewer"
        folder.mkdir(exist_ok=True)
        self.start("viewer", "storescp", "-aet", "VIEWER", "+xa", "-od", folder, self.viewer_port)
        wait_echo(self.viewer_port, "VIEWER")

    def start_far(self) -> None:
        toml = self.folder / "far" / "gateway.toml"
        self.start("far", sys.executable, "-m", "asepsis.edge.gateway.imaging.questions_app", toml)

    def received(self) -> list[Path]:
        """Return what the destination of moves has."""
        return sorted((self.folder / "viewer").glob("*"))

    def steps(self) -> list[tuple[str, str]]:
        """Return what the step manager was told: message and status of the step."""
        found = (path.read_text().split() for path in sorted((self.folder / "steps").glob("*.txt")))
        return [(message, status) for message, _, status in found]

    def find(self, *options: object, title: str = "CT1") -> str:
        """Run findscu against the modality's gateway and return what it said."""
        done = run("findscu", "-v", "-aet", title, "-aec", "GATE", *options, "127.0.0.1", self.port)
        return done.stdout + done.stderr

    def close(self) -> None:
        for name in list(self.programs):
            self.stop(name)
        self.near.close()


def wait_echo(port: int, title: str, *, within_s: float = 15) -> None:
    """Wait until somebody answers."""
    deadline = time.monotonic() + within_s
    while run("echoscu", "-to", 1, "-aec", title, "127.0.0.1", port).returncode:
        assert time.monotonic() < deadline, f"nobody at {port}"
        time.sleep(0.05)


def images(folder: Path, count: int) -> Sequence[Path]:
    """Write the instances of one prior study."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"{SERIES}.{number}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        found = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        found.SpecificCharacterSet = "ISO_IR 100"
        found.SOPClassUID, found.SOPInstanceUID = CTImageStorage, f"{SERIES}.{number}"
        found.StudyInstanceUID, found.SeriesInstanceUID = STUDY, SERIES
        found.PatientName, found.PatientID = "M\u00fcller^J\u00fcrgen", "4711"
        found.StudyDate, found.StudyTime, found.AccessionNumber = "20260101", "120000", "A1"
        found.Modality, found.StudyID, found.SeriesNumber = "CT", "1", 1
        found.InstanceNumber = number + 1
        found.Rows = found.Columns = 256
        found.BitsAllocated = found.BitsStored = 16
        found.HighBit, found.PixelRepresentation, found.SamplesPerPixel = 15, 0, 1
        found.PhotometricInterpretation = "MONOCHROME2"
        found.PixelData = bytes([number]) * (256 * 256 * 2)
        found.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return sorted(folder.glob("*.dcm"))


def worklist(folder: Path, count: int) -> None:
    """Write entries of a worklist, as Orthanc's plugin reads them."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        step = Dataset()
        step.ScheduledStationAETitle, step.Modality = "CT1", "CT"
        step.ScheduledProcedureStepStartDate = "20261122"
        step.ScheduledProcedureStepStartTime = "080000"
        step.ScheduledProcedureStepID = f"S{number}"
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        found = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        found.SpecificCharacterSet = "ISO_IR 100"
        found.PatientName, found.PatientID = f"M\u00fcller^{number:03}", f"W{number}"
        found.PatientWeight = "70.50"
        found.StudyInstanceUID, found.AccessionNumber = generate_uid(), f"ACC{number}"
        found.RequestedProcedureID = f"R{number}"
        found.ScheduledProcedureStepSequence = [step]
        found.save_as(folder / f"{number}.wl", enforce_file_format=True)


def make_relay_ward(folder: Path) -> RelayWard:
    """Start everything but what the tests start and stop themselves."""
    ports = [free_port() for _ in range(4)]
    listener = (
        '[[imaging.listeners]]\nname = "rad"\nhost = "127.0.0.1"\nport = 0\n'
        f'ae_titles = ["GATE"]\n[[imaging.destinations]]\ntitle = "VIEWER"\n'
        f'host = "127.0.0.1"\nport = {ports[2]}\ncleartext = true\n'
    )
    peers = "".join(
        f'[[imaging.peers]]\nname = "{name}"\nlistener = "rad"\naddresses = ["127.0.0.1"]\n'
        f'ae_titles = ["{title}"]\ndevice = "{DEVICE}"\n{more}'
        for name, title, more in (
            ("ct", "CT1", ASKS),
            ("mr", "MR1", MOVES),
            ("old", "OLD", 'sop_classes = ["storage"]\ncleartext = true\n'),
        )
    )
    near = make_ward(
        folder / "ward", peers=peers, listeners=listener, hub="[images]\nreserve_bytes = 0\n",
        head="connections = 1\nwait_s = 2\nanswer_s = 10\n", registered=True,
    )  # fmt: skip
    ward = RelayWard(near, folder, *ports)
    make_far(ward)
    worklist(folder / "worklist", 30)
    near.hub = near.hospital.start_hub()
    declare(near)
    near.start_gateway()
    ward.start_far()
    return ward


def make_far(ward: RelayWard) -> None:
    """Write identity and settings of the second gateway."""
    hospital, data = ward.near.hospital, ward.folder / "far"
    files = hospital.enlist([(FAR, Profile.GATEWAY)], sources=["worklist"])[0].files
    identity = IdentityFolder(data / "identity")
    identity.create()
    shutil.copy(files.chain_path, identity.path / "tls.pem")
    shutil.copy(files.key_path, identity.path / "tls.key")
    address = Endpoint("localhost", ward.near.hub_port)
    places = Addresses(address, Endpoint("localhost", free_port()))
    identity.finish(FAR, places, hospital.root_der)
    common = 'host = "127.0.0.1"\ncleartext = true\nanswer_s = 10\n'
    (data / "gateway.toml").write_text(
        'device_segments = ["127.0.0.0/8"]\n[hub]\nclock = "system"\n'
        '[sealing]\nsource = "credential"\n'
        f'[[archives]]\ndestination = "pacs"\nqueries = true\nworklist = "ris"\ncalled = "PACS"\n'
        f"port = {ward.pacs_port}\n{common}"
        '[[archives]]\ndestination = "pacs-that-moves"\nqueries = true\nretrieves = "move"\n'
        'called = "PACS"\ncalling = "FAR"\nassociations = 1\nreports_host = "127.0.0.1"\n'
        f"reports_port = {ward.moves_port}\nport = {ward.pacs_port}\n{common}"
        f'[[archives]]\nworklist = "mpps"\ncalled = "MPPS"\nassociations = 1\n'
        f"port = {ward.steps_port}\n{common}"
    )


def declare(near: DicomWard) -> None:
    """Enter the PACS as an administrator does."""
    assert near.hub is not None
    data, address = near.hospital.data, near.hub.ready["listeners"]["people"]
    client = PeopleClient(
        f"https://{address['host']}:{address['port']}",
        root_path=data / "ca" / "root.crt",
        token_path=data / "hub" / "admin.token",
    )
    options = {"carries": "images", "gateway": FAR, "local": True}
    for name in ("pacs", "pacs-that-moves"):
        body = {"name": name, "kind": "gateway", "address": "", "options": options}
        client.post("/api/destinations", body)
    client.close()
