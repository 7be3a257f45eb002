"""What people see and do: devices, revocation that asks again, the audit log with its proofs."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from asepsis.core.trust import merkle
from asepsis.hub.access.principal import Role
from asepsis.hub.audit.rules import Entry, SignedHead, leaf, verify_head, verify_log

NAME = "https://id.gs1.org/01/04012345678901/21/SN-1"
PATH = "/api/devices/" + quote(NAME, safe="")


@pytest.fixture
def person(system: Any, tmp_path: Path) -> Any:
    """Return a function that asks as a person of a role."""
    client = system.client(tmp_path / "person")
    tokens: dict[Role, str] = {}

    def ask(role: Role | None, path: str, *arguments: str) -> tuple[int, Any]:
        if role and role not in tokens:
            name = f"{role}-{tmp_path.name}"
            system.hub.people.add_person(name, [role], actor="person:root")
            tokens[role] = system.hub.people.issue_token(name, actor="person:root")
        bearer = ("--oauth2-bearer", tokens[role]) if role else ()
        status, body = client.curl("people", path, *bearer, *arguments)
        return status, json.loads(body) if body else None

    return ask


@pytest.fixture(scope="module")
def device(system: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return system.enrolled(tmp_path_factory.mktemp("udi"), NAME, model="Maker M1")


def post(body: object) -> tuple[str, ...]:
    return ("--header", "Content-Type: application/json", "--data", json.dumps(body))


@pytest.mark.usefixtures("device")
def test_devices_are_listed_to_whom_may_see_them(system: Any, person: Any) -> None:
    assert person(None, "/api/devices")[0] == 401
    for role in Role:
        status, found = person(role, "/api/devices")
        assert status == 200
        assert NAME in [each["name"] for each in found["devices"]]
        assert person(role, PATH)[1]["model"] == "Maker M1"
        assert person(role, "/api/status")[1]["devices"]["enrolled"] >= 1
    assert person(Role.VIEWER, "/api/devices/nobody")[0] == 404
    assert person(Role.VIEWER, "/api/devices?limit=0")[0] == 400
    assert person(Role.VIEWER, "/api/devices?x=1")[0] == 400
    token = (system.data / "admin.token").read_text().strip()
    assert person(None, "/api/devices", "--oauth2-bearer", token)[0] == 200


def test_a_certificate_is_no_token(person: Any, device: Any) -> None:
    assert person(None, "/api/devices", *device.cert())[0] == 401


def test_the_audit_log_is_proven_to_whom_may_read_it(system: Any, person: Any) -> None:
    assert person(Role.VIEWER, "/api/audit")[0] == 403
    assert person(Role.CLINICAL_ENGINEER, "/api/audit")[0] == 403
    person(Role.ADMINISTRATOR, "/api/status")
    status, head = person(Role.SECURITY, "/api/audit/head", "--request", "POST")
    assert status == 200, head
    size = head["size"]
    _, found = person(Role.SECURITY, f"/api/audit?limit={size}")
    entries = msgspec.convert(found["entries"], list[Entry])
    signed = msgspec.convert(head, SignedHead)
    audit_der = system.hub.call(system.hub.signer.authorities()).audit_der
    verify_head(signed, audit_certificate_der=audit_der)
    assert verify_log(entries[:size], [signed], audit_certificate_der=audit_der) == size
    _, proof = person(Role.SECURITY, f"/api/audit/proof?index=1&size={size}")
    merkle.verify_inclusion(
        leaf(entries[1]),
        index=1,
        size=size,
        proof=[bytes.fromhex(digest) for digest in proof["proof"]],
        root=bytes.fromhex(signed.root),
    )
    _, older = person(Role.SECURITY, f"/api/audit/consistency?first=2&second={size}")
    state = merkle.Frontier()
    for entry in entries[:2]:
        state, _ = state.append(leaf(entry))
    merkle.verify_consistency(
        first=2,
        first_root=state.root(),
        second=size,
        second_root=bytes.fromhex(signed.root),
        proof=[bytes.fromhex(digest) for digest in older["proof"]],
    )
    for bad in ("proof?index=99999", "proof?index=x", "consistency?first=2&second=99999",
                "proof?other=1"):  # fmt: skip
        assert person(Role.SECURITY, f"/api/audit/{bad}")[0] == 400


def test_revoking_asks_again_and_then_does_it(person: Any, device: Any) -> None:
    assert person(Role.VIEWER, PATH + "/revoke", *post({"reason": "lost"}))[0] == 403
    for bad in ({}, {"reason": ""}, {"reason": "x", "other": 1}, []):
        assert person(Role.SECURITY, PATH + "/revoke", *post(bad))[0] == 400
    status, shown = person(Role.SECURITY, PATH + "/revoke", *post({"reason": "lost"}))
    assert status == 200
    assert (shown["done"], shown["confirm"]) == (False, NAME)
    assert device.curl("clinical", "/metadata", *device.cert())[0] == 200
    wrong = post({"reason": "lost", "confirm": NAME + "0"})
    assert person(Role.SECURITY, PATH + "/revoke", *wrong)[0] == 409
    right = post({"reason": "lost", "confirm": NAME})
    assert person(Role.SECURITY, PATH + "/revoke", *right) == (200, {"done": True, "closed": 0})
    assert device.curl("clinical", "/metadata", *device.cert())[0] == 403
    assert person(Role.SECURITY, PATH + "/revoke", *right)[0] == 409
    assert person(Role.SECURITY, PATH)[1]["revoked_at_ns"]


def test_declarations_are_made_by_people(system: Any, person: Any, tmp_path: Path) -> None:
    gateway = "urn:uuid:00000000-0000-4000-8000-0000000000aa"
    client = system.client(tmp_path)
    token_id, secret, _ = system.expect(gateway, profile="gateway").split(".")
    request = client.request(f"URI:{gateway}")
    status, _ = client.post_request(
        "gateway/simpleenroll", request, "--user", f"{token_id}:{secret}"
    )
    assert status == 200
    path = f"/api/devices/{gateway}"
    body = post({"devices": ["urn:dev:mac:0000000000000009"], "days": 1})
    assert person(Role.SECURITY, path + "/declare", *body)[0] == 403
    assert person(Role.CLINICAL_ENGINEER, path + "/declare", *body)[0] == 200
    gone = post({"devices": ["urn:dev:mac:0000000000000009"]})
    assert person(Role.CLINICAL_ENGINEER, path + "/withdraw", *gone)[0] == 200
    assert person(Role.CLINICAL_ENGINEER, path + "/withdraw", *gone)[0] == 404
