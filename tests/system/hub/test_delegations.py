"""Somebody runs code in a ward gateway's parser and has its key: what the hub still refuses."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from hub_ward import GATEWAY, NATIVE, UNSIGNED, Ward, make_ward
from test_lanes import ALARM, HL7, ONSET, numbered
from test_message_batches import group, oru, post

from asepsis.core.errors import InputError, NotPermitted
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.trust.identity import Profile
from asepsis.tools.people import PeopleClient
from hospital import device_name, system_name

WARD_GATEWAY = system_name(9)
OURS, NOBODYS = device_name(21), device_name(22)
MERGE = (
    b"MSH|^~\\&|ADT|HIS|||20261122120000+0000||%b|%d|P|2.6\rEVN|%b|20261122120000\r"
    b"PID|||4711^^^HOSP^MR||DOE^JANE\rMRG|4712^^^HOSP^MR\r"
)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """A hospital whose ward gateway is named as no source and speaks for two devices."""
    ward = make_ward(tmp_path_factory.mktemp("taken"))
    made = ward.hospital.enlist(
        [(WARD_GATEWAY, Profile.GATEWAY)], declared=[OURS, NATIVE], sources=()
    )
    ward.machines[WARD_GATEWAY] = made[0]
    ward.start()
    yield ward
    ward.close()


@contextmanager
def people(ward: Ward, token: Path | None = None) -> Iterator[PeopleClient]:
    assert ward.hub is not None
    where = ward.hub.ready["listeners"]["people"]
    client = PeopleClient(
        f"https://localhost:{where['port']}",
        root_path=ward.hospital.data / "ca" / "root.crt",
        token_path=token or ward.hospital.data / "hub" / "admin.token",
    )
    try:
        yield client
    finally:
        client.close()


def refusals(ward: Ward) -> list[tuple[str, str, str]]:
    with people(ward) as client:
        found = client.get("/api/audit", limit=500)["entries"]
    return [
        (e["actor"], e["subject"], e["outcome"])
        for e in found
        if e["outcome"] == "ASP-206" and e["action"] == "submit"
    ]


def alarm(client: httpx.Client, device: str, sequence: int) -> int:
    event = ONSET | {"at": to_instant(time.time_ns())}
    headers = numbered(ALARM, sequence)
    body = json.dumps({"device": device, "events": [event]}).encode()
    return client.post("/alerts", content=body, headers=headers).status_code


def test_it_speaks_for_its_own_list_and_for_nobody_else(taken: Ward) -> None:
    client = taken.client(WARD_GATEWAY)
    assert alarm(client, OURS, 1) == 201
    for number, device in enumerate((NATIVE, UNSIGNED, NOBODYS), 2):
        assert alarm(client, device, number) == 403, "native, another gateway's, undeclared"
    refused = refusals(taken)
    for device in (NATIVE, UNSIGNED, NOBODYS):
        assert (f"gateway:{WARD_GATEWAY}", device, "ASP-206") in refused
    assert alarm(taken.client(NATIVE), NATIVE, 1) == 201


@pytest.mark.parametrize(
    ("number", "kind", "event", "audited"),
    [
        (1, b"ADT^A40^ADT_A39", b"A40", "ADT^A40"),
        (2, b"ADT^A01^ADT_A01", b"A01", "ADT^A01"),
        (3, b"ADT", b"A40", "ADT^A40"),
        (4, b"ADT^A4\\X30\\", b"A40", "ADT^A40"),
    ],
)
def test_it_merges_and_moves_no_patient(
    taken: Ward, number: int, kind: bytes, event: bytes, audited: str
) -> None:
    client = taken.client(WARD_GATEWAY)
    message = MERGE % (kind, number, event)
    answer = post(client, group(number, oru(1, device=OURS), message, devices=(OURS,)))
    assert answer.json()["stored"] == 1
    (refused,) = answer.json()["refused"]
    assert (refused["index"], refused["code"]) == (1, "ASP-206")
    alone = client.post("/hl7v2", content=message, headers=numbered(HL7, number))
    assert alone.status_code == 403
    assert (f"gateway:{WARD_GATEWAY}", audited, "ASP-206") in refusals(taken)
    named = post(taken.client(GATEWAY), group(number, message, devices=()))
    assert named.json()["refused"] == []


def test_a_delegation_of_some_types_takes_no_others(taken: Ward) -> None:
    client = taken.client(WARD_GATEWAY)
    with people(taken) as person:
        person.declare(WARD_GATEWAY, [OURS], days=1, evidence="claimed", message_types=["ORU^R01"])
    assert alarm(client, OURS, 20) == 403
    answer = post(client, group(20, oru(1, device=OURS), devices=(OURS,)))
    assert answer.json()["refused"] == []
    seen = [{"device": OURS, "network": {"address": "10.1.1.1", "port": 2575}}]
    assert client.post("/gateway/evidence", json={"seen": seen}).json() == {"differs": []}
    device = taken.client(NATIVE).post("/gateway/evidence", json={"seen": seen})
    assert device.status_code == 403
    merge = MERGE % (b"ADT^A40^ADT_A39", 21, b"A40")
    with people(taken) as person:
        person.name_source(WARD_GATEWAY, "merge", days=1)
        assert post(client, group(21, merge, devices=())).json()["refused"] == []
        person.withdraw_source(WARD_GATEWAY, "merge")
    assert post(client, group(22, merge, devices=())).json()["stored"] == 0


def test_a_bypass_takes_two_people_and_stands_in_the_log(taken: Ward, tmp_path: Path) -> None:
    tokens: list[Path] = []
    with people(taken) as admin:
        for name in ("ana", "ben"):
            admin.add_person(name, roles=["clinical-engineer"])
            tokens.append(tmp_path / name)
            tokens[-1].write_text(admin.issue_token(name, days=1))
    body = {"gateway": GATEWAY, "routes": ["monitor -> 10.2.0.9:2575"], "minutes": 60}
    with people(taken, tokens[0]) as ana, people(taken, tokens[1]) as ben:
        with pytest.raises(InputError):
            ana.post("/api/bypasses", body | {"gateway": NATIVE, "reason": "disk"})
        proposed = ana.post("/api/bypasses", body | {"reason": "disk"})
        path = f"/api/bypasses/{proposed['id']}/confirm"
        with pytest.raises(NotPermitted):
            ana.post(path, {})
        opened = ben.post(path, {})
        assert opened["routes"] == body["routes"]
        left_s = opened["until_ns"] / 1e9 - time.time()
        assert 3_500 < left_s <= 3_600
        for wrong in (path, "/api/bypasses/0/confirm", "/api/bypasses/x/confirm"):
            with pytest.raises(InputError):
                ben.post(wrong, {})
    with people(taken) as admin:
        found = admin.get("/api/audit", limit=500)["entries"]
    (entry,) = [e for e in found if e["action"] == "open-bypass"]
    assert (entry["actor"], entry["subject"]) == ("person:ben", GATEWAY)
    assert "person:ana" in entry["detail"]
    assert any("gateway-bypassed" in e["detail"] for e in found if e["action"] == "raise-alarm")
