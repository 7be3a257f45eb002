"""From the hub to an archive with DICOMweb by STOW-RS: Orthanc, and a server that lies."""

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hub_ward import Ward
from imaging_ward import IMAGER, IMAGES, READER, make_imaging_ward
from lying_archive import LyingArchive
from objects import made, store
from orthanc_server import REFUSED, Orthanc
from pydicom.uid import generate_uid

from asepsis.cli.devices import people
from asepsis.core.errors import AsepsisError

AT_ONCE = "[images]\nkeep_s = 0\nkeep_full_s = 0\npurge_every_s = 0.1"
ROUTES = '[[routes]]\nname = "images"\nfrom = "images"\nto = ["pacs", "other"]\n'

pytestmark = pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not installed")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Return a running hub that purges what it may at once."""
    more = IMAGES.replace("[images]", AT_ONCE) + '\n[delivery]\nroutes = "routes.toml"\n'
    ready = make_imaging_ward(tmp_path_factory.mktemp("stow"), more=more)
    (ready.hospital.data / "routes.toml").write_text(ROUTES)
    ready.start()
    yield ready
    ready.close()


@pytest.fixture(scope="module")
def orthanc() -> Iterator[Orthanc]:
    server = Orthanc()
    server.start()
    yield server
    server.stop()


class Office:
    """What an administrator and a clinical engineer do."""

    def __init__(self, ward: Ward) -> None:
        data = ward.hospital.data
        self.client = people(data)
        token = ward.hospital.folder / "engineer.token"
        if not token.exists():
            self.client.add_person("engineer", roles=["clinical-engineer"])
            token.write_text(self.client.issue_token("engineer", days=1))
            token.chmod(0o600)
        self.engineer = people(data, token=token)

    def add(self, address: str, *, name: str = "pacs", **options: object) -> None:
        kind = options.pop("kind", "stow")
        self.client.post(
            "/api/destinations",
            {
                "name": name,
                "kind": kind,
                "address": address,
                "options": {"carries": "images", "local": True, **options},
            },
        )

    def destination(self, name: str = "pacs") -> dict[str, Any]:
        found = self.client.get("/api/destinations")["destinations"]
        return next(each for each in found if each["name"] == name)

    def letters(self) -> list[dict[str, Any]]:
        return self.engineer.get("/api/dead-letters")["dead_letters"]

    def close(self) -> None:
        for letter in self.letters():
            path = f"/api/dead-letters/{letter['id']}/discard"
            self.engineer.post(path, {"reason": "the test is over"})
        for each in self.client.get("/api/destinations")["destinations"]:
            self.client.post(f"/api/destinations/{each['name']}/remove", {"confirm": each["name"]})
        self.client.close()
        self.engineer.close()


@pytest.fixture
def office(ward: Ward) -> Iterator[Office]:
    found = Office(ward)
    try:
        yield found
    finally:
        found.close()


