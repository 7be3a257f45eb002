"""The hub's DICOMweb against other people's software: dicomweb-client, pydicom, Orthanc, GDCM."""

import hashlib
import io
import json
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from requests.adapters import HTTPAdapter

TESTS = Path(__file__).parents[1]
sys.path[:0] = [
    str(TESTS / "system" / "imaging"),
    str(TESTS / "system" / "hub"),
    str(TESTS),
    str(TESTS.parent / "benchmarks"),
]

from hub_ward import Ward  # noqa: E402 - found by the path above
from imaging_ward import IMAGER, MODALITY, READER, make_imaging_ward  # noqa: E402
from objects import PYDICOM, TYPE, failed, made, multipart, multipart_of, store, stored  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

from asepsis.cli.devices import people  # noqa: E402
from asepsis.core.trust import tls  # noqa: E402

NO_OBJECTS = {".txt", ".json", ".icc", ".dump", ".gz"}
REASONS = {
    # No preamble and no `DICM`: bare data sets.
    "no-magic": {
        "ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "no_meta.dcm", "rtstruct.dcm",
    },
    # Cut in the middle of pixel data or a sequence.
    "length-beyond-end": {"MR_truncated.dcm", "rtplan_truncated.dcm", "DICOMDIR-nooffset"},
    # Says explicit value representation, is implicit.
    "element-broken": {"SC_rgb_jpeg.dcm"},
    # File meta information without transfer syntax.
    "meta-broken": {"meta_missing_tsyntax.dcm"},
    # File meta information names another instance or class.
    "meta-mismatch": {
        "badVR.dcm", "rtdose.dcm", "rtdose_1frame.dcm", "rtdose_expb.dcm",
        "rtdose_expb_1frame.dcm", "rtplan.dcm",
    },
    # Byte 17 of the preamble is 1.
    "preamble-content": {
        "17106", "17136", "17166", "17196", "2062", "2392", "2693", "3023", "3353",
    },
    # Not all UIDs of an instance: directories, fragments made for tests of a reader.
    "uid-missing": {
        "DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-empty.dcm", "DICOMDIR-implicit",
        "DICOMDIR-nopatient", "DICOMDIR-reordered", "UN_sequence.dcm", "empty_charset_LEI.dcm",
        "nested_priv_SQ.dcm", "no_meta_group_length.dcm", "priv_SQ.dcm",
        "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jls_lossy_sample.dcm",
    },
}  # fmt: skip
"""Why each file of pydicom that is set apart is, checked by hand."""


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Return a running hub with a gateway for a modality and a reader."""
    made_ward = make_imaging_ward(tmp_path_factory.mktemp("ward"))
    made_ward.start()
    yield made_ward
    made_ward.close()


def files() -> list[Path]:
    """Return every object among the test files of pydicom."""
    found = [path for path in sorted(PYDICOM.rglob("*")) if path.is_file()]
    return [path for path in found if path.suffix not in NO_OBJECTS and path.name != "README"]


class Context(HTTPAdapter):
    """Lets `requests` show a client certificate and trust the hospital's root only."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: object, **more: object) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **more)


def client(ward: Ward, name: str) -> DICOMwebClient:
    """Return dicomweb-client on the clinical listener, as that machine."""
    context = tls.client_context(
        root_der=ward.hospital.root_der, identity=ward.machines[name].files
    )
    session = requests.Session()
    session.mount("https://", Context(context))
    session.headers["Asepsis-Device"] = MODALITY
    port = ward.hub.ready["listeners"]["clinical"]["port"]
    return DICOMwebClient(url=f"https://localhost:{port}/dicom-web", session=session)


def test_every_file_of_pydicom_comes_back_bit_for_bit_or_is_set_apart_with_a_true_reason(
    ward: Ward,
) -> None:
    """REQ-IMG-002."""
    sender, reader = ward.client(IMAGER), ward.client(READER)
    apart = 0
    passed: Counter[str] = Counter()
    for path in files():
        data = path.read_bytes()
        answer = store(sender, data)
        if 0x0111 in failed(answer).values():
            # The same image in another transfer syntax: only one of them can be held at a time.
            _let_go(ward, next(iter(failed(answer))))
            answer = store(sender, data)
        if answer.status_code == 409:
            apart += 1
            continue
        assert answer.status_code == 200, (path, answer.text)
        (item,) = answer.json()["00081199"]["Value"]
        url = httpx.URL(item["00081190"]["Value"][0]).path
        got = reader.get(url, headers={"accept": "application/dicom"})
        assert got.content == data, path
        metadata = reader.get(url + "/metadata")
        assert metadata.status_code == 200, (path, metadata.text)
        passed[got.headers["content-type"]] += 1
    listed = people(ward.hospital.data)
    reasons: dict[str, set[str]] = {}
    names = {_digest(path): path.name for path in files()}
    for one in listed.get("/api/quarantined-images")["objects"]:
        if one["reason"] != "conflict":
            reasons.setdefault(one["reason"], set()).add(names[one["sha256"]])
    listed.close()
    assert reasons == REASONS, reasons["uid-missing"] ^ REASONS["uid-missing"]
    assert passed.total() + apart == len(files())
    assert (passed.total(), apart) == (127, 40)
    assert len(passed) == 11  # Transfer syntaxes.


