"""Every lane of a real hub with what must be taken and what must be refused."""

import base64
import json
import time
from typing import Any

import httpx
import pytest
from hub_ward import CONSUMER, GATEWAY, NATIVE, OTHER, SIGNING, UNSIGNED, Ward

from asepsis.core.mapping.fhir_numeric import Origin, device_key, numeric_to_observation
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire.fhir import Bundle, BundleEntry
from asepsis.core.wire.fhir_codec import encode
from asepsis.core.wire.fhir_types import Identifier
from asepsis.core.wire.origin import decode_batch

BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
WAVES = {"Content-Type": "application/vnd.asepsis.waveform"}
FHIR = {"Content-Type": "application/fhir+json"}
HL7 = {"Content-Type": "application/hl7-v2"}
ALARM = {"Content-Type": "application/vnd.asepsis.alarm+json"}
ER7 = b"MSH|^~\\&|MON|ICU|EHR|H|20260101120000||ORU^R01|%d|P|2.6\rPID|||1\r"
ONSET: dict[str, Any] = {
    "conditionId": "00000000-0000-4000-8000-000000000001",
    "phase": "onset",
    "kind": "physiological",
    "priority": "high",
    "latching": False,
    "inactivation": "none",
    "mdcCode": 196_652,
    "at": "2026-01-01T00:00:00Z",
}


def numbered(headers: dict[str, str], sequence: int, epoch: int = 1) -> dict[str, str]:
    return headers | {"Asepsis-Epoch": str(epoch), "Asepsis-Sequence": str(sequence)}


def bundle(
    batch: bytes, *, device: str, identifier: str | None = None, beside: bool = True
) -> bytes:
    """Return the FHIR twin of a batch, perhaps under another name."""
    decoded = decode_batch(batch)
    origin = Origin(device=DeviceId(device), start_ns=decoded.instant.wall_ns)
    name = identifier or f"{decoded.epoch}/{decoded.sequence}"
    return encode(
        Bundle(
            type="transaction",
            identifier=Identifier(value=name) if beside else None,
            entry=tuple(
                BundleEntry(resource=numeric_to_observation(n, origin).value)
                for n in decoded.numerics()
            ),
        )
    )


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


@pytest.fixture(scope="module")
def bed(ward: Ward) -> Any:
    return ward.bed(SIGNING)


def test_a_batch_is_stored_once_and_acknowledged_twice(ward: Ward, bed: Any) -> None:
    client = ward.client(SIGNING)
    batch, packet = bed.measure(time.time_ns(), time.monotonic_ns())
    first = client.post("/origin", content=batch, headers=BATCH)
    assert first.status_code == 201
    assert first.json()["outcome"] == "stored"
    again = client.post("/origin", content=batch, headers=BATCH)
    assert (again.status_code, again.json()["outcome"]) == (200, "duplicate")
    assert client.post("/waveforms", content=packet, headers=WAVES).status_code == 201
    assert client.post("/waveforms", content=packet, headers=WAVES).status_code == 200


def test_a_device_speaks_only_for_itself(ward: Ward, bed: Any) -> None:
    batch, packet = bed.measure(time.time_ns(), time.monotonic_ns())
    other = ward.client(OTHER)
    assert code(other.post("/origin", content=batch, headers=BATCH)) == (403, "ASP-206")
    assert code(other.post("/waveforms", content=packet, headers=WAVES)) == (403, "ASP-206")
    own = ward.client(SIGNING)
    assert own.post("/origin", content=batch, headers=BATCH).status_code == 201


def test_a_forged_batch_is_refused(ward: Ward, bed: Any) -> None:
    forger = ward.bed(SIGNING)
    forger.origin_key = ward.bed(OTHER).origin_key
    forger.sequence, forger.previous = bed.sequence, bed.previous
    batch, _ = forger.measure(time.time_ns(), time.monotonic_ns())
    answer = ward.client(SIGNING).post("/origin", content=batch, headers=BATCH)
    assert code(answer) == (403, "ASP-204")


