"""The record of a real hub: read over TLS, by whom it may be, and whole after any death."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hub_ward import CONSUMER, OTHER, SIGNING, Ward

import charted
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.origin import decode_batch
from asepsis.hub.access.principal import Role

BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
WAVES = {"Content-Type": "application/vnd.asepsis.waveform"}
S, HOUR = 1_000_000_000, 3_600_000_000_000
A, B = PatientId("1111", "HOSPITAL"), PatientId("2222", "HOSPITAL")
SEEN_S = 10.0


def send(ward: Ward, bed: Any, count: int) -> list[int]:
    """Send batches and packets; return the sequences that were acknowledged."""
    client = ward.client(bed.name)
    done: list[int] = []
    for _ in range(count):
        made, packet = bed.measure(time.time_ns(), time.monotonic_ns())
        assert client.post("/waveforms", content=packet, headers=WAVES).status_code == 201
        assert client.post("/origin", content=made, headers=BATCH).status_code == 201
        done.append(decode_batch(made).header.sequence)
    return done


def until(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SEEN_S
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def observations(client: httpx.Client, path: str, **headers: str) -> list[dict[str, Any]]:
    """Return every resource of every page."""
    found: list[dict[str, Any]] = []
    address: str | None = path
    while address:
        answer = client.get(address, headers=headers)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [entry["resource"] for entry in page.get("entry", [])]
        address = next((each["url"] for each in page["link"] if each["relation"] == "next"), None)
    return found


def search(device: str) -> str:
    return f"/fhir/Observation?device={device}&code={charted.HEART_RATE}&_count=50"


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ward, dict[Role, str]]]:
    """Return a running ward with two hours of a record in which a bed changed hands."""
    from hub_ward import make_ward  # noqa: PLC0415 - found by the conftest's path

    ward = make_ward(tmp_path_factory.mktemp("reads"))
    start_ns = (time.time_ns() // S - 7_200) * S
    appends = (charted.batch(OTHER, n + 1, start_ns + 60 * n * S, [n]) for n in range(120))
    charted.fill_record(ward.hospital, appends)
    charted.chart(
        ward.hospital,
        [
            (OTHER, A, start_ns + 600 * S, start_ns + 1_200 * S),
            (OTHER, B, start_ns + 1_800 * S, None),
        ],
    )
    tokens = {role: charted.give_token(ward.hospital, role) for role in Role}
    ward.start()
    yield ward, tokens
    ward.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def values(resources: list[dict[str, Any]]) -> list[int]:
    return [r["valueQuantity"]["value"] for r in resources]


def test_each_patient_has_his_own_values(read: tuple[Ward, dict[Role, str]]) -> None:
    """Goal: one device, two patients, a pause between them: nobody gets what is not his."""
    ward, tokens = read
    people = ward.client(None, "people")
    mine = bearer(tokens[Role.CLINICIAN])
    first = observations(people, f"/fhir/Observation?patient={A.key()}&_count=7", **mine)
    # Clocks are exact to 10 ms: the value at the very edge is left out.
    assert values(first) == list(range(11, 20))
    second = observations(people, f"/fhir/Observation?patient:identifier={B.key()}", **mine)
    assert values(second) == list(range(31, 120))
    both = observations(people, f"/fhir/Observation?device={OTHER}", **mine)
    assert values(both) == list(range(120))
    whose = [r["subject"].get("identifier", {}).get("value") for r in both]
    assert whose == [None] * 11 + ["1111"] * 9 + [None] * 11 + ["2222"] * 89
    (last,) = observations(people, f"/fhir/Observation/$lastn?patient={B.key()}", **mine)
    assert last["valueQuantity"]["value"] == 119
    assert (
        people.get("/fhir/Observation?patient=HOSPITAL|9", headers=mine).json().get("entry") is None
    )


def test_a_trend_of_a_patient_over_https(read: tuple[Ward, dict[Role, str]]) -> None:
    ward, tokens = read
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 7_200))
    after = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))
    found = ward.client(None, "people").get(
        f"/trends?patient={A.key()}&code={charted.HEART_RATE}&date=ge{day}&date=lt{after}",
        headers=bearer(tokens[Role.VIEWER]),
    )
    (trend,) = found.json()["trends"]
    assert [value for _, value in trend["points"]] == [float(n) for n in range(11, 20)]


def test_who_may_read_what(read: tuple[Ward, dict[Role, str]]) -> None:
    """Goal: a consumer reads devices and no patient; an administrator reads nothing."""
    ward, tokens = read
    consumer = ward.client(CONSUMER)
    resources = observations(consumer, f"/fhir/Observation?device={OTHER}")
    assert len(resources) == 120
    assert not [r for r in resources if "identifier" in r["subject"]]
    refused = consumer.get(f"/fhir/Observation?patient={A.key()}")
    assert refused.status_code == 403
    assert refused.json()["resourceType"] == "OperationOutcome"
    people = ward.client(None, "people")
    for role in (Role.ADMINISTRATOR, Role.SECURITY):
        answer = people.get(f"/fhir/Observation?device={OTHER}", headers=bearer(tokens[role]))
        assert answer.status_code == 403
    assert people.get(f"/fhir/Observation?device={OTHER}").status_code == 401
    assert ward.client(SIGNING).get(f"/fhir/Observation?device={OTHER}").status_code == 403


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reach", "devices", "patients"),
    [("none", 403, 403), ("devices", 200, 403), ("patients", 200, 200)],
)
def test_an_operator_says_what_a_consumer_reads(
    prepared: Callable[..., Ward], reach: str, devices: int, patients: int
) -> None:
    ward = prepared()
    toml = ward.hospital.toml
    toml.write_text(toml.read_text().replace('record = "devices"', f'record = "{reach}"'))
    ward.start()
    consumer = ward.client(CONSUMER)
    assert consumer.get("/fhir/Device").status_code == devices
    assert consumer.get(f"/fhir/Observation?patient={A.key()}").status_code == patients
    trends = consumer.get(f"/trends?device={OTHER}&code=147842")
    assert (trends.status_code == 403) is (reach == "none")


def test_reads_of_patients_are_in_the_audit_log(read: tuple[Ward, dict[Role, str]]) -> None:
    """Goal: who looked at whom, without a value; the second look within a minute is the same."""
    ward, tokens = read
    people = ward.client(None, "people")
    security = bearer(tokens[Role.SECURITY])

    def entries() -> list[dict[str, Any]]:
        found = people.get("/api/audit?limit=500", headers=security).json()["entries"]
        return [e for e in found if e["action"] == "read-record"]

    engineer = bearer(tokens[Role.CLINICAL_ENGINEER])
    before = len(entries())
    for _ in range(3):
        observations(people, f"/fhir/Observation?patient={A.key()}&_count=3", **engineer)
    new = entries()[before:]
    assert [(e["actor"], e["subject"]) for e in new] == [
        ("person:test clinical-engineer", "patient")
    ]
    assert json.loads(new[0]["detail"]) == {"kind": "numerics", "patients": [A.key()]}
    observations(people, f"/fhir/Observation?device={OTHER}", **engineer)
    assert json.loads(entries()[-1]["detail"])["patients"] == [B.key()]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/fhir/Observation?device=urn:dev:mac:0250c2fffeffffff", 404),
        ("/fhir/Observation?device=x&name=y", 400),
        ("/fhir/Observation?device=x&device=y", 400),
        (f"/fhir/Observation?device={OTHER}&date=2026", 400),
        (f"/fhir/Observation?device={OTHER}&date=ge2026-01-01&date=lt2025-01-01", 400),
        (f"/fhir/Observation?device={OTHER}&_count=0", 400),
        (f"/fhir/Observation?device={OTHER}&_cursor=abc", 400),
        (f"/fhir/Observation?device={OTHER}&code=heart", 400),
        (f"/fhir/Observation?device={OTHER}&_profile=SampleArrayObservation", 400),
        (f"/fhir/Observation?device={OTHER}&code=" + ",".join("1" * 9 for _ in range(33)), 413),
        ("/fhir/Observation?device=" + "x" * 5_000, 413),
        ("/fhir/Observation?device=%FF", 400),
        ("/fhir/Observation?_format=xml&device=x", 400),
        ("/fhir/DeviceMetric?source=Device/none", 404),
        ("/fhir/Device/none", 404),
        ("/fhir/DeviceMetric/none-1", 404),
    ],
)
def test_wrong_reads_get_an_outcome(
    read: tuple[Ward, dict[Role, str]], path: str, status: int
) -> None:
    answer = read[0].client(CONSUMER).get(path)
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.headers["content-type"] == "application/fhir+json"


def test_devices_and_metrics(read: tuple[Ward, dict[Role, str]]) -> None:
    client = read[0].client(CONSUMER)
    devices = observations(client, "/fhir/Device?_count=2")
    assert len(devices) == 3
    assert {d["resourceType"] for d in devices} == {"Device"}
    other = next(d for d in devices if d["identifier"][0]["value"].endswith("00-00-02"))
    assert client.get(f"/fhir/Device/{other['id']}").json() == other
    (metric,) = observations(client, f"/fhir/DeviceMetric?source=Device/{other['id']}")
    assert client.get(f"/fhir/DeviceMetric/{metric['id']}").json() == metric
    by_key = observations(client, f"/fhir/Observation?device=Device/{other['id']}&_count=1000")
    assert len(by_key) == 120
    assert {r["device"]["reference"] for r in by_key} == {f"DeviceMetric/{metric['id']}"}


def test_a_hub_that_is_killed_loses_and_doubles_nothing(prepared: Callable[..., Ward]) -> None:
    """Goal: kill -9 between acknowledgement and block, three times; every value is there once."""
    ward = prepared()
    acknowledged: list[int] = []
    bed = ward.bed(SIGNING)
    for _ in range(3):
        hub = ward.start()
        acknowledged += send(ward, bed, 15)
        hub.kill()
    ward.start()
    consumer = ward.client(CONSUMER)
    until(lambda: len(observations(consumer, search(SIGNING))) >= 28 * 45, "not all is readable")
    found = observations(consumer, search(SIGNING))
    assert len(found) == len({r["id"] for r in found}) == 28 * len(acknowledged)
    waves = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 300))
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 200))
    path = (
        f"/fhir/Observation?device={SIGNING}&_profile=SampleArrayObservation"
        f"&date=ge{waves}&date=lt{ends}&_count=50"
    )
    assert len(observations(consumer, path)) == 4 * len(acknowledged)


def keepers(hub_pid: int) -> list[psutil.Process]:
    """Return the process that keeps the record and the one that starts it anew."""
    return [
        child
        for child in psutil.Process(hub_pid).children(recursive=True)
        if "asepsis.hub.app.records_process" in child.cmdline()
    ]


def test_a_record_process_that_dies_starts_again_and_lanes_go_on(
    prepared: Callable[..., Ward],
) -> None:
    """Goal: whatever happens to the record, nothing happens to vital signs."""
    ward = prepared()
    hub = ward.start()
    bed = ward.bed(SIGNING)
    consumer = ward.client(CONSUMER)
    send(ward, bed, 5)
    until(lambda: len(observations(consumer, search(SIGNING))) == 140, "not readable")
    parent, child = sorted(keepers(hub.process.pid), key=lambda p: p.create_time())
    assert child.ppid() == parent.pid
    assert child.nice() > psutil.Process(hub.process.pid).nice()
    os.kill(child.pid, signal.SIGKILL)
    send(ward, bed, 5)

    def readable() -> bool:
        answer = consumer.get(search(SIGNING) + "&_lastUpdated=ge2020-01-01")
        assert answer.status_code in {200, 503}, answer.text
        return answer.status_code == 200 and len(observations(consumer, search(SIGNING))) == 280

    until(readable, "the record does not come back")
    hub.kill()
    until(lambda: not parent.is_running() or parent.status() == "zombie", "it outlives the hub")


def test_nothing_of_a_patient_stands_in_clear(prepared: Callable[..., Ward]) -> None:
    """Goal: neither a patient nor a value of the record is in any file of a hub that was killed."""
    ward = prepared()
    canary = PatientId("CANARY4711", "CANARY-AUTHORITY")
    charted.chart(ward.hospital, [(SIGNING, canary, time.time_ns() - HOUR, None)])
    token = charted.give_token(ward.hospital, Role.CLINICIAN)
    hub = ward.start()
    send(ward, ward.bed(SIGNING), 3)
    people = ward.client(None, "people")
    path = f"/fhir/Observation?patient={canary.key()}"
    until(lambda: len(observations(people, path, **bearer(token))) > 0, "not readable")
    time.sleep(6)  # Until blocks of the waveforms and the log of reads are on disk.
    hub.kill()
    searched = 0
    for file in ward.hospital.folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            searched += len(content)
            assert b"CANARY4711" not in content, file
    assert searched > 50_000
    assert list((ward.hospital.data / "hub" / "records").glob("*.db"))


def command(ward: Ward, *arguments: str) -> dict[str, Any]:
    """Run `asepsis hub` on the ward's data and return its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "asepsis.cli.main", "hub", "--data", str(ward.hospital.data),
         *arguments, "--json"],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_record_that_is_made_anew_is_the_same(prepared: Callable[..., Ward]) -> None:
    """Goal: what the journal holds comes out of it again, what it lost is carried over."""
    ward = prepared()
    start_ns = (time.time_ns() // S - 7_200) * S
    old = (charted.batch(OTHER, n + 1, start_ns + n * S, [n]) for n in range(90))
    charted.fill_record(ward.hospital, old)
    hub = ward.start()
    send(ward, ward.bed(SIGNING), 12)
    consumer = ward.client(CONSUMER)
    until(lambda: len(observations(consumer, search(SIGNING))) == 336, "not readable")
    before = {d: observations(consumer, search(d)) for d in (SIGNING, OTHER)}
    hub.stop()
    outcome = command(ward, "--rebuild-records")
    assert outcome["records"] == 24
    assert outcome["carried_rows"] >= 2
    assert outcome["lost_rows"] == 0
    ward.start()
    consumer = ward.client(CONSUMER)
    assert {d: observations(consumer, search(d)) for d in before} == before


def test_a_plan_says_what_so_many_beds_need(prepared: Callable[..., Ward]) -> None:
    ward = prepared(more="[records]\nwaveforms_s = 86400\n")
    found = command(ward, "--plan-storage", "--beds", "10")
    parts = {part["what"]: part for part in found["parts"]}
    assert parts["record: waveforms"]["held_s"] == 2 * 86_400
    assert found["bytes"] == sum(part["bytes"] for part in found["parts"])
    assert Path(ward.hospital.data).exists()
