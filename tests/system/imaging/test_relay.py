"""The channel between two gateways through a real hub: who may ask, who may answer, what stays."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hub_ward import GATEWAY, OTHER, Ward
from imaging_ward import IMAGER, MODALITY, make_imaging_ward

from asepsis.cli.devices import people
from asepsis.core.wire import relay

BYTES = {"Content-Type": "application/octet-stream"}
RIS = f"{GATEWAY}#ris"


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Return a hub with a modality's gateway and one that answers as PACS and as worklist."""
    ready = make_imaging_ward(tmp_path_factory.mktemp("relay"))
    ready.start()
    try:
        declare(ready)
        yield ready
    finally:
        ready.close()


def declare(ready: Ward) -> None:
    """Say that the second gateway answers as PACS and as a worklist."""
    client = people(ready.hospital.data)
    options = {"carries": "images", "gateway": GATEWAY}
    client.post("/api/destinations", {"name": "pacs", "kind": "gateway", "options": options})
    client.post(f"/api/devices/{GATEWAY}/sources", {"kind": "worklist"})
    client.close()


def question(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{number:032x}", "kind": "find-study", "archive": "pacs", "device": MODALITY,
        "calling": "CT1", "dataset": {"00100020": {"vr": "LO", "Value": [f"PID{number}"]}}, **more,
    }  # fmt: skip


def ask(client: httpx.Client, number: int, **more: Any) -> int:
    return client.post("/relay/questions", json=question(number, **more)).status_code


def path(archive: str) -> str:
    return "/relay/archives/" + archive.replace(":", "%3A").replace("#", "%23")


def answers(client: httpx.Client, number: int, after: int = 0) -> httpx.Response:
    return client.get(f"/relay/questions/{number:032x}/answers?after={after}")


def test_a_question_is_answered_in_pages_of_data_sets_and_bytes(ward: Ward) -> None:
    near, far = ward.client(IMAGER), ward.client(GATEWAY)
    assert ask(near, 1) == 201
    assert answers(near, 1).status_code == 204
    taken = far.get(path("pacs") + "?wait=5").json()
    assert (taken["calling"], taken["dataset"]["00100020"]["Value"]) == ("CT1", ["PID1"])
    assert far.get(path("pacs")).status_code == 204
    pages = f"{path('pacs')}/{1:032x}/answers?number="
    match = {"matches": [{"dataset": {"0020000D": {"vr": "UI", "Value": ["1.2"]}}}]}
    assert far.post(pages + "1", json=match).status_code == 204
    piece = bytes(range(256)) * 3_000
    assert far.post(pages + "2", content=piece, headers=BYTES).status_code == 204
    assert far.post(pages + "3", json={"last": True, "status": 0}).status_code == 204
    assert answers(near, 1).json()["matches"][0]["dataset"]["0020000D"]["Value"] == ["1.2"]
    assert answers(near, 1, after=1).content == piece
    assert answers(near, 1, after=2).json()["last"] is True
    assert near.delete(f"/relay/questions/{1:032x}").status_code == 204
    assert answers(near, 1).status_code == 404
    assert far.post(pages + "4", json={}).status_code == 404


def test_only_the_declared_ask_and_only_the_named_answer(ward: Ward) -> None:
    near, far = ward.client(IMAGER), ward.client(GATEWAY)
    assert ask(near, 10, device=OTHER) == 403
    assert ask(far, 11) == 403
    assert ask(near, 12, archive="nowhere") == 404
    assert ask(near, 13, kind="find-worklist") == 403
    assert ask(near, 14, kind="find-worklist", archive=IMAGER) == 403
    assert near.get(path("pacs")).status_code == 403
    assert near.get(path(RIS)).status_code == 403
    assert ask(near, 15) == 201
    stolen = near.post(f"{path('pacs')}/{15:032x}/answers?number=1", json={"last": True})
    assert stolen.status_code == 403
    assert answers(far, 15).status_code == 404
    assert far.get(path("pacs") + "?wait=5").json()["id"] == f"{15:032x}"


def test_a_step_is_kept_across_the_death_of_the_hub(ward: Ward) -> None:
    """Goal: what was answered 201 is offered again after kill -9; a query is not."""
    near = ward.client(IMAGER)
    step = {"kind": "mpps-create", "archive": RIS, "instance": "1.2.3.4"}
    assert ask(near, 20, **step) == 201
    assert ask(near, 21) == 201
    assert ward.hub is not None
    ward.hub.kill()
    ward.start()
    near, far = ward.client(IMAGER), ward.client(GATEWAY)
    assert answers(near, 21).status_code == 404
    taken = relay.decode_asked(far.get(path(RIS) + "?wait=5").content)
    assert (taken.instance, taken.kind) == ("1.2.3.4", relay.Kind.MPPS_CREATE)
    body = {"last": True, "status": 0}
    assert far.post(f"{path(RIS)}/{20:032x}/answers?number=1", json=body).status_code == 204
    assert answers(near, 20).json()["status"] == 0


def test_the_audit_log_says_who_asked_about_whom(ward: Ward) -> None:
    client = people(ward.hospital.data)
    entries = client.get("/api/audit?after=-1&limit=500")["entries"]
    client.close()
    asked = [e for e in entries if e["action"] == "ask-archive"]
    details = [json.loads(e["detail"]) for e in asked if e["outcome"] == "ok"]
    assert [d["patients"] for d in details[:2]] == [["PID1"], ["PID15"]]
    assert sum(e["outcome"] != "ok" for e in asked) == 5
    answered = [json.loads(e["detail"]) for e in entries if e["action"] == "answer-archive"]
    assert [(d["kind"], d["status"]) for d in answered] == [
        ("find-study", "0000"),
        ("mpps-create", "0000"),
    ]