def test_a_fork_is_refused(ward: Ward, bed: Any) -> None:
    """Goal: a second, properly signed batch with a number that was used is a fork."""
    client = ward.client(SIGNING)
    sequence, previous = bed.sequence, bed.previous
    first, _ = bed.measure(time.time_ns(), time.monotonic_ns())
    after = (bed.sequence, bed.previous)
    assert client.post("/origin", content=first, headers=BATCH).status_code == 201
    bed.sequence, bed.previous = sequence, previous
    second, _ = bed.measure(time.time_ns() + 1_000_000, time.monotonic_ns())
    assert code(client.post("/origin", content=second, headers=BATCH)) == (403, "ASP-205")
    bed.sequence, bed.previous = after


def test_a_bundle_must_equal_its_batch(ward: Ward, bed: Any) -> None:
    client = ward.client(SIGNING)
    batch, _ = bed.measure(time.time_ns(), time.monotonic_ns())
    twin = bundle(batch, device=SIGNING)
    assert code(client.post("/fhir", content=twin, headers=FHIR))[0] == 409
    assert client.post("/origin", content=batch, headers=BATCH).status_code == 201
    assert client.post("/fhir", content=twin, headers=FHIR).status_code == 201
    lie = twin.replace(b'"value":61,', b'"value":62,', 1)
    assert lie != twin
    assert code(client.post("/fhir", content=lie, headers=FHIR)) == (422, "ASP-104")
    nameless = bundle(batch, device=SIGNING, beside=False)
    assert code(client.post("/fhir", content=nameless, headers=FHIR)) == (422, "ASP-104")
    foreign = bundle(batch, device=OTHER)
    assert code(client.post("/fhir", content=foreign, headers=FHIR)) == (422, "ASP-104")


def test_a_bundle_of_a_source_without_key_stands_for_itself(ward: Ward) -> None:
    client = ward.client(NATIVE)
    batch, _ = ward.bed(OTHER).measure(time.time_ns(), time.monotonic_ns())
    own = bundle(batch, device=NATIVE, beside=False)
    assert code(client.post("/fhir", content=own, headers=FHIR)) == (400, "ASP-100")
    assert client.post("/fhir", content=own, headers=numbered(FHIR, 1)).status_code == 201
    wrong = own.replace(b'"code":"/min"', b'"code":"mm[Hg]"')
    assert wrong != own
    assert code(client.post("/fhir", content=wrong, headers=numbered(FHIR, 2))) == (422, "ASP-104")
    assert device_key(DeviceId(NATIVE)).encode() in own


def test_messages_come_from_gateways_only(ward: Ward) -> None:
    gateway = ward.client(GATEWAY)
    answer = gateway.post("/hl7v2", content=ER7 % 1, headers=numbered(HL7, 1))
    assert answer.status_code == 200
    assert b"MSA|AA|1" in answer.content
    assert gateway.post("/hl7v2", content=ER7 % 1, headers=numbered(HL7, 1)).status_code == 200
    broken = gateway.post(
        "/hl7v2", content=b"MSH|^~\\&|A|B|C|D|1||ORU^R01|2|P|2.6\rP\r", headers=numbered(HL7, 2)
    )
    assert broken.status_code == 400
    assert b"MSA|A" in broken.content
    assert b"MSA|AA" not in broken.content
    device = ward.client(SIGNING)
    assert code(device.post("/hl7v2", content=ER7 % 3, headers=numbered(HL7, 3)))[0] == 403


