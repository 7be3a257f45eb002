"""What a real hub answers, and what our encoders write, is what the JSON schemas say."""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any, cast

import httpx
import jsonschema
import msgspec
import pytest
import yaml
from hub_ward import CONSUMER, GATEWAY, NATIVE, SIGNING, Ward
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.mapping.alarm_document import alarms_to_document
from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.answers import SignedTime
from asepsis.core.wire.fhir_alarm import AlarmDocument, decode_alarms, encode_alarms
from asepsis.hub.registry.http import EnrolmentRoutes

SCHEMAS = Path(__file__).parents[2] / "standard" / "schemas"
VECTORS = SCHEMAS.parent / "vectors"
BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
UNSAID = {"description", "title", "default"}

events = st.builds(
    AlarmEvent,
    condition_id=st.binary(min_size=16, max_size=16),
    phase=st.sampled_from(AlarmPhase),
    kind=st.sampled_from(AlarmKind),
    priority=st.sampled_from(AlarmPriority),
    latching=st.booleans(),
    inactivation=st.sampled_from(Inactivation),
    mdc_code=st.integers(1, 0xFFFFFFFF),
    source_handle=st.integers(0, 65_535),
    offset_ms=st.integers(0, 65_535),
    text=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=120),
)


def schema(name: str) -> dict[str, Any]:
    return json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))


def judge(name: str, document: object) -> None:
    jsonschema.Draft202012Validator(schema(name)).validate(document)


def said(value: Any) -> Any:
    """Return a schema without its prose, in an order of its own."""
    if isinstance(value, dict):
        return {
            k: sorted(v) if k == "enum" else said(v) for k, v in value.items() if k not in UNSAID
        }
    return value


@given(st.lists(events, min_size=1, max_size=64), st.integers(0, 4_102_444_800 * 10**9))
def test_every_alarm_document_that_is_written_is_valid(
    written: list[AlarmEvent], start_ns: int
) -> None:
    judge(
        "alarm",
        json.loads(encode_alarms(alarms_to_document(written, device=SIGNING, start_ns=start_ns))),
    )


def test_the_alarm_schema_is_the_one_of_the_codec() -> None:
    """Goal: schema and `core/wire/fhir_alarm.py` cannot drift apart."""
    made = msgspec.json.schema(AlarmDocument)["$defs"]["AlarmEntry"]
    entry = schema("alarm")["properties"]["events"]["items"]
    assert sorted(entry["required"]) == sorted(made["required"])
    assert entry["properties"].keys() == made["properties"].keys()
    for name, wanted in made["properties"].items():
        of_codec, of_schema = said(wanted), said(entry["properties"][name])
        for field in (of_codec, of_schema):
            field.pop("type", None) if "enum" in field else None
            field.pop("pattern", None) if name == "text" else None  # Escaped, and tried below.
        assert of_schema == of_codec, name


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "begin"},
        {"priority": "High"},
        {"mdcCode": 0},
        {"sourceHandle": 65_536},
        {"conditionId": "0" * 32},
        {"at": "yesterday"},
        {"at": "2026-01-01"},
        {"text": "a\x00b"},
        {"text": "a\x7fb"},
        {"text": "a\x9fb"},
        {"text": "a" * 121},
        {"latching": "no"},
        {"silenced": True},
    ],
)
def test_schema_and_codec_refuse_the_same(change: dict[str, object]) -> None:
    good = {
        "conditionId": "00000000-0000-4000-8000-000000000001",
        "phase": "onset",
        "kind": "technical",
        "priority": "low",
        "latching": False,
        "inactivation": "none",
        "mdcCode": 196_652,
        "at": "2026-01-01T00:00:00Z",
    }
    judge("alarm", {"device": SIGNING, "events": [good]})
    decode_alarms(json.dumps({"device": SIGNING, "events": [good]}).encode())
    bad = {"device": SIGNING, "events": [good | change]}
    with pytest.raises(jsonschema.ValidationError):
        judge("alarm", bad)
    with pytest.raises(InputError):
        decode_alarms(json.dumps(bad).encode())


