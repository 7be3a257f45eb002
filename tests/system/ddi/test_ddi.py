"""Update clients at a real hub over TLS: polls, deployments, cancellations, confirmations."""

import time
from typing import Any

import cbor2
import pytest
from ddi_ward import CBOR, DdiWard

S = 1_000_000_000
PAYLOAD = bytes(range(256)) * 1_024


@pytest.fixture(scope="module")
def module(ward: DdiWard) -> int:
    return ward.module(PAYLOAD)


def begin(ward: DdiWard, module: int, name: str, **more: Any) -> tuple[Any, int]:
    """Return a client with one action."""
    client = ward.target(name, profile=more.pop("profile", "generic"))
    return client, ward.assign(name, module, **more)


def test_an_update_from_the_poll_to_verified(ward: DdiWard, module: int) -> None:
    """Goal: success is installing; version and self-test of the device itself make it verified."""
    client = ward.target("pump-1")
    poll = client.poll()
    assert poll["config"]["polling"]["sleep"] == "00:00:01"
    assert set(poll["_links"]) == {"configData"}
    assert client.describe(serial="7") == 200
    assert client.links() == set()
    action = ward.assign("pump-1", module)
    link = client.poll()["_links"]["deploymentBase"]["href"]
    found = client.http.get(link).json()
    deployment = found["deployment"]
    assert (found["id"], deployment["download"], deployment["update"]) == (
        str(action),
        "forced",
        "forced",
    )
    (artefact,) = deployment["chunks"][0]["artifacts"]
    assert artefact["size"] == len(PAYLOAD)
    got = client.http.get(artefact["_links"]["download"]["href"])
    assert got.content == PAYLOAD
    assert client.http.get(artefact["_links"]["md5sum"]["href"]).text == (
        f"{artefact['hashes']['md5']}  os.swu"
    )
    assert ward.action(action)["outcome"] == "downloaded"
    assert client.say(action, "proceeding", "none", "begun") == 200
    assert client.say(action, "closed", "success") == 200
    assert ward.action(action)["outcome"] == "installing"
    assert client.links() == {"installedBase", "configData"}
    assert client.get(f"/installedBase/{action}?actionHistory=2")["actionHistory"]["messages"]
    assert client.say(action, "closed", "failure") == 410
    client.describe(asepsis_version="1")
    assert ward.action(action)["outcome"] == "installing"
    client.describe(asepsis_version="2")
    assert ward.action(action)["outcome"] == "booted"
    client.describe(asepsis_self_test="passed")
    assert ward.action(action)["outcome"] == "verified"
    assert client.links() == {"installedBase", "configData"}
    client.describe(asepsis_version="1")
    fallen = ward.action(action)
    assert fallen["outcome"] == "rolled-back"
    assert "runs 1" in fallen["reason"]


def test_a_failure_before_anything_was_installed(ward: DdiWard, module: int) -> None:
    client, action = begin(ward, module, "pump-2")
    client.get(f"/deploymentBase/{action}")
    assert client.say(action, "closed", "failure", "bad signature") == 200
    found = ward.action(action)
    assert (found["stage"], found["outcome"]) == ("error", "refused")
    assert found["reason"] == "bad signature"
    assert "deploymentBase" not in client.links()


def test_cancel_before_and_after_it_was_seen(ward: DdiWard, module: int) -> None:
    client, action = begin(ward, module, "pump-3")
    ward.ask("POST", f"/api/ddi/actions/{action}/cancel", json={})
    assert ward.action(action)["stage"] == "canceled"
    action = ward.assign("pump-3", module)
    assert client.status("GET", f"/cancelAction/{action}") == 404
    assert client.say(action, "closed", "success", to="cancelAction") == 405
    client.get(f"/deploymentBase/{action}")
    ward.ask("POST", f"/api/ddi/actions/{action}/cancel", json={})
    assert "cancelAction" in client.links()
    assert client.status("GET", f"/deploymentBase/{action}") == 404
    assert client.get(f"/cancelAction/{action}")["cancelAction"] == {"stopId": str(action)}
    assert client.say(action, "rejected", to="cancelAction") == 200
    assert "deploymentBase" in client.links()
    ward.ask("POST", f"/api/ddi/actions/{action}/cancel", json={})
    assert client.say(action, "closed", "success", to="cancelAction") == 200
    assert ward.action(action)["outcome"] == "withdrawn"
    assert client.say(action, "closed", "success", to="cancelAction") == 410


