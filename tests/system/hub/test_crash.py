"""Kill -9 under load: what was acknowledged is there, once; and restarts invent nothing."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hub_ward import CONSUMER, OTHER, SIGNING, Ward

import load
import vitals
from asepsis.core.model.lanes import Lane
from asepsis.hub.delivery.records import BINARY, from_binary

BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
LEASE_S = 2.0


def technical(ward: Ward, *, after: int = 0) -> list[dict[str, Any]]:
    """Return the hub's own alarm events after a position, read as the consumer reads them."""
    client = ward.client(CONSUMER)
    path = f"/consumers/{CONSUMER}/batch?lane=alert&max=1000"
    answer = client.get(path, headers={"Accept": BINARY})
    records = from_binary(answer.content, Lane.ALERT)
    found = [r for r in records if r.append.kind == "technical-alarm" and r.position > after]
    return [msgspec.json.decode(r.append.body) | {"position": r.position} for r in found]


def wait_for(
    look: Callable[[], list[dict[str, Any]]], seconds: float = 8.0
) -> list[dict[str, Any]]:
    """Look until there is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    return []


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_kill_9(prepared: Callable[..., Ward]) -> None:
    """Goal: three kills under load; every acknowledged record is in the journal exactly once."""
    ward = prepared()
    acks: list[load.Ack] = []
    beds = [ward.bed(SIGNING), ward.bed(OTHER)]

    async def burst(port: int) -> None:
        links = await load.connect_all(beds, port, acks.append)
        loop = asyncio.get_running_loop()
        assert ward.hub is not None
        loop.call_later(0.7, ward.hub.process.kill)
        for _ in range(40):
            for bed, one, two in links:
                batch, packet = bed.measure(time.time_ns(), time.monotonic_ns())
                one.post(bed.sequence, batch)
                two.post(bed.sequence, packet)
            await asyncio.sleep(0.02)
        for lane in [lane for _, *lanes in links for lane in lanes]:
            if lane.transport:  # The end of a killed hub may not have been heard of yet.
                lane.transport.abort()
        await asyncio.sleep(0.1)

    for _ in range(3):
        port = ward.start().port
        asyncio.run(burst(port))
        assert ward.hub is not None
        ward.hub.process.wait()
        for bed in beds:  # A device that lost its hub begins again after a reboot.
            bed.epoch += 1
            bed.sequence, bed.previous = 0, load.NO_PREVIOUS
    stored = load.stored(acks)
    assert len(stored) > 30
    assert stored <= vitals.journalled(ward.hospital)


@pytest.mark.slow
def test_silence_is_one_condition_over_a_restart(prepared: Callable[..., Ward]) -> None:
    """Goal: onset after the lease, no second onset and no end by a crash, an end by a batch."""
    ward = prepared()
    ward.start()
    bed = ward.bed(SIGNING)
    batch, _ = bed.measure(time.time_ns(), time.monotonic_ns())
    assert ward.client(SIGNING).post("/origin", content=batch, headers=BATCH).status_code == 201
    began = time.monotonic()
    onset = wait_for(lambda: technical(ward))
    assert LEASE_S - 0.2 < time.monotonic() - began < LEASE_S + 3
    assert [(e["cause"], e["phase"], e["device"]) for e in onset] == [("silence", 1, SIGNING)]

    assert ward.hub is not None
    ward.hub.kill()
    ward.start()
    time.sleep(LEASE_S + 1)
    assert [e["phase"] for e in technical(ward)] == [1]

    batch, _ = bed.measure(time.time_ns(), time.monotonic_ns())
    assert ward.client(SIGNING).post("/origin", content=batch, headers=BATCH).status_code == 201
    end = wait_for(lambda: technical(ward, after=onset[0]["position"]))
    assert end[0]["phase"] == 3
    assert end[0]["condition_id"] == onset[0]["condition_id"]


@pytest.mark.slow
def test_a_watched_device_that_died_with_the_hub_is_missed(prepared: Callable[..., Ward]) -> None:
    """Goal: after a restart every watched device has one fresh lease, then it is an alarm."""
    ward = prepared()
    ward.start()
    batch, _ = ward.bed(SIGNING).measure(time.time_ns(), time.monotonic_ns())
    assert ward.client(SIGNING).post("/origin", content=batch, headers=BATCH).status_code == 201
    assert ward.hub is not None
    ward.hub.kill()
    ward.start()
    ready = time.monotonic()
    found = wait_for(lambda: technical(ward))
    assert time.monotonic() - ready > LEASE_S - 0.5
    assert [(e["cause"], e["phase"]) for e in found] == [("silence", 1)]


@pytest.mark.slow
def test_a_gap_is_a_condition_until_late_batches_fill_it(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    ward.start()
    bed = ward.bed(SIGNING)
    batches = [bed.measure(time.time_ns(), time.monotonic_ns())[0] for _ in range(5)]
    client = ward.client(SIGNING)
    for index in (0, 4):
        assert client.post("/origin", content=batches[index], headers=BATCH).status_code == 201
    found = wait_for(lambda: [e for e in technical(ward) if e["cause"] == "gap"])
    assert found[0]["phase"] == 1
    assert found[0]["epochs"] == [1]
    assert client.post("/origin", content=batches[1], headers=BATCH).status_code == 409
    for index in (1, 2, 3):
        assert client.post("/late", content=batches[index], headers=BATCH).status_code == 201
    ends = wait_for(lambda: [e for e in technical(ward) if e["cause"] == "gap" and e["phase"] == 3])
    assert ends[0]["condition_id"] == found[0]["condition_id"]


def test_overtaking_within_two_seconds_is_no_gap(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    ward.start()
    bed = ward.bed(SIGNING)
    batches = [bed.measure(time.time_ns(), time.monotonic_ns())[0] for _ in range(3)]
    client = ward.client(SIGNING)
    for index in (0, 2, 1):
        assert client.post("/origin", content=batches[index], headers=BATCH).status_code == 201
