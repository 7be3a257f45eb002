"""Checks of images at a hub: REQ-IMG."""

from typing import Any, Final

import httpx

from asepsis.core.wire.dicomweb_store import Failure
from asepsis.tools.conformance.bench import HubBench
from asepsis.tools.conformance.checks import OK, demand, table
from asepsis.tools.conformance.pictures import (
    PATIENT,
    PATIENT_NAME,
    SECONDARY_CAPTURE,
    Picture,
    untrue,
)
from asepsis.tools.conformance.plan import Role

ROOT: Final = "/dicom-web"
BOUNDARY: Final = "adp1-conformance-7c1f"
MEDIA: Final = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
ONE: Final = {"Accept": "application/dicom"}
JSON: Final = {"Accept": "application/dicom+json"}
STORED, FAILED, REASON, INSTANCE = "00081199", "00081198", "00081197", "00081155"
CONFLICT, NONE_STORED = 409, 409
NOT_THERE: Final = (403, 404, 410)
RETRY: Final = frozenset({Failure.PROCESSING, Failure.NO_RESOURCES})
"""Failure reasons that say nothing about the object."""


def by_dicomweb(bench: HubBench) -> None:
    """An image is stored by STOW-RS, found by QIDO-RS and fetched by WADO-RS."""
    picture = _stored(bench)
    found = _read(bench, f"/studies/{picture.study}/instances", JSON)
    demand(found.status_code == OK, f"a search answers {found.status_code}")
    held = [_first(each, "00080018") for each in found.json()]
    demand(held == [picture.instance], f"a search finds {held}")
    study = _read(
        bench,
        f"/studies/{picture.study}",
        {"Accept": 'multipart/related; type="application/dicom"'},
    )
    demand(study.status_code == OK, f"a study is fetched with {study.status_code}")
    demand(picture.file() in study.content, "a fetched study does not hold what was stored")
    metadata = _read(bench, f"{picture.path}/metadata", JSON)
    demand(metadata.status_code == OK, f"metadata is fetched with {metadata.status_code}")
    demand(_first(metadata.json()[0], "00080016") == SECONDARY_CAPTURE, "metadata is another's")


def unchanged(bench: HubBench) -> None:
    """An instance comes back byte for byte, its preamble and private elements with it."""
    tiff = b"II*\0".ljust(128, b"\0")
    private = b"\x09\x00\x10\x00LO\x08\x00ADP/1   " + b"\x09\x00\x01\x10LO\x04\x00kept"
    picture = Picture(preamble=tiff, before_pixels=b"")
    at = picture.data_set().index(b"\x10\x00\x10\x00PN")
    data = picture.data_set()
    file = picture.file(data[:at] + private + data[at:])
    _accept(bench, "signing", picture, file)
    back = _read(bench, picture.path, ONE)
    demand(back.status_code == OK, f"an instance is fetched with {back.status_code}")
    demand(back.content == file, "an instance came back with other bytes")


def declared_only(bench: HubBench) -> None:
    """A gateway brings images of its declared device and no other; a device brings its own."""
    _accept(bench, "gateway", Picture(), device=bench.plan.legacy)
    senders: tuple[Role, ...] = ("gateway", "signing")
    for sender in senders:
        picture = Picture()
        answer = _store(bench, sender, picture.file(), device=bench.name("other"))
        demand(
            answer.status_code in (401, 403),
            f"{sender} gets {answer.status_code} for an image of another device",
        )
        _absent(bench, picture, "an image of a device that its sender may not speak for")


def named_readers(bench: HubBench) -> None:
    """Devices and people who see no patients read no image; who reads one stands in the audit."""
    picture = _stored(bench)
    paths = ("/studies", f"/studies/{picture.study}/instances", picture.path)
    for path in paths:
        answer = bench.client("other").get(ROOT + path)
        demand(answer.status_code in (401, 403), f"a device gets {answer.status_code} to {path}")
        nobody = bench.client(None, "people").get(ROOT + path)
        demand(nobody.status_code in (401, 403), f"nobody gets {nobody.status_code} to {path}")
    administrator = bench.person()
    for path in paths:
        status = bench.client(None, "people").get(ROOT + path, headers=administrator).status_code
        demand(status in (401, 403), f"an administrator gets {status} to {path}")
    demand(_read(bench, picture.path, ONE).status_code == OK, "a named reader gets nothing")
    _audited(bench, administrator)


