"""Private elements: set apart from some sources until a person releases the object."""

import io
from collections.abc import Iterator
from contextlib import closing

import pydicom
import pytest
from hub_ward import Ward
from imaging_ward import CAREFUL, IMAGER, READER
from objects import failed, made, store
from pydicom.uid import generate_uid

from asepsis.cli.devices import people
from asepsis.core.errors import InputError, NotPermitted
from asepsis.tools.people import PeopleClient

NOT_UNDERSTOOD = 0xC000
STUDIES = "/dicom-web/studies"


def private(instance: str) -> bytes:
    """Return an image with a private element."""
    data = pydicom.dcmread(io.BytesIO(made(instance=instance)))
    data.private_block(0x0009, "ACME", create=True).add_new(0x01, "LO", "kept")
    out = io.BytesIO()
    pydicom.dcmwrite(out, data, enforce_file_format=True)
    return out.getvalue()


@pytest.fixture(scope="module")
def office(ward: Ward) -> Iterator[PeopleClient]:
    """Return the administrator."""
    with closing(people(ward.hospital.data)) as client:
        yield client


@pytest.fixture(scope="module")
def engineer(
    ward: Ward, office: PeopleClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PeopleClient]:
    """Return a clinical engineer."""
    office.add_person("engineer", roles=["clinical-engineer"])
    token = tmp_path_factory.mktemp("engineer") / "token"
    token.touch(mode=0o600)
    token.write_text(office.issue_token("engineer", days=1))
    with closing(people(ward.hospital.data, token=token)) as client:
        yield client


def apart(office: PeopleClient, instance: str) -> list[dict[str, object]]:
    objects = office.get("/api/quarantined-images")["objects"]
    return [one for one in objects if one["instance"] == instance]


def found(ward: Ward, instance: str) -> int:
    answer = ward.client(READER).get(f"/dicom-web/instances?SOPInstanceUID={instance}")
    return len(answer.json()) if answer.status_code == 200 else 0


def test_a_person_releases_what_a_policy_set_apart(
    ward: Ward, office: PeopleClient, engineer: PeopleClient
) -> None:
    uid = generate_uid()
    body = private(uid)
    answer = store(ward.client(CAREFUL), body, device=CAREFUL)
    assert (answer.status_code, failed(answer)) == (409, {uid: NOT_UNDERSTOOD})
    (item,) = apart(office, uid)
    assert (item["reason"], item["device"], found(ward, uid)) == ("private-element", CAREFUL, 0)

    path = f"/api/quarantined-images/{item['id']}/release"
    reason = {"reason": "spectroscopy needs them"}
    with pytest.raises(NotPermitted):
        office.post(path, reason)
    assert engineer.post(path, reason) == {"instance": uid}
    assert apart(office, uid) == []
    (held,) = ward.client(READER).get(f"/dicom-web/instances?SOPInstanceUID={uid}").json()
    address = f"{STUDIES}/{held['0020000D']['Value'][0]}/series/{held['0020000E']['Value'][0]}"
    back = ward.client(READER).get(
        f"{address}/instances/{uid}", headers={"Accept": "application/dicom"}
    )
    assert back.content == body
    entries = str(office.get("/api/audit", after="0", limit="1000"))
    assert "release-image" in entries
    assert reason["reason"] in entries
    with pytest.raises(InputError, match="quarantine"):
        engineer.post(path, reason)


def test_what_is_not_true_is_released_by_nobody(
    ward: Ward, office: PeopleClient, engineer: PeopleClient
) -> None:
    uid = generate_uid()
    program = b"MZ".ljust(128, b"\x90") + made(instance=uid)[128:]
    assert store(ward.client(CAREFUL), program, device=CAREFUL).status_code == 409
    objects = office.get("/api/quarantined-images")["objects"]
    item = next(one for one in objects if one["device"] == CAREFUL)
    assert item["reason"] == "preamble-program"
    with pytest.raises(InputError, match="preamble-program"):
        engineer.post(f"/api/quarantined-images/{item['id']}/release", {"reason": "I know it"})
    assert found(ward, uid) == 0


def test_other_sources_keep_their_private_elements(ward: Ward) -> None:
    uid = generate_uid()
    assert store(ward.client(IMAGER), private(uid)).status_code == 200
    assert found(ward, uid) == 1