def wait_until(condition: Callable[[], bool], *, within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def held(ward: Ward) -> set[str]:
    found = ward.client(READER).get("/dicom-web/instances?limit=1000").json()
    return {each["00080018"]["Value"][0] for each in found}


@pytest.mark.parametrize("in_flight", [1, 8])
def test_the_one_of_twenty_that_the_pacs_refuses_is_a_dead_letter_and_survives(
    ward: Ward, orthanc: Orthanc, office: Office, in_flight: int
) -> None:
    """REQ-IMG-006: the rest arrives byte for byte, is accepted and may go.

    Orthanc 1.10 lists an instance that its filter refused as stored: only fetching it tells.
    """
    office.add(orthanc.url + "/dicom-web", in_flight=in_flight, tries=1)
    assert office.client.post("/api/destinations/pacs/test", {})["reached"] is True
    objects = {uid: made(instance=uid) for uid in (generate_uid() for _ in range(20))}
    refused = list(objects)[7]
    objects[refused] = made(instance=refused, PatientID=REFUSED)
    before = held(ward)
    assert store(ward.client(IMAGER), *objects.values()).status_code == 200
    wait_until(lambda: len(office.letters()) == 1)
    wait_until(lambda: objects.keys() - {refused} <= orthanc.held())
    wait_until(lambda: held(ward) - before == {refused})
    (letter,) = office.letters()
    assert letter["kind"] == "instance"
    assert letter["code"] == "uncommitted"
    opened = office.engineer.get(f"/api/dead-letters/{letter['id']}")
    assert refused in opened["content"]
    assert "archive" in opened["reason"]
    assert refused not in orthanc.held()
    for uid, data in list(objects.items())[:3]:
        assert orthanc.file(uid) == data
    assert (office.destination()["accepted"], office.destination()["refused"]) == (19, 1)


def test_what_the_archive_has_already_is_a_success_again(
    ward: Ward, orthanc: Orthanc, office: Office
) -> None:
    """Goal: at-least-once delivery stores nothing twice."""
    uid = generate_uid()
    assert store(ward.client(IMAGER), made(instance=uid)).status_code == 200
    office.add(orthanc.url + "/dicom-web", from_start=True, tries=1)
    office.add(orthanc.url + "/dicom-web", name="other", from_start=True, tries=1)
    wait_until(lambda: uid in orthanc.held())
    wait_until(lambda: office.destination()["waiting"] == office.destination("other")["waiting"])
    wait_until(lambda: uid not in held(ward))
    assert sum(each == uid for each in orthanc.held()) == 1


def test_an_archive_that_is_away_is_tried_again(ward: Ward, office: Office) -> None:
    server = Orthanc()
    office.add(server.url + "/dicom-web")
    uid = generate_uid()
    assert store(ward.client(IMAGER), made(instance=uid)).status_code == 200
    wait_until(lambda: office.destination()["trouble"] != "")
    assert office.client.post("/api/destinations/pacs/test", {})["reached"] is False
    assert uid in held(ward)
    server.start()
    try:
        wait_until(lambda: uid in server.held(), within_s=25)
    finally:
        server.stop()
    assert not office.letters()


def test_only_an_answer_that_lists_the_instance_counts(ward: Ward, office: Office) -> None:
    """Goal: over TLS, an archive that lies, redirects or answers nothing gets no belief."""
    tls = ward.hospital.data / "hub" / "tls"
    server = LyingArchive(tls / "chain.pem", tls / "key.pem")
    uids = [generate_uid() for _ in range(4)]
    try:
        office.add(server.url, tries=1, commit=False)
        server.answer = (302, b"", {"Location": "http://169.254.169.254/latest"})
        assert store(ward.client(IMAGER), made(instance=uids[0])).status_code == 200
        wait_until(lambda: "redirect" in office.destination()["trouble"])
        assert not office.letters()
        for number, (status, body) in enumerate(
            [
                (200, b"{}"),
                (200, b'{"00081199":{"vr":"SQ","Value":[{"00081155":{"Value":["1.2.3"]}}]}}'),
                (415, b"not here"),
            ]
        ):
            server.answer = (status, body, {})
            wait_until(lambda expected=number + 1: len(office.letters()) == expected)
            answer = store(ward.client(IMAGER), made(instance=uids[number + 1]))
            assert answer.status_code == 200
        wait_until(lambda: len(office.letters()) == 4)
        assert [each["code"] for each in office.letters()][:3] == [
            "unlisted",
            "unlisted",
            "HTTP 415",
        ]
        assert set(uids) <= held(ward)
        # A UID that the archive has, and does not give back, is no repetition.
        other = generate_uid()
        server.answer = (409, _duplicate(other), {})
        assert store(ward.client(IMAGER), made(instance=other)).status_code == 200
        wait_until(lambda: "0111" in {each["code"] for each in office.letters()})
        assert other in held(ward)
        # And with the same bytes it is.
        again = generate_uid()
        server.gives = made(instance=again)
        server.answer = (409, _duplicate(again), {})
        before = office.destination()["accepted"]
        assert store(ward.client(IMAGER), server.gives).status_code == 200
        wait_until(lambda: office.destination()["accepted"] == before + 1)
    finally:
        server.close()


def _duplicate(uid: str) -> bytes:
    item = f'{{"00081155":{{"Value":["{uid}"]}},"00081197":{{"Value":[273]}}}}'
    return f'{{"00081198":{{"vr":"SQ","Value":[{item}]}}}}'.encode()


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("http://pacs.example/dicom-web", {"local": False}),
        ("https://pacs.example/dicom-web", {"carries": "messages"}),
        ("pacs.example:443", {}),
        ("gateway:104", {"kind": "gateway", "gateway": IMAGER, "commit": True}),
        ("https://user@pacs.example/dicom-web", {}),
    ],
)
def test_a_destination_that_does_not_hold_together_is_not_entered(
    office: Office, address: str, options: dict[str, object]
) -> None:
    with pytest.raises(AsepsisError):
        office.add(address, **options)  # pyright: ignore[reportArgumentType]


def test_loopback_is_refused_without_the_flag(ward: Ward, office: Office) -> None:
    office.add("https://[::ffff:127.0.0.1]/dicom-web", local=False)
    assert store(ward.client(IMAGER), made()).status_code == 200
    wait_until(lambda: "IPv6" in office.destination()["trouble"])
