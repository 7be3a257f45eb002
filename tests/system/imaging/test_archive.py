"""From the hub to an archive behind a gateway: what it refuses survives, what it has may go."""

import hashlib
import time
from collections.abc import Iterator

import pytest
from hub_ward import Ward
from imaging_ward import IMAGER, IMAGES, READER, make_imaging_ward
from objects import made, store
from pydicom.uid import generate_uid

from asepsis.cli.devices import people

AT_ONCE = "[images]\nkeep_s = 0\nkeep_full_s = 0\npurge_every_s = 0.1"
ROUTES = """
[[routes]]
name = "images-to-pacs"
from = "images"
to = ["pacs"]
"""


@pytest.fixture
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Return a hub that sends images to an archive by a gateway, and purges what it may."""
    more = IMAGES.replace("[images]", AT_ONCE) + '\n[delivery]\nroutes = "routes.toml"\n'
    ready = make_imaging_ward(tmp_path_factory.mktemp("archive"), more=more)
    (ready.hospital.data / "routes.toml").write_text(ROUTES)
    ready.start()
    client = people(ready.hospital.data)
    client.post(
        "/api/destinations",
        {
            "name": "pacs",
            "kind": "gateway",
            "address": "pacs",
            "options": {"carries": "images", "gateway": IMAGER},
        },
    )
    client.close()
    yield ready
    ready.close()


def held(ward: Ward) -> set[str]:
    """Return the SOP Instance UIDs that a search finds."""
    found = ward.client(READER).get("/dicom-web/instances?limit=1000").json()
    return {each["00080018"]["Value"][0] for each in found}


def test_the_one_of_twenty_that_the_archive_refuses_survives(ward: Ward) -> None:
    """REQ-IMG-006."""
    gateway = ward.client(IMAGER)
    objects = {uid: made(instance=uid) for uid in (generate_uid() for _ in range(20))}
    assert store(gateway, *objects.values()).status_code == 200
    taken: dict[int, str] = {}
    refused = 0
    deadline = time.monotonic() + 20
    while len(taken) < 20 and time.monotonic() < deadline:
        after = max(taken, default=0)
        items = gateway.get(f"/outbound/pacs?after={after}&wait=1").json()["items"]
        for item in items:
            got = gateway.get(item["path"], headers={"accept": "application/dicom"})
            assert hashlib.sha256(got.content).hexdigest() == item["sha256"]
            taken[item["seq"]] = item["path"].rsplit("/", 1)[1]
            refused = refused or item["seq"]
    assert set(taken.values()) == set(objects)
    time.sleep(0.5)
    assert held(ward) == set(objects)  # Fetched is not accepted.
    outcomes = [
        {"seq": seq, "outcome": "refused" if seq == refused else "accepted", "code": "A700"}
        for seq in taken
    ]
    answer = gateway.post("/outbound/pacs/outcomes", json={"outcomes": outcomes})
    assert answer.status_code == 204, answer.text
    while len(held(ward)) > 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    assert held(ward) == {taken[refused]}
    files = list((ward.hospital.data / "hub/images/objects").glob("*/*"))
    assert len(files) == 1
