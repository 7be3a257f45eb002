"""Commitments that a gateway asks of an archive with DICOMweb: only what is found and the same."""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hub_ward import Ward
from imaging_ward import IMAGER, IMAGES, MODALITY, READER, make_imaging_ward
from objects import CT_CLASS, made, store
from orthanc_server import REFUSED, Orthanc
from pydicom.uid import generate_uid

from asepsis.cli.devices import people
from asepsis.core.wire import commitment
from asepsis.core.wire.commitment import Reference

ROUTES = '[[routes]]\nname = "images"\nfrom = "images"\nto = ["pacs"]\n'

pytestmark = pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not installed")


@pytest.fixture(scope="module")
def orthanc() -> Iterator[Orthanc]:
    server = Orthanc()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory, orthanc: Orthanc) -> Iterator[Ward]:
    """Return a running hub that sends images to Orthanc, which is not there yet."""
    more = IMAGES + '\n[delivery]\nroutes = "routes.toml"\n'
    ready = make_imaging_ward(tmp_path_factory.mktemp("commit"), more=more)
    (ready.hospital.data / "routes.toml").write_text(ROUTES)
    ready.start()
    client = people(ready.hospital.data)
    options = {"carries": "images", "local": True, "tries": 1, "title": "ARCHIVE"}
    client.post(
        "/api/destinations",
        {
            "name": "pacs",
            "kind": "stow",
            "address": orthanc.url + "/dicom-web",
            "options": options,
        },
    )
    client.close()
    yield ready
    ready.close()


def ask(ward: Ward, instances: list[str], **more: Any) -> tuple[str, httpx.Response]:
    """Ask for a commitment as a modality's gateway does."""
    question, transaction = secrets.token_hex(16), generate_uid()
    references = [Reference(CT_CLASS, uid) for uid in instances]
    asked = {
        "id": question,
        "kind": "commit",
        "archive": "pacs",
        "device": MODALITY,
        "calling": "CT1",
        "instance": transaction,
        "dataset": commitment.request(transaction, references),
        **more,
    }
    return question, ward.client(IMAGER).post("/relay/questions", json=asked)


def report(ward: Ward, question: str, *, within_s: float = 15) -> commitment.Word:
    """Wait for the archive's word and put it away."""
    client = ward.client(IMAGER)
    deadline = time.monotonic() + within_s
    while (found := client.get("/relay/reports?wait=2")).status_code == 204:
        assert time.monotonic() < deadline
    document = found.json()
    assert document["asked"]["id"] == question
    (match,) = document["page"]["matches"]
    word = match["dataset"]
    asked = commitment.references_of(document["asked"]["dataset"])
    assert commitment.transaction_of(word) == document["asked"]["instance"]
    if "00081199" in word:
        assert word["00080054"]["Value"] == ["ARCHIVE"]
    assert client.get("/relay/reports").json() == document
    assert client.post(f"/relay/reports/{question}").status_code == 204
    assert client.get("/relay/reports").status_code == 204
    return commitment.word_of(word, asked)


def wait_until(condition: Callable[[], bool], *, within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_silent_archive_says_nothing_and_then_nineteen_of_twenty(
    ward: Ward, orthanc: Orthanc
) -> None:
    """Goal: no word of the archive, no success; then its word about each instance."""
    uids = [generate_uid() for _ in range(20)]
    objects = [made(instance=uid) for uid in uids]
    objects[7] = made(instance=uids[7], PatientID=REFUSED)
    assert store(ward.client(IMAGER), *objects).status_code == 200
    question, answer = ask(ward, uids)
    assert answer.status_code == 201
    time.sleep(1.5)
    assert ward.client(IMAGER).get("/relay/reports").status_code == 204
    # A hub that stops knows of it afterwards.
    ward.hub.stop()  # pyright: ignore[reportOptionalMemberAccess]
    ward.start()
    orthanc.start()
    word = report(ward, question, within_s=30)
    assert [each.sop_instance for each in word.committed] == uids[:7] + uids[8:]
    assert [(each.sop_instance, reason) for each, reason in word.failed] == [(uids[7], 0x0112)]
    assert ward.client(IMAGER).post(f"/relay/reports/{question}").status_code == 404


def test_what_the_archive_changed_is_not_committed(ward: Ward, orthanc: Orthanc) -> None:
    """Goal: found is not enough; a lost and a replaced instance are failures."""
    uids = [generate_uid() for _ in range(3)]
    study, series = generate_uid(), generate_uid()
    objects = [made(instance=uid, study=study, series=series) for uid in uids]
    assert store(ward.client(IMAGER), *objects).status_code == 200
    wait_until(lambda: set(uids) <= orthanc.held())
    for uid in uids[:2]:
        (found,) = httpx.post(orthanc.url + "/tools/lookup", content=uid).json()
        assert httpx.delete(f"{orthanc.url}/instances/{found['ID']}").status_code == 200
    other = made(instance=uids[0], study=study, series=series, pixels=b"\x07\x00" * 64)
    assert httpx.post(orthanc.url + "/instances", content=other).status_code == 200
    unknown = generate_uid()
    question, answer = ask(ward, [*uids, unknown])
    assert answer.status_code == 201
    word = report(ward, question)
    assert [each.sop_instance for each in word.committed] == [uids[2]]
    failed = {each.sop_instance: reason for each, reason in word.failed}
    assert failed == {uids[0]: 0x0110, uids[1]: 0x0112, unknown: 0x0112}


def test_who_may_ask(ward: Ward) -> None:
    uid = generate_uid()
    assert ask(ward, [uid], archive="nobody")[1].status_code == 404
    assert ask(ward, [uid], device="urn:dev:mac:0250c2fffe0000ff")[1].status_code == 403
    assert ask(ward, [uid], dataset={})[1].status_code == 400
    assert ward.client(READER).get("/relay/reports").status_code == 403