def test_a_newer_update_takes_back_the_older(ward: DdiWard, module: int) -> None:
    client, first = begin(ward, module, "pump-4")
    client.get(f"/deploymentBase/{first}")
    second = ward.assign("pump-4", module)
    assert "cancelAction" in client.links()
    assert client.say(first, "closed", "success", to="cancelAction") == 200
    assert client.poll()["_links"]["deploymentBase"]["href"].find(f"/{second}?c=") > 0


def test_confirmation_at_the_device_and_at_the_hub(ward: DdiWard, module: int) -> None:
    client, action = begin(ward, module, "pump-5", confirm=True)
    assert "confirmationBase" in client.links()
    assert client.status("GET", f"/deploymentBase/{action}") == 404
    assert client.say(action, "proceeding") == 404
    found = client.get(f"/confirmationBase/{action}")
    assert found["confirmation"]["update"] == "forced"
    path = f"/confirmationBase/{action}/feedback"
    assert client.status("POST", path, json={"confirmation": "denied"}) == 200
    assert "confirmationBase" in client.links()
    assert client.status("POST", path, json={"confirmation": "confirmed"}) == 200
    assert "deploymentBase" in client.links()
    assert client.status("POST", path, json={"confirmation": "confirmed"}) == 404
    action = ward.assign("pump-5", module, confirm=True)
    ward.ask("POST", f"/api/ddi/actions/{action}/confirm")
    assert ward.action(action)["stage"] == "running"


def test_somebody_at_the_device_confirms_everything(ward: DdiWard, module: int) -> None:
    client, action = begin(ward, module, "pump-6", confirm=True)
    state = client.get("/confirmationBase")
    assert state["autoConfirm"] == {"active": False}
    assert {"activateAutoConfirm", "confirmationBase"} == set(state["_links"])
    path = "/confirmationBase/activateAutoConfirm"
    assert client.status("POST", path, json={"initiator": "ana", "remark": "night"}) == 200
    assert client.status("POST", path) == 409
    assert ward.action(action)["stage"] == "running"
    assert client.get("/confirmationBase")["autoConfirm"]["initiator"] == "ana"
    assert client.status("POST", "/confirmationBase/deactivateAutoConfirm") == 200


def test_a_closed_window_is_told_to_some_and_kept_from_others(ward: DdiWard, module: int) -> None:
    soon = time.time_ns() + 3_600 * S
    windows = [[soon, soon + S]]
    honest, number = begin(ward, module, "pump-7", windows=windows)
    deployment = honest.get(f"/deploymentBase/{number}")["deployment"]
    assert (deployment["update"], deployment["maintenanceWindow"]) == ("skip", "unavailable")
    lying, hidden = begin(ward, module, "pump-8", windows=windows, profile="swupdate")
    assert "deploymentBase" not in lying.links()
    assert lying.status("GET", f"/deploymentBase/{hidden}") == 404
    assert lying.status("GET", f"/softwaremodules/{module}/artifacts/os.swu") == 404
    assert lying.say(hidden, "closed", "success", "Skipped Update.") == 200
    found = ward.action(hidden)
    assert (found["stage"], found["outcome"]) == ("running", "offered")


