"""Live views and revocation on a real hub."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from hub_ward import CONSUMER, GATEWAY, OTHER, SIGNING, UNSIGNED, Ward

from asepsis.core.mapping.fhir_time import to_instant

BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
WAVES = {"Content-Type": "application/vnd.asepsis.waveform"}
ALARM = {"Content-Type": "application/vnd.asepsis.alarm+json", "Asepsis-Epoch": "1"}


def events(answer: httpx.Response) -> Iterator[tuple[str, str | None, Any]]:
    """Yield (event, id, data) of a stream."""
    name, position = "", None
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            position = value
        elif field == "data":
            yield name, position, json.loads(value)
            name, position = "", None


def alarm(number: int, phase: str) -> bytes:
    return msgspec.json.encode(
        {
            "device": UNSIGNED,
            "events": [
                {
                    "conditionId": f"00000000-0000-4000-8000-{number:012x}",
                    "phase": phase,
                    "kind": "physiological",
                    "priority": "high",
                    "latching": False,
                    "inactivation": "none",
                    "mdcCode": 196_652,
                    "at": to_instant(time.time_ns()),
                    "text": "ASYSTOLE",
                }
            ],
        }
    )


def post_alarm(ward: Ward, sequence: int, phase: str = "onset") -> None:
    headers = ALARM | {"Asepsis-Sequence": str(sequence)}
    body = alarm(sequence, phase)
    answer = ward.client(GATEWAY).post("/alerts", content=body, headers=headers)
    assert answer.status_code == 201, answer.text


def test_values_come_live_and_are_blanked_when_stale(ward: Ward) -> None:
    """Goal: current numerics with their assurance, proven waveforms, blanks after six seconds."""
    bed = ward.bed(OTHER)
    poster = ward.client(OTHER)
    watcher = ward.client(CONSUMER)
    path = f"/views/live?device={OTHER}&waveforms=1"
    with watcher.stream("GET", path) as answer:
        stream = events(answer)
        batch, packet = bed.measure(time.time_ns(), time.monotonic_ns())
        assert poster.post("/waveforms", content=packet, headers=WAVES).status_code == 201
        assert poster.post("/origin", content=batch, headers=BATCH).status_code == 201
        seen: dict[str, Any] = {}
        for name, _, data in stream:
            seen.setdefault(name, data)
            if name == "stale":
                break
    assert seen["numerics"]["assurance"] == "device-origin"
    assert seen["numerics"]["numerics"][1]["value"] == "61"
    assert seen["waveform"]["assurance"] == "device-origin"
    assert len(seen["stale"]["handles"]) == 28


def test_alarms_resume_after_the_last_event(ward: Ward) -> None:
    watcher = ward.client(CONSUMER)
    path = f"/views/live?device={UNSIGNED}"
    post_alarm(ward, 1)
    with watcher.stream("GET", path) as answer:
        first = next(e for e in events(answer) if e[0] == "alarm")
    assert first[1] is None, "what is still active does not move Last-Event-ID"
    with watcher.stream("GET", path) as answer:
        stream = events(answer)
        next(stream)
        post_alarm(ward, 2)
        position = next(e[1] for e in stream if e[0] == "alarm" and e[1])
    post_alarm(ward, 3)
    post_alarm(ward, 4)
    with watcher.stream("GET", path, headers={"Last-Event-ID": position or ""}) as answer:
        stream = events(answer)
        missed = [next(e for e in stream if e[0] == "alarm") for _ in range(2)]
    assert [e[2]["condition_id"][-1] for e in missed] == ["3", "4"]
    assert missed[0][2]["assurance"] == "source-claimed"
    assert missed[0][2]["text"] == "ASYSTOLE"


@pytest.mark.slow
def test_revocation_ends_streams_within_a_second(prepared: Callable[..., Ward]) -> None:
    """Goal: REQ-SUB-005 and REQ-ID-016, with the signer away: revocation is the hub's own."""
    ward = prepared()
    ward.start()
    token = (ward.hospital.data / "hub/admin.token").read_text().strip()
    watcher = ward.client(CONSUMER)
    ended: list[float] = []
    opened = threading.Event()

    def watch() -> None:
        try:
            with watcher.stream("GET", f"/views/live?device={SIGNING}") as answer:
                for _ in answer.iter_lines():
                    opened.set()
        except httpx.TransportError:
            pass
        ended.append(time.monotonic())

    thread = threading.Thread(target=watch)
    thread.start()
    assert opened.wait(10)
    people = ward.client(None, "people")
    path = f"/api/devices/{CONSUMER.replace(':', '%3A')}/revoke"
    headers = {"Authorization": f"Bearer {token}"}
    asked = people.post(path, json={"reason": "test"}, headers=headers)
    assert asked.json()["done"] is False
    began = time.monotonic()
    done = people.post(path, json={"reason": "test", "confirm": CONSUMER}, headers=headers)
    assert done.json()["done"] is True, done.text
    thread.join(10)
    assert ended[0] - began < 1.0
    refused = ward.client(CONSUMER).get("/metadata")
    assert refused.status_code == 403
    assert refused.json()["code"] == "ASP-202"