def test_receipts_records_and_commits(ward: Ward) -> None:
    batch, _ = ward.bed(SIGNING).measure(time.time_ns(), time.monotonic_ns())
    device, consumer = ward.client(SIGNING), ward.client(CONSUMER)
    stored = device.post("/origin", content=batch, headers=BATCH)
    again = device.post("/origin", content=batch, headers=BATCH)
    assert (stored.status_code, again.status_code) == (201, 200)
    for answer in (stored, again):
        judge("receipt", answer.json())
    assert again.json()["position"] == 0
    path = f"/consumers/{CONSUMER}"
    found = consumer.get(f"{path}/batch?lane=vitals").json()
    judge("records", found)
    record = found["records"][-1]
    assert base64.b64decode(record["body"]) == batch
    commit = {"lane": "vitals", "position": record["position"]}
    judge("commit", commit)
    assert consumer.post(f"{path}/commit", json=commit).status_code == 204
    assert consumer.post(f"{path}/commit", json=commit | {"more": 1}).status_code == 400


def test_lanes_are_those_of_the_program() -> None:
    assert schema("commit")["properties"]["lane"]["enum"] == list(Lane)


@pytest.mark.parametrize(
    ("who", "listener", "method", "path", "headers", "status"),
    [
        (SIGNING, "clinical", "POST", "/origin", BATCH, 400),
        (SIGNING, "clinical", "POST", "/origin", {"Content-Type": "text/plain"}, 415),
        (SIGNING, "clinical", "DELETE", "/origin", {}, 405),
        (SIGNING, "clinical", "GET", "/nowhere", {}, 404),
        (SIGNING, "clinical", "GET", f"/consumers/{CONSUMER}/batch?lane=vitals", {}, 403),
        (NATIVE, "clinical", "GET", "/metadata", {"X-Long": "a" * 40_000}, 431),
        (GATEWAY, "clinical", "GET", "/" + "a" * 9_000, {}, 414),
        (None, "enrolment", "GET", "/time?nonce=00", {}, 400),
        (None, "enrolment", "GET", f"/time?nonce={'00' * 16}", {}, 503),
        (None, "enrolment", "POST", "/.well-known/est/simplereenroll", {}, 401),
        (None, "people", "GET", "/api/devices", {}, 401),
    ],
)
def test_problems(
    ward: Ward,
    who: str | None,
    listener: str,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    """Goal: REQ-ERR-003 on every listener, also where no route was found."""
    answer = ward.client(who, listener).request(method, path, headers=headers, content=b"")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    judge("problem", answer.json())
    assert answer.json()["status"] == answer.status_code
    assert ("retry-after" in answer.headers) == (answer.status_code in {429, 503})


class GoldenTime:
    """The signer's answer of the golden vectors; as much of the port as `/time` needs."""

    def __init__(self) -> None:
        vector = json.loads((VECTORS / "trust.json").read_text(encoding="utf-8"))["signed_time"]
        self.nonce: str = vector["nonce"]
        self.answer = SignedTime(
            statement=bytes.fromhex(vector["statement"]),
            signature=bytes.fromhex(vector["signature"]),
            chain_der=tuple(bytes.fromhex(each) for each in vector["chain"]),
        )

    async def sign_time(self, _nonce: bytes) -> SignedTime:
        return self.answer


def test_signed_time_is_rendered_as_the_schema_says() -> None:
    """Goal: REQ-ID-020; the bytes are the golden ones, the JSON is that of the route."""
    golden, sent = GoldenTime(), list[dict[str, Any]]()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    made = EnrolmentRoutes(cast("Any", None), cast("Any", golden), clock=lambda: 0).routes()
    handler = next(route.handler for route in made if route.path == "/time")
    scope = {"query_string": f"nonce={golden.nonce}".encode()}
    asyncio.run(cast("Any", handler(scope, receive, send)))
    document = json.loads(sent[-1]["body"])
    judge("time", document)
    assert base64.b64decode(document["statement"], validate=True) == golden.answer.statement


def test_devices_are_listed_as_documented(ward: Ward) -> None:
    client: httpx.Client = ward.client(None, "people")
    token = (ward.hospital.data / "hub" / "admin.token").read_text().strip()
    answer = client.get("/api/devices", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    found = answer.json()["devices"]
    assert {device["name"] for device in found} >= {SIGNING, GATEWAY}
    people = yaml.safe_load((SCHEMAS.parent / "openapi" / "people.yaml").read_text("utf-8"))
    device = people["components"]["schemas"]["Device"]
    for each in found:
        jsonschema.Draft202012Validator(device).validate(each)
