"""STOW-RS against the real hub over mutual TLS: what is stored, refused and kept apart."""

import pytest
from hub_ward import CONSUMER, OTHER, SIGNING, Ward
from imaging_ward import IMAGER, MODALITY
from objects import TYPE, failed, made, multipart, store, stored
from pydicom.uid import generate_uid


def test_instances_are_stored_and_named(ward: Ward) -> None:
    client = ward.client(IMAGER)
    study = generate_uid()
    objects = [made(study=study) for _ in range(5)]
    answer = store(client, *objects)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    assert len(stored(answer)) == 5
    assert answer.json()["00081190"]["Value"][0].endswith(f"/dicom-web/studies/{study}")


def test_the_same_bytes_again_are_a_success_and_others_are_refused(ward: Ward) -> None:
    client = ward.client(IMAGER)
    instance = generate_uid()
    first, other = made(instance=instance), made(instance=instance, PatientName="Else^Somebody")
    assert store(client, first).status_code == 200
    again = store(client, first)
    assert again.status_code == 200
    assert stored(again) == [instance]
    conflict = store(client, other)
    assert conflict.status_code == 409
    assert failed(conflict) == {instance: 0x0111}


def test_some_of_a_request_may_fail(ward: Ward) -> None:
    good = made()
    answer = store(ward.client(IMAGER), good, b"MZ" + made()[2:], b"no image at all")
    assert answer.status_code == 202
    assert len(stored(answer)) == 1
    assert sorted(failed(answer).values()) == [0xC000]


def test_a_study_in_the_path_binds(ward: Ward) -> None:
    client = ward.client(IMAGER)
    study, other = generate_uid(), generate_uid()
    answer = store(client, made(study=study), made(study=other), study=study)
    assert answer.status_code == 202
    assert list(failed(answer).values()) == [0xA900]
    assert store(client, made(), study="1..2").status_code == 400


@pytest.mark.parametrize(
    ("sender", "device", "status"),
    [
        (IMAGER, MODALITY, 200),
        (IMAGER, OTHER, 403),
        (IMAGER, None, 200),
        (SIGNING, None, 200),
        (SIGNING, SIGNING, 200),
        (SIGNING, OTHER, 403),
        (CONSUMER, CONSUMER, 403),
    ],
)
def test_only_a_declared_source_stores(
    ward: Ward, sender: str, device: str | None, status: int
) -> None:
    """REQ-IMG-004."""
    assert store(ward.client(sender), made(), device=device).status_code == status


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/dicom", b"", 415),
        (TYPE.replace("application/dicom", "application/dicom+json"), b"", 415),
        ('multipart/related; type="application/dicom"', b"", 400),
        (TYPE, multipart([made()])[:-40], 400),
        (TYPE, b"--another\r\n\r\n", 400),
    ],
)
def test_bodies_that_are_none(ward: Ward, content_type: str, body: bytes, status: int) -> None:
    headers = {"content-type": content_type, "asepsis-device": MODALITY}
    answer = ward.client(IMAGER).post("/dicom-web/studies", content=body, headers=headers)
    assert answer.status_code == status
