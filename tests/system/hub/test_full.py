"""A full lane and a full disk: back-pressure, alerts go on, then recovery."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from hub_ward import CONSUMER, GATEWAY, SIGNING, UNSIGNED, Ward, make_ward

from asepsis.core.mapping.fhir_time import to_instant

BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
SMALL_VITALS = """
[journal]
expire_every_s = 0.3
[journal.lanes.vitals]
bytes_max = 65536
age_s = 60
[exchange]
rate_factor = 100
"""


def alarm(ward: Ward, sequence: int) -> int:
    headers = {
        "Content-Type": "application/vnd.asepsis.alarm+json",
        "Asepsis-Epoch": "1",
        "Asepsis-Sequence": str(sequence),
    }
    event = {
        "conditionId": "00000000-0000-4000-8000-000000000001",
        "phase": "onset",
        "kind": "physiological",
        "priority": "high",
        "latching": False,
        "inactivation": "none",
        "mdcCode": 196_652,
        "at": to_instant(time.time_ns()),
    }
    document = {"device": UNSIGNED, "events": [event]}
    return ward.client(GATEWAY).post("/alerts", json=document, headers=headers).status_code


def fill(client: httpx.Client, ward: Ward, *, most: int) -> tuple[httpx.Response, bytes, int]:
    """Post batches until one is refused; return the refusal, its batch and how many went before."""
    bed = ward.bed(SIGNING)
    for count in range(most):
        batch, _ = bed.measure(time.time_ns(), time.monotonic_ns())
        answer = client.post("/origin", content=batch, headers=BATCH)
        if answer.status_code != 201:
            return answer, batch, count
    raise AssertionError(f"{most} batches fitted")


@pytest.mark.slow
def test_a_full_lane_answers_503_and_alerts_go_on(prepared: Callable[..., Ward]) -> None:
    """Goal: nothing undelivered is dropped; the lane refuses, the alert lane does not."""
    ward = prepared(more=SMALL_VITALS)
    ward.start()
    client = ward.client(SIGNING)
    refused, batch, count = fill(client, ward, most=500)
    assert refused.status_code == 503
    assert refused.json()["code"] == "ASP-401"
    assert int(refused.headers["Retry-After"]) >= 1
    assert alarm(ward, 1) == 201
    assert client.post("/origin", content=batch, headers=BATCH).status_code == 503
    held = ward.client(CONSUMER).get(f"/consumers/{CONSUMER}/batch?lane=vitals&max=1000").json()
    assert len(held["records"]) == count


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.root
@pytest.mark.slow
def test_a_full_disk_is_back_pressure_then_recovery(small_disk: Path) -> None:
    """Goal: 503 while the disk is full, what was acknowledged is kept, 201 with space again."""
    ward = make_ward(small_disk, more="[exchange]\nrate_factor = 100\n")
    try:
        ward.start()
        client = ward.client(SIGNING)
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(bytes(65_536))
                    file.flush()
            except OSError:
                pass
        refused, batch, count = fill(client, ward, most=20_000)
        assert refused.status_code == 503, refused.text
        assert alarm(ward, 1) == 201
        ballast.unlink()
        deadline = time.monotonic() + 30
        while client.post("/origin", content=batch, headers=BATCH).status_code not in {200, 201}:
            assert time.monotonic() < deadline, "no recovery"
            time.sleep(0.5)
        records = ward.client(CONSUMER).get(f"/consumers/{CONSUMER}/batch?lane=vitals&max=1000")
        assert len(records.json()["records"]) >= min(count, 1_000)
    finally:
        ward.close()