def test_alarm_documents_of_declared_devices(ward: Ward) -> None:
    gateway = ward.client(GATEWAY)
    document = json.loads(alarms(ONSET))
    headers = numbered(ALARM, 1)
    assert gateway.post("/alerts", json=document, headers=headers).status_code == 201
    for device, wanted in ((SIGNING, 403), (OTHER, 403), ("nobody", 403)):
        refused = gateway.post("/alerts", json=document | {"device": device}, headers=headers)
        assert refused.status_code == wanted
    nested = json.loads("[" * 200 + "]" * 200)
    refused = gateway.post("/alerts", json={"device": UNSIGNED, "events": nested}, headers=headers)
    assert code(refused) == (400, "ASP-100")


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/origin", BATCH),
        ("/alerts", BATCH),
        ("/waveforms", WAVES),
        ("/late", BATCH),
        ("/late", WAVES),
        ("/fhir", FHIR),
        ("/alerts", ALARM),
        ("/hl7v2", HL7),
    ],
)
def test_bad_bytes_are_refused_on_every_lane(ward: Ward, path: str, media: dict[str, str]) -> None:
    """Goal: oversized, truncated, nested, misencoded or empty input gets a 4xx."""
    client = ward.client(GATEWAY if path == "/hl7v2" else SIGNING)
    batch, packet = ward.bed(SIGNING).measure(time.time_ns(), time.monotonic_ns())
    headers = numbered(media, 900)
    for body in (
        b"",
        b"\x00",
        batch[:-1],
        packet[:-1],
        packet[:100],
        b"[" * 100_000,
        b'{"a":' * 5_000,
        b"\xff\xfe\x00\x00" * 50,
        b'{"resourceType":"Bundle","type":"transaction","entry":' + b"[" * 500 + b"]" * 500 + b"}",
    ):
        answer = client.post(path, content=body, headers=headers)
        assert 400 <= answer.status_code < 500, body[:40]
    large = client.post(path, content=b"a" * 2_000_000, headers=headers)
    assert large.status_code == 413
    wrong = client.post(path, content=batch, headers=headers | {"Content-Type": "text/plain"})
    assert wrong.status_code == 415
    packed = client.post(path, content=batch, headers=headers | {"Content-Encoding": "gzip"})
    assert packed.status_code == 415


def test_a_used_number_never_acknowledges_other_bytes(ward: Ward) -> None:
    """Goal: a positive answer means that these very bytes are durable."""
    gateway = ward.client(GATEWAY)
    other_onset = ONSET | {"conditionId": "00000000-0000-4000-8000-000000000002"}
    cases: list[tuple[str, dict[str, str], bytes, bytes]] = [
        ("/hl7v2", HL7, ER7 % 71, ER7 % 72),
        ("/alerts", ALARM, alarms(ONSET), alarms(other_onset)),
    ]
    for path, media, first, second in cases:
        headers = numbered(media, 901)
        assert gateway.post(path, content=first, headers=headers).status_code in {200, 201}
        again = gateway.post(path, content=first, headers=headers)
        assert again.status_code == 200
        refused = gateway.post(path, content=second, headers=headers)
        assert code(refused) == (403, "ASP-205")
        assert b"MSA|AA" not in refused.content


def alarms(*entries: dict[str, Any]) -> bytes:
    now = {"at": to_instant(time.time_ns())}
    return json.dumps({"device": UNSIGNED, "events": [each | now for each in entries]}).encode()


def test_metadata_is_a_capability_statement(ward: Ward) -> None:
    answer = ward.client(SIGNING).get("/metadata")
    assert answer.json()["resourceType"] == "CapabilityStatement"
    served = {one["type"]: one for one in answer.json()["rest"][0]["resource"]}
    assert set(served) == {"Device", "DeviceMetric", "Observation"}
    for kind in ("Device", "DeviceMetric"):
        assert [i["code"] for i in served[kind]["interaction"]] == ["read", "search-type"]
    observation = served["Observation"]
    assert [i["code"] for i in observation["interaction"]] == ["search-type"]
    assert [o["name"] for o in observation["operation"]] == ["lastn"]
    named = {p["name"]: p["type"] for p in observation["searchParam"]}
    assert named["date"] == "date"
    assert {"device", "patient", "code", "_lastUpdated"} <= named.keys()


def test_a_consumer_reads_its_own_lane(ward: Ward, bed: Any) -> None:
    consumer = ward.client(CONSUMER)
    batch, _ = bed.measure(time.time_ns(), time.monotonic_ns())
    ward.client(SIGNING).post("/origin", content=batch, headers=BATCH)
    path = f"/consumers/{CONSUMER}"
    records = consumer.get(f"{path}/batch?lane=vitals&max=1000").json()["records"]
    assert base64.b64decode(records[-1]["body"]) == batch
    document = {"lane": "vitals", "position": records[-1]["position"]}
    assert consumer.post(f"{path}/commit", json=document).status_code == 204
    assert consumer.get(f"{path}/batch?lane=vitals").json()["records"] == []
    assert code(consumer.get(f"{path}/batch?lane=image-index")) == (404, "ASP-105")
    assert code(consumer.get(f"/consumers/{SIGNING}/batch?lane=vitals"))[0] in {403, 404}
    beyond = document | {"position": 10**9}
    assert consumer.post(f"{path}/commit", json=beyond).status_code == 400
