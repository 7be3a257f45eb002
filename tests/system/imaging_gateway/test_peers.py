"""Other people's DICOM software on both sides of us: pynetdicom and Orthanc, beside DCMTK."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom
import pydicom.data
import pytest
from dicom_ward import CT, ENVIRONMENT, EXPLICIT, DicomWard, data_set, free_port, instance, pieces
from pynetdicom import AE, evt
from pynetdicom.events import Event

from asepsis.edge.gateway.imaging.requestor import Pair, Remote, associate

JPEG = "1.2.840.10008.1.2.4.70"
VERIFICATION = ("1.2.840.10008.1.1", "1.2.840.10008.1.2")


def store(remote: Remote, pair: Pair, uid: str, data: bytes) -> tuple[int, str]:
    """Store one instance as the gateway does."""

    async def work() -> tuple[int, str]:
        user = await associate(remote, [VERIFICATION, pair])
        try:
            assert await user.echo() == 0
            return await user.store(pair, uid, pieces(data))
        finally:
            await user.release()

    return asyncio.run(work())


def test_pynetdicom_stores_to_us(ward: DicomWard) -> None:
    assert ward.server is not None
    before = len(ward.server.stored)
    data = pydicom.dcmread(str(pydicom.data.get_testdata_file("CT_small.dcm")))
    user = AE(ae_title="CT1")
    user.add_requested_context(CT, EXPLICIT)
    association = user.associate("127.0.0.1", ward.port(), ae_title="GATE")
    assert association.is_established
    assert association.send_c_store(data).Status == 0
    association.release()
    assert len(ward.server.stored) == before + 1
    strange = AE(ae_title="NOBODY")
    strange.add_requested_context(CT, EXPLICIT)
    assert strange.associate("127.0.0.1", ward.port(), ae_title="GATE").is_rejected


def test_we_store_to_pynetdicom_and_hear_its_statuses() -> None:
    got: list[bytes] = []
    statuses = iter((0x0000, 0xB000, 0xA700, 0xC123))

    def handle(event: Event) -> int:
        got.append(event.request.DataSet.getvalue())
        return next(statuses)

    provider = AE(ae_title="PACS")
    provider.add_supported_context(VERIFICATION[0])
    provider.add_supported_context(CT, JPEG)
    port = free_port()
    server = provider.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, handle)]
    )
    try:
        remote = Remote(host="127.0.0.1", port=port, called="PACS", calling="GATE")
        sent = [instance(number, 300_000) for number in range(4)]
        heard = [store(remote, (CT, JPEG), uid, data)[0] for uid, data in sent]
    finally:
        server.shutdown()
    assert heard == [0x0000, 0xB000, 0xA700, 0xC123]
    assert got == [data for _, data in sent]


@dataclass
class Orthanc:
    """A running Orthanc in clear text."""

    dicom: int
    http: int

    def files(self) -> list[bytes]:
        """Return every file that it holds."""
        base = f"http://127.0.0.1:{self.http}/instances"
        names: list[str] = httpx.get(base).json()
        return [httpx.get(f"{base}/{name}/file").content for name in names]


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """Return a running Orthanc."""
    found = Orthanc(free_port(), free_port())
    settings = {
        "StorageDirectory": str(tmp_path),
        "IndexDirectory": str(tmp_path),
        "DicomPort": found.dicom,
        "HttpPort": found.http,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "Plugins": [],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        ["Orthanc", str(tmp_path / "orthanc.json")],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    echo = ["echoscu", "127.0.0.1", str(found.dicom)]
    deadline = time.monotonic() + 20
    while subprocess.run(echo, env=ENVIRONMENT, check=False, capture_output=True).returncode:
        assert time.monotonic() < deadline, "Orthanc does not answer"
        time.sleep(0.1)
    yield found
    process.terminate()
    process.wait(20)


def test_we_store_to_orthanc_and_it_holds_the_same_bytes(orthanc: Orthanc) -> None:
    remote = Remote(host="127.0.0.1", port=orthanc.dicom, called="ORTHANC", calling="GATE")
    uid, data = instance(1, 500_000)
    assert store(remote, (CT, EXPLICIT), uid, data)[0] == 0
    (file,) = orthanc.files()
    assert data_set(file) == data
