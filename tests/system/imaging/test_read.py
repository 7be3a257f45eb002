"""QIDO-RS and WADO-RS against the real hub: what is found, and that bytes come back."""

import hashlib

import pytest
from hub_ward import CONSUMER, Ward
from imaging_ward import IMAGER, READER
from objects import made, multipart_of, store
from pydicom.uid import generate_uid

STUDY, SERIES = "2.25.7101", ["2.25.7102", "2.25.7103"]
"""Fixed: they stand in the names of tests, which two processes collect."""
WEB = "/dicom-web"


@pytest.fixture(scope="module")
def objects(ward: Ward) -> dict[str, bytes]:
    """Store a study with two series of three images, and another one; SOP UID -> bytes."""
    found: dict[str, bytes] = {}
    for number in range(6):
        uid = generate_uid()
        found[uid] = made(
            study=STUDY,
            series=SERIES[number // 3],
            instance=uid,
            Modality=("CT", "MR")[number // 3],
            InstanceNumber=number,
            PatientName="M\u00fcller^J\u00fcrgen",
            SpecificCharacterSet="ISO_IR 100",
            PatientID="P-1",
            AccessionNumber="A-1",
            StudyDate="20261120",
        )
    uid = generate_uid()
    found[uid] = made(instance=uid, PatientID="P-2", PatientName="Other^One")
    assert store(ward.client(IMAGER), *found.values()).status_code == 200
    return found


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("PatientID=P-1", 1),
        ("PatientID=P-*", 2),
        ("PatientName=m\u00fcller*", 1),
        ("00100010=MULLER*", 0),
        ("AccessionNumber=A-1", 1),
        ("StudyDate=20261101-20261121", 1),
        ("StudyDate=20261122", 1),
        ("StudyDate=-20261120", 1),
        ("ModalitiesInStudy=MR", 1),
        (f"StudyInstanceUID={STUDY},1.2.3", 1),
        ("PatientID=P-1&ModalitiesInStudy=US", 0),
        ("StudyTime=100000-110000", 2),
        ("PatientID=", 2),
    ],
)
@pytest.mark.usefixtures("objects")
def test_studies_are_found(ward: Ward, query: str, count: int) -> None:
    answer = ward.client(READER).get(f"{WEB}/studies?{query}")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()) == count


@pytest.mark.usefixtures("objects")
def test_an_answer_counts_and_names(ward: Ward) -> None:
    (study,) = ward.client(READER).get(f"{WEB}/studies?PatientID=P-1").json()
    assert study["00080061"]["Value"] == ["CT", "MR"]
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([2], [6])
    assert study["00100010"]["Value"][0]["Alphabetic"] == "M\u00fcller^J\u00fcrgen"
    assert study["00081190"]["Value"][0].endswith(f"/studies/{STUDY}")
    assert "00080060" not in study


@pytest.mark.usefixtures("objects")
def test_series_and_instances_are_found_and_paged(ward: Ward) -> None:
    client = ward.client(READER)
    assert len(client.get(f"{WEB}/studies/{STUDY}/series").json()) == 2
    assert len(client.get(f"{WEB}/series?Modality=MR&PatientID=P-1").json()) == 1
    path = f"{WEB}/studies/{STUDY}/instances"
    whole = [each["00080018"]["Value"][0] for each in client.get(path).json()]
    paged: list[str] = []
    for offset in range(0, 8, 2):
        answer = client.get(f"{path}?limit=2&offset={offset}")
        assert ("warning" in answer.headers) == (offset < 4)
        paged += [each["00080018"]["Value"][0] for each in answer.json()]
    assert paged == whole
    assert len(whole) == 6
    assert len(client.get(f"{WEB}/instances?SOPInstanceUID={whole[0]}").json()) == 1


def test_bytes_come_back_as_they_were(ward: Ward, objects: dict[str, bytes]) -> None:
    """REQ-IMG-002."""
    client = ward.client(READER)
    answer = client.get(f"{WEB}/studies/{STUDY}")
    assert answer.status_code == 200
    found = {hashlib.sha256(p.get_payload(decode=True)).digest() for p in multipart_of(answer)}
    wanted = [data for data in objects.values() if b"P-1" in data]
    assert found == {hashlib.sha256(data).digest() for data in wanted}
    series = client.get(f"{WEB}/studies/{STUDY}/series/{SERIES[0]}")
    assert len(multipart_of(series)) == 3
    uid = next(iter(objects))
    one = client.get(
        f"{WEB}/studies/{STUDY}/series/{SERIES[0]}/instances/{uid}",
        headers={"accept": "application/dicom"},
    )
    assert one.content == objects[uid]


def test_metadata_is_dicom_json(ward: Ward, objects: dict[str, bytes]) -> None:
    answer = ward.client(READER).get(f"{WEB}/studies/{STUDY}/metadata")
    assert answer.headers["content-type"] == "application/dicom+json"
    found = answer.json()
    assert {each["00080018"]["Value"][0] for each in found} < set(objects)
    assert len(found) == 6
    assert all("7FE00010" not in each for each in found)


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        (f"/studies/{STUDY}", "application/dicom+xml", 406),
        (f"/studies/{STUDY}", "application/dicom", 406),
        (f"/studies/{STUDY}", 'multipart/related; type="image/jpeg"', 406),
        (
            f"/studies/{STUDY}",
            'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50',
            406,
        ),
        (f"/studies/{STUDY}/metadata", "application/dicom+xml", 406),
        ("/studies/1.2.3", "*/*", 404),
        ("/studies/1.2.x", "*/*", 400),
        ("/studies?PatientComments=x", "*/*", 400),
        ("/studies?limit=x", "*/*", 400),
    ],
)
@pytest.mark.usefixtures("objects")
def test_what_is_not_given(ward: Ward, path: str, accept: str, status: int) -> None:
    answer = ward.client(READER).get(WEB + path, headers={"accept": accept})
    assert answer.status_code == status


@pytest.mark.parametrize("name", [CONSUMER, IMAGER])
def test_only_named_machines_read(ward: Ward, name: str) -> None:
    """REQ-IMG-005."""
    assert ward.client(name).get(f"{WEB}/studies").status_code == 403