def _let_go(ward: Ward, instance: str) -> None:
    """Take an instance out of the index, as retention would."""
    with sqlite3.connect(ward.hospital.data / "hub/state.db", timeout=10) as state:
        state.execute("DELETE FROM image_instances WHERE sop_instance = ?", (instance,))
    state.close()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_dicomweb_client_stores_searches_and_retrieves(ward: Ward) -> None:
    sender, reader = client(ward, IMAGER), client(ward, READER)
    study, series = generate_uid(), generate_uid()
    sent = [
        pydicom.dcmread(io.BytesIO(made(study=study, series=series, PatientID="CLIENT-1")))
        for _ in range(3)
    ]
    answer = sender.store_instances(sent, study_instance_uid=study)
    assert len(answer.ReferencedSOPSequence) == 3
    again = sender.store_instances(sent[:1])
    assert len(again.ReferencedSOPSequence) == 1
    (found,) = reader.search_for_studies(search_filters={"PatientID": "CLIENT-1"})
    assert found["0020000D"]["Value"] == [study]
    assert len(reader.search_for_series(study)) == 1
    assert len(reader.search_for_instances(study, limit=2)) == 2
    got = reader.retrieve_study(study, media_types=(("application/dicom", "*"),))
    assert {each.SOPInstanceUID for each in got} == {each.SOPInstanceUID for each in sent}
    one = reader.retrieve_instance(
        study, series, sent[0].SOPInstanceUID, media_types=(("application/dicom", "*"),)
    )
    assert one.PixelData == sent[0].PixelData
    metadata = reader.retrieve_study_metadata(study)
    assert {each["00080018"]["Value"][0] for each in metadata} == {s.SOPInstanceUID for s in sent}


@pytest.fixture(scope="module")
def orthanc() -> Iterator[str]:
    """Start Orthanc with DICOMweb, plain on loopback; return its address."""
    if shutil.which("Orthanc") is None:
        pytest.skip("Orthanc is not installed")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (folder / "orthanc.json").write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder),
                "IndexDirectory": str(folder),
                "HttpPort": port,
                "DicomServerEnabled": False,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
            }
        )
    )
    log = (folder / "log").open("wb")
    command = ["Orthanc", str(folder / "orthanc.json")]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/dicom-web"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if httpx.get(url + "/studies").status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    yield url
    process.terminate()
    process.wait()
    log.close()


def test_orthanc_takes_what_the_hub_gives_byte_for_byte(ward: Ward, orthanc: str) -> None:
    """Goal: an archive stores what the hub gives, and holds the same bytes then."""
    study = generate_uid()
    objects = {uid: made(study=study, instance=uid) for uid in (generate_uid(), generate_uid())}
    answer = store(ward.client(IMAGER), *objects.values())
    assert sorted(stored(answer)) == sorted(objects)
    got = ward.client(READER).get(f"/dicom-web/studies/{study}")
    parts = [part.get_payload(decode=True) for part in multipart_of(got)]
    headers = {"content-type": TYPE, "accept": "application/dicom+json"}
    kept = httpx.post(f"{orthanc}/studies", content=multipart(parts)[2:], headers=headers)
    assert kept.status_code == 200, kept.text
    assert sorted(stored(kept)) == sorted(objects), kept.text
    for uid, data in objects.items():
        (orthanc_id,) = httpx.post(
            orthanc.replace("/dicom-web", "/tools/lookup"), content=uid
        ).json()
        path = orthanc.replace("/dicom-web", f"/instances/{orthanc_id['ID']}/file")
        assert httpx.get(path).content == data


def test_the_hub_takes_what_orthanc_gives(ward: Ward, orthanc: str) -> None:
    study = generate_uid()
    data = made(study=study)
    headers = {
        "content-type": 'multipart/related; type="application/dicom"; boundary=b',
        "accept": "application/dicom+json",
    }
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--b--"
    assert httpx.post(f"{orthanc}/studies", content=body, headers=headers).status_code == 200
    wanted = {"accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    got = httpx.get(f"{orthanc}/studies/{study}", headers=wanted)
    sent = ward.client(IMAGER).post(
        "/dicom-web/studies",
        content=got.content,
        headers={"content-type": got.headers["content-type"], "asepsis-device": MODALITY},
    )
    assert sent.status_code == 200, sent.text
    assert multipart([]) not in got.content
