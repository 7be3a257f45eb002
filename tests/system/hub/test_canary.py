"""No patient data in clear text: planted, run, killed, then searched for in everything written."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_ward import GATEWAY, OTHER, UNSIGNED, Ward

import vitals
from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.origin import sign_batch
from asepsis.core.wire.origin import decode_batch, encode_batch

PLANTING_S = 60
NAME = "CANARY^JANE"
SEARCHED = (NAME.encode(), NAME.encode("utf-16-le"), b"CANARY")
BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
ER7 = "MSH|^~\\&|MON|ICU|EHR|H|20260101120000||ADT^A01|%d|P|2.6\rPID|||1||%s\r"


def numbered(media: str, sequence: int) -> dict[str, str]:
    return {"Content-Type": media, "Asepsis-Epoch": "1", "Asepsis-Sequence": str(sequence)}


def alarm_batch(ward: Ward) -> bytes:
    """Return a signed batch whose alarm text names the patient."""
    bed = ward.bed(OTHER)
    plain = decode_batch(bed.measure(time.time_ns(), time.monotonic_ns())[0])
    event = AlarmEvent(
        condition_id=bytes(16),
        phase=AlarmPhase.ONSET,
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=AlarmPriority.HIGH,
        latching=False,
        inactivation=Inactivation.NONE,
        mdc_code=196_652,
        source_handle=0,
        offset_ms=0,
        text=NAME,
    )
    part = encode_batch(plain.header, numerics=plain.numerics(), alarms=[event])
    return sign_batch(bed.origin_key, part)


def plant(ward: Ward, sequence: int) -> None:
    """Send the name on every lane that carries text, well-formed and malformed."""
    gateway = ward.client(GATEWAY)
    body = (ER7 % (sequence, NAME)).encode()
    headers = numbered("application/hl7-v2", sequence)
    assert gateway.post("/hl7v2", content=body, headers=headers).status_code == 200
    assert gateway.post("/hl7v2", content=body[:-9] + b"\x0b", headers=headers).status_code >= 400
    fhir = (
        '{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":'
        '"Device","identifier":[{"system":"urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680",'
        f'"value":"{UNSIGNED[12:]}"}}],"note":[{{"text":"{NAME}"}}]}}}}]}}'
    )
    headers = numbered("application/fhir+json", sequence)
    taken = gateway.post("/fhir", content=fhir.encode(), headers=headers)
    assert taken.status_code == 201, taken.text
    wrong = fhir.replace('"note"', f'"status":"{NAME}","note"')
    refused = gateway.post("/fhir", content=wrong.encode(), headers=headers)
    assert refused.status_code == 400
    assert NAME not in refused.text
    unknown = {"device": UNSIGNED, "events": [{"text": NAME, "phase": NAME}]}
    headers = numbered("application/vnd.asepsis.alarm+json", sequence)
    refused = gateway.post("/alerts", json=unknown, headers=headers)
    assert refused.status_code == 400
    assert NAME not in refused.text


@pytest.mark.slow
def test_the_canary_is_nowhere(
    prepared: Callable[..., Ward], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: a minute of planting, kill -9, and no hit in data, WAL, temporary files and logs."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("SQLITE_TMPDIR", str(temporary))
    ward = prepared(more='[log]\nlevel = "debug"\n[exchange]\nrate_factor = 100\n')
    hub = ward.start()
    answer = ward.client(OTHER).post("/alerts", content=alarm_batch(ward), headers=BATCH)
    assert answer.status_code == 201
    end, sequence = time.monotonic() + PLANTING_S, 0
    while time.monotonic() < end:
        sequence += 1
        plant(ward, sequence)
        time.sleep(0.05)
    hub.kill()
    written = [p for p in (*ward.hospital.folder.rglob("*"), *temporary.rglob("*")) if p.is_file()]
    assert sum(p.stat().st_size for p in written) > 50_000
    for path in written:
        content = path.read_bytes()
        for canary in SEARCHED:
            assert canary not in content, path
    # Proof that the search would find it: the same bytes, opened with the key, hold the name.
    records = vitals.read_journal(ward.hospital, Lane.MESSAGE)
    assert sum(NAME.encode() in record.body for record in records) == sequence