def _audited(bench: HubBench, administrator: dict[str, str]) -> None:
    answer = bench.client(None, "people").get(
        "/fhir/AuditEvent", params={"patient": PATIENT}, headers=administrator
    )
    demand(answer.status_code == OK, f"the audit log answers {answer.status_code}")
    demand(bench.name("consumer") in answer.text, "the audit log does not say who read an image")
    demand(PATIENT in answer.text, "the audit log does not say whose image was read")
    demand(PATIENT_NAME not in answer.text, "the audit log repeats what stands in an image")


def untrue_refused(bench: HubBench) -> None:
    """An object that is a program, lies about lengths, nesting or UIDs, or is a bomb is refused."""
    for what, picture, file in untrue():
        answer = _store(bench, "signing", file)
        demand(answer.status_code == NONE_STORED, f"{what} gets {answer.status_code}")
        reasons = [_first(each, REASON) for each in _items(answer, FAILED)]
        demand(len(reasons) == 1, f"{what}: the answer names {len(reasons)} failures")
        demand(reasons[0] not in RETRY, f"{what} is refused as if it could be sent again")
        _absent(bench, picture, what)


def durable(bench: HubBench) -> None:
    """What an answer names as stored is there at once; a repetition succeeds, a change does not."""
    picture = _stored(bench)
    _accept(bench, "signing", picture)
    changed = Picture(
        study=picture.study, series=picture.series, instance=picture.instance, pixels=bytes(256)
    )
    answer = _store(bench, "signing", changed.file())
    demand(answer.status_code == CONFLICT, f"other bytes under a UID get {answer.status_code}")
    reasons = [_first(each, REASON) for each in _items(answer, FAILED)]
    demand(reasons and reasons[0] not in RETRY, "other bytes are refused without a true reason")
    back = _read(bench, picture.path, ONE)
    demand(back.content == picture.file(), "what was held first is not what is held now")


def _stored(bench: HubBench) -> Picture:
    picture = Picture()
    _accept(bench, "signing", picture)
    back = _read(bench, picture.path, ONE)
    demand(back.status_code == OK, f"what was stored is fetched with {back.status_code}")
    return picture


def _accept(
    bench: HubBench, role: Role, picture: Picture, file: bytes = b"", *, device: str = ""
) -> None:
    answer = _store(bench, role, file or picture.file(), device=device)
    demand(answer.status_code == OK, f"a right image gets {answer.status_code}")
    named = [_first(each, INSTANCE) for each in _items(answer, STORED)]
    demand(named == [picture.instance], f"the answer to a right image names {named}")


def _store(bench: HubBench, role: Role, *files: bytes, device: str = "") -> httpx.Response:
    head = f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + each for each in files) + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": MEDIA, "Asepsis-Device": device or bench.name(role)}
    return bench.post(role, f"{ROOT}/studies", body, headers)


def _read(bench: HubBench, path: str, headers: dict[str, str]) -> httpx.Response:
    return bench.client("consumer").get(ROOT + path, headers=headers)


def _absent(bench: HubBench, picture: Picture, what: str) -> None:
    if not picture.instance.startswith("2.25."):
        return  # No address names it.
    status = _read(bench, picture.path, ONE).status_code
    demand(status in NOT_THERE, f"{what} can be fetched ({status})")


def _items(answer: httpx.Response, tag: str) -> list[dict[str, Any]]:
    return list(answer.json().get(tag, {}).get("Value", []))


def _first(item: dict[str, Any], tag: str) -> Any:
    return (item.get(tag, {}).get("Value") or [None])[0]


CHECKS: Final = table(
    ("IMG-001", by_dicomweb),
    ("IMG-002", unchanged),
    ("IMG-004", declared_only),
    ("IMG-005", named_readers),
    ("IMG-007", untrue_refused),
    ("IMG-008", durable),
)
