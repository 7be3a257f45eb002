"""Who may ask on the DDI listener, what it opens, how often, and files in ranges."""

import email
import email.policy
import time
from typing import Any

import httpx
import pytest
from ddi_ward import DdiWard

from asepsis.core.trust import tls

PAYLOAD = bytes(range(256)) * 1_024
LENGTH = len(PAYLOAD)


def test_a_token_opens_one_target_and_nothing_else(ward: DdiWard) -> None:
    """Goal: whatever proves a device here is worth nothing on the three other listeners."""
    client = ward.target("d-1")
    assert client.status("GET", "") == 200
    ward.add_target("d-2")
    for path in ("/default/controller/v1/d-2", "/default/controller/v1/nobody"):
        assert client.http.get(path).status_code == 401
    assert client.http.get("/other/controller/v1/d-1").status_code == 404
    for path in ("/", "/metadata", "/api/ddi/targets", "/origin"):
        assert client.http.get(path).status_code == 404
    token = client.http.headers["Authorization"]
    context = tls.client_context(root_der=ward.hospital.root_der)
    for listener in ("people", "enrolment"):
        with httpx.Client(verify=context, base_url=ward.url(listener)) as other:
            answer = other.get("/api/ddi/targets", headers={"Authorization": token})
            assert answer.status_code in {401, 404}
            assert other.get(client.base, headers={"Authorization": token}).status_code == 404
    client.http.headers["Authorization"] = ward.engineer.headers["Authorization"]
    assert client.status("GET", "") == 401


def test_a_new_token_ends_the_old_and_a_blocked_target_is_refused(ward: DdiWard) -> None:
    client = ward.target("d-3")
    assert client.status("GET", "") == 200
    path = "/api/ddi/targets/d-3"
    token = ward.ask("POST", path, json={"new_token": True})["token"]
    assert client.status("GET", "") == 401
    client.http.headers["Authorization"] = f"TargetToken {token}"
    assert client.status("GET", "") == 200
    ward.ask("POST", path, json={"blocked": True})
    assert client.status("GET", "") == 403
    ward.ask("POST", path, json={"blocked": False, "profile": "rauc"})
    assert client.status("GET", "") == 200
    assert ward.ask("GET", path)["profile"] == "rauc"


def test_a_gateways_token_brings_targets_in(ward: DdiWard) -> None:
    token = ward.ask("POST", "/api/ddi/gateways", json={"name": "line 4"})["token"]
    assert ward.engineer.post("/api/ddi/gateways", json={"name": "line 4"}).status_code == 409
    client = ward.client("new-1", Authorization=f"GatewayToken {token}")
    assert client.links() == {"configData"}
    assert ward.ask("GET", "/api/ddi/targets/new-1")["person"] == ""
    assert "new-1" in {one["name"] for one in ward.ask("GET", "/api/ddi/targets")["targets"]}
    ward.ask("DELETE", "/api/ddi/gateways/line%204")
    assert client.status("GET", "") == 401


def test_a_certificate_names_its_target(ward: DdiWard) -> None:
    client = ward.client("cert-1", files=ward.maker.certify("cert-1"))
    assert client.links() == {"configData"}
    assert client.http.get("/default/controller/v1/cert-2").status_code == 403
    token = ward.add_target("cert-3")
    mixed = ward.client("cert-3", files=ward.maker.certify("cert-1"))
    mixed.http.headers["Authorization"] = f"TargetToken {token}"
    assert mixed.status("GET", "") == 403
    ended = ward.client("cert-1", files=ward.maker.certify("cert-1", ended=True))
    with pytest.raises(httpx.TransportError):
        ended.status("GET", "")


def test_who_is_wrong_too_often_is_told_to_wait_and_nobody_else(ward: DdiWard) -> None:
    good, bad = ward.target("d-4"), ward.client("d-4", Authorization="TargetToken no")
    found = {bad.status("GET", "") for _ in range(80)}
    assert found == {401, 429}
    assert good.status("GET", "") == 200