def test_an_update_whose_last_window_has_closed_is_taken_back(ward: DdiWard, module: int) -> None:
    now = time.time_ns()
    client, action = begin(ward, module, "pump-9", windows=[[now, now + S // 2]])
    deadline = time.monotonic() + 20
    while ward.action(action)["stage"] == "running" and time.monotonic() < deadline:
        client.poll()
        time.sleep(0.1)
    found = ward.action(action)
    assert found["outcome"] == "withdrawn"
    assert "window" in found["reason"]


def test_download_only_ends_with_its_download(ward: DdiWard, module: int) -> None:
    client, action = begin(ward, module, "pump-10", kind="download-only")
    assert client.get(f"/deploymentBase/{action}")["deployment"]["update"] == "skip"
    assert client.say(action, "downloaded") == 200
    found = ward.action(action)
    assert (found["stage"], found["outcome"]) == ("downloaded", "downloaded")


def test_everything_in_cbor(ward: DdiWard, module: int) -> None:
    client, action = begin(ward, module, "pump-11")
    wants = {"Accept": CBOR}
    answer = client.http.get(client.base, headers=wants)
    assert answer.headers["content-type"] == CBOR
    link = cbor2.loads(answer.content)["_links"]["deploymentBase"]["href"]
    found = cbor2.loads(client.http.get(link, headers=wants).content)
    assert found["deployment"]["chunks"][0]["version"] == "2"
    said = {"status": {"execution": "closed", "result": {"finished": "success"}}}
    path = f"/deploymentBase/{action}/feedback"
    sends = {"Content-Type": CBOR}
    assert client.status("POST", path, content=cbor2.dumps(said), headers=sends) == 200
    said = {"data": {"asepsis-version": "2", "asepsis-self-test": "passed"}}
    assert client.status("PUT", "/configData", content=cbor2.dumps(said), headers=sends) == 200
    assert ward.action(action)["outcome"] == "verified"
    tagged = cbor2.dumps({"data": {"a": 2**70}})
    assert client.status("PUT", "/configData", content=tagged, headers=sends) == 400
    assert client.status("PUT", "/configData", content=b"x", headers={"Content-Type": "a/b"}) == 415


def test_a_poll_that_still_holds_is_not_sent_again(ward: DdiWard, module: int) -> None:
    client = ward.target("pump-12")
    tag = client.http.get(client.base).headers["etag"]
    same = {"If-None-Match": f"W/{tag}"}
    assert client.status("GET", "", headers=same) == 304
    ward.assign("pump-12", module)
    assert client.status("GET", "", headers=same) == 200


def test_what_runs_by_the_devices_own_word(ward: DdiWard) -> None:
    client = ward.target("pump-13")
    body = {"name": "os", "version": "9"}
    assert client.status("PUT", "/installedBase", json=body) == 201
    assert client.status("PUT", "/installedBase", json=body) == 200
    found = ward.ask("GET", "/api/ddi/targets/pump-13")
    assert found["attributes"]["asepsis-installed-version"] == "9"
    assert found["installed"] == 0


def test_nobody_assigns_what_he_brought(ward: DdiWard, module: int) -> None:
    """Goal: two people stand behind every update."""
    ward.add_target("pump-14")
    body = {"targets": ["pump-14"], "modules": [module]}
    answer = ward.engineer.post("/api/ddi/actions", json=body)
    assert answer.status_code == 403
    assert "second person" in answer.json()["hint"]
    for wrong, status in (
        ({"targets": ["nobody"]}, 404),
        ({"modules": [9_999]}, 404),
        ({"windows": [[2, 1]]}, 400),
        ({"windows": [[1, 2]]}, 400),
        ({"kind": "soft", "targets": ["lying"]}, 409),
    ):
        if "lying" in wrong.get("targets", []):
            ward.add_target("lying", profile="swupdate")
        assert ward.second.post("/api/ddi/actions", json=body | wrong).status_code == status, wrong


def test_an_update_of_another_target_does_not_exist(ward: DdiWard, module: int) -> None:
    _, action = begin(ward, module, "pump-15")
    other = ward.target("pump-16")
    for path in (f"/deploymentBase/{action}", f"/installedBase/{action}", "/deploymentBase/x"):
        assert other.status("GET", path) == 404
    assert other.say(action, "closed", "success") == 404
    for path in ("", "/os.swu", "/os.swu.MD5SUM"):
        assert other.status("GET", f"/softwaremodules/{module}/artifacts{path}") == 404