def test_who_asks_too_often_is_told_to_wait(ward: DdiWard) -> None:
    client = ward.target("d-5")
    deadline = time.monotonic() + 20
    while (answer := client.http.get(client.base)).status_code == 200:
        assert time.monotonic() < deadline
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


@pytest.fixture(scope="module")
def file(ward: DdiWard) -> tuple[Any, str]:
    """Return a client with an update, and where its file is."""
    module = ward.module(PAYLOAD, file="a b+c.bin")
    client = ward.target("r-1")
    action = ward.assign("r-1", module)
    (found,) = client.get(f"/deploymentBase/{action}")["deployment"]["chunks"][0]["artifacts"]
    return client, found["_links"]["download"]["href"]


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-99", 206, 0, 99),
        ("bytes=-5", 206, LENGTH - 5, LENGTH - 1),
        (f"bytes={LENGTH - 1}-", 206, LENGTH - 1, LENGTH - 1),
        ("bytes=nonsense", 200, 0, LENGTH - 1),
    ],
)
def test_one_range(file: tuple[Any, str], asked: str, status: int, first: int, last: int) -> None:
    client, href = file
    answer = client.http.get(href, headers={"Range": asked})
    assert answer.status_code == status
    assert answer.content == PAYLOAD[first : last + 1]
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{LENGTH}"


def test_a_complete_file_is_told_by_416(file: tuple[Any, str]) -> None:
    """Goal: rauc-hawkbit-updater asks past the end to learn that it has everything."""
    client, href = file
    answer = client.http.get(href, headers={"Range": f"bytes={LENGTH}-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{LENGTH}"


def test_several_ranges(file: tuple[Any, str]) -> None:
    client, href = file
    answer = client.http.get(href, headers={"Range": "bytes=0-9,100-199,-10"})
    assert answer.status_code == 206
    raw = f"Content-Type: {answer.headers['content-type']}\r\n".encode() + answer.content
    parts = list(email.message_from_bytes(raw, policy=email.policy.HTTP).iter_parts())
    assert [part["content-range"] for part in parts] == [
        f"bytes 0-9/{LENGTH}",
        f"bytes 100-199/{LENGTH}",
        f"bytes {LENGTH - 10}-{LENGTH - 1}/{LENGTH}",
    ]


def test_conditions(file: tuple[Any, str]) -> None:
    client, href = file
    head = client.http.head(href)
    assert (head.status_code, head.headers["content-length"]) == (200, str(LENGTH))
    tag, stamp = head.headers["etag"], head.headers["last-modified"]
    asked = {"Range": "bytes=0-9"}
    for headers, status in (
        ({"If-None-Match": tag}, 304),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": tag}, 200),
        ({"If-Range": tag} | asked, 206),
        ({"If-Range": stamp} | asked, 206),
        ({"If-Range": '"other"'} | asked, 200),
    ):
        assert client.http.get(href, headers=headers).status_code == status, headers
    assert client.http.get(href + "x").status_code == 404
    listed = client.http.get(href.rpartition("/")[0]).json()
    assert listed[0]["filename"] == "a b+c.bin"


def test_what_is_no_module_is_refused(ward: DdiWard) -> None:
    path, octets = "/api/ddi/modules", {"Content-Type": "application/octet-stream"}
    good = {"name": "os", "version": "1", "part": "os", "file": "f"}
    for wrong in ({"file": "../f"}, {"file": ""}, {"name": "n" * 300}, {"part": "p" * 30}):
        answer = ward.engineer.post(path, params=good | wrong, content=b"x", headers=octets)
        assert answer.status_code == 400, wrong
    assert ward.engineer.post(path, params=good, content=b"x").status_code == 415
    names = {one["name"] for one in ward.ask("GET", path)["modules"]}
    assert names <= {"os"}
