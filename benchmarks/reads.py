"""reads: `$lastn` and one patient-day, read over TLS while 1,000 beds send, and how far behind.

One bed has a day of 28 numerics a second in its record before the load begins. Then people read:
the newest values of a bed that sends now, and one metric of the patient's whole day, every one of
its 86,400 values looked at, whose each was asked of the associations. The peer holds the same day
in plain SQLite, one row an observation, in clear, without TLS, rights, audit or load of its own.
"""

import argparse
import asyncio
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import uvloop

import charted
import load
from _report import report
from asepsis.core.journal.ports import Append
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.model.patient import PatientId
from asepsis.core.trust import tls
from asepsis.core.trust.identity import Profile
from asepsis.hub.access.principal import Role
from hospital import Hospital, HubProcess, device_name
from vitals import make_beds

LASTN_MS, DAY_MS, LAG_S = 20.0, 500.0, 2.0
LOAD_CORE = 1
S, DAY = 1_000_000_000, 86_400_000_000_000
NUMERICS = 28
FIRST_S = 4.0
PATIENT = PatientId("4711", "HOSPITAL")
WATCHED = device_name(900_001)


def day_of(device: str, start_ns: int, seconds: int) -> Iterator[Append]:
    """Yield a day of batches in which half of the values move by a step each second."""
    rng = random.Random(7)
    values = [rng.randint(60, 160) for _ in range(NUMERICS)]
    for second in range(seconds):
        for index in range(NUMERICS):
            if rng.random() < 0.5:
                values[index] = min(max(values[index] + rng.choice((-1, 1)), 30), 220)
        yield charted.batch(device, second + 1, start_ns + second * S, values)


def fill_peer(path: Path, start_ns: int, seconds: int) -> None:
    """Write the same day as rows."""
    rng = random.Random(7)
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE observation (device TEXT, code INT, t_ns INT, value REAL, unit INT,"
        " status INT, received_ns INT, epoch INT, sequence INT,"
        " PRIMARY KEY (device, code, t_ns)) WITHOUT ROWID"
    )
    for code in range(NUMERICS):
        connection.executemany(
            "INSERT INTO observation VALUES (?, ?, ?, ?, 264864, 0, ?, 1, ?)",
            (
                (WATCHED, charted.HEART_RATE + code, start_ns + n * S, rng.randint(50, 150),
                 start_ns + n * S, n) for n in range(seconds)
            ),
        )  # fmt: skip
    connection.commit()
    connection.close()


def read_peer(path: Path, start_ns: int, repeats: int) -> tuple[float, float, int]:
    """Return the median milliseconds of last values and day, and the bytes of the file."""
    connection = sqlite3.connect(path)
    lasts: list[float] = []
    days: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        for code in range(NUMERICS):
            connection.execute(
                "SELECT * FROM observation WHERE device=? AND code=? ORDER BY t_ns DESC LIMIT 1",
                (WATCHED, charted.HEART_RATE + code),
            ).fetchall()
        lasts.append(time.perf_counter() - began)
        began = time.perf_counter()
        connection.execute(
            "SELECT t_ns, value FROM observation WHERE device=? AND code=? AND t_ns>=? AND t_ns<?",
            (WATCHED, charted.HEART_RATE, start_ns, start_ns + DAY),
        ).fetchall()
        days.append(time.perf_counter() - began)
    connection.close()
    return load.quantile(lasts, 0.5) * 1e3, load.quantile(days, 0.5) * 1e3, path.stat().st_size


class Reader:
    """A person who reads while the beds send."""

    def __init__(self, hospital: Hospital, hub: HubProcess, token: str, admin: str) -> None:
        context = tls.client_context(root_der=hospital.root_der, identity=None)
        port = hub.ready["listeners"]["people"]["port"]
        self._client = httpx.AsyncClient(verify=context, base_url=f"https://localhost:{port}")
        self._person = {"Authorization": f"Bearer {token}"}
        self._admin = {"Authorization": f"Bearer {admin}"}
        self.lasts: list[float] = []
        self.days: list[float] = []
        self.pages: list[float] = []
        self.lags: list[float] = []
        self.waiting: list[int] = []

    async def run(self, beds: list[load.Bed], start_ns: int, seconds: float) -> None:
        """Read, four times a second, until the time is over."""
        rng, ends = random.Random(3), time.perf_counter() + seconds
        await asyncio.sleep(FIRST_S)  # Until every bed has sent and is readable.
        date = f"date=ge{to_instant(start_ns)}&date=lt{to_instant(start_ns + DAY)}"
        patient = quote(PATIENT.key())
        while time.perf_counter() < ends:
            bed = quote(rng.choice(beds).name, safe="")
            self.lasts.append(await self._time(f"/fhir/Observation/$lastn?device={bed}", 28))
            day = f"/trends?patient={patient}&code={charted.HEART_RATE}&{date}"
            self.days.append(await self._time(day, 0))
            page = f"/fhir/Observation?patient={patient}&{date}&_count=100"
            self.pages.append(await self._time(page, 100))
            await self._look()
            await asyncio.sleep(0.25)
        await self._client.aclose()

    async def _time(self, path: str, observations: int) -> float:
        began = time.perf_counter()
        answer = await self._client.get(path, headers=self._person, timeout=30)
        took = time.perf_counter() - began
        assert answer.status_code == 200, answer.text
        if observations:
            assert answer.text.count('"resourceType":"Observation"') == observations
        else:
            assert len(answer.json()["trends"][0]["points"]) > 50
        return took

    async def _look(self) -> None:
        status = await self._client.get("/api/status", headers=self._admin, timeout=30)
        state = status.json()["records"]
        self.lags.append(state["lag_p99_s"])
        self.waiting.append(state["waiting"])


async def drive(
    hospital: Hospital, hub: HubProcess, beds: list[load.Bed], reader: Reader, start_ns: int,
    seconds: int,
) -> list[load.Ack]:  # fmt: skip
    """Let every bed send and one person read; return the ledger."""
    acks: list[load.Ack] = []
    load.make_ahead(beds, seconds=seconds)
    links = await load.connect_all(beds, hub.port, acks.append)
    reading = asyncio.create_task(reader.run(beds, start_ns, seconds - 3))
    late: list[float] = []
    await load.run_beds(links, seconds=seconds, late=late.append)
    await reading
    for _, vitals, waves in links:
        for lane in (vitals, waves):
            assert lane.transport is not None
            lane.transport.abort()
    assert hospital
    return acks


def measure(folder: Path, beds_wanted: int, seconds: int, day_s: int) -> dict[str, float]:
    """Measure once."""
    hospital = Hospital(folder)
    names = [(device_name(n), Profile.DEVICE) for n in range(1, beds_wanted + 1)]
    machines = hospital.enlist([*names, (WATCHED, Profile.DEVICE)])[:-1]
    start_ns = (time.time_ns() // S - day_s - 3_600) * S
    charted.fill_record(hospital, day_of(WATCHED, start_ns, day_s))
    charted.chart(hospital, [(WATCHED, PATIENT, start_ns - 3_600 * S, start_ns + 2 * DAY)])
    token = charted.give_token(hospital, Role.CLINICIAN)
    admin = charted.give_token(hospital, Role.ADMINISTRATOR)
    hub = hospital.start_hub()  # On both cores, as its operator would start it.
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        beds = make_beds(machines, hospital.root_der)
        reader = Reader(hospital, hub, token, admin)
        acks = uvloop.run(drive(hospital, hub, beds, reader, start_ns, seconds))
        time.sleep(2)
    finally:
        hub.stop()
    times = [a.seconds * 1e3 for a in acks if a.status in {200, 201}]
    record = sum(p.stat().st_size for p in (hospital.data / "hub/records").glob("numerics.*"))
    return {
        "lastn_ms": load.quantile(reader.lasts, 0.5) * 1e3,
        "lastn_p95_ms": load.quantile(reader.lasts, 0.95) * 1e3,
        "day_ms": load.quantile(reader.days, 0.5) * 1e3,
        "day_p95_ms": load.quantile(reader.days, 0.95) * 1e3,
        "page_ms": load.quantile(reader.pages, 0.5) * 1e3,
        "lag_p99_s": max(reader.lags, default=0.0),
        "vitals_p99_ms": load.quantile(times, 0.99),
        "refused": len(acks) - len(times),
        "reads": len(reader.lasts),
        "record_bytes": record,
    }


def main() -> None:
    """Measure hub and peer and print the one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beds", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--day-seconds", type=int, default=86_400)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="asepsis-reads-"))
    try:
        found = measure(folder / "hospital", given.beds, given.seconds, given.day_seconds)
        start_ns = (time.time_ns() // S - given.day_seconds) * S
        fill_peer(folder / "peer.db", start_ns, given.day_seconds)
        peer_last, peer_day, peer_bytes = read_peer(folder / "peer.db", start_ns, 9)
    finally:
        shutil.rmtree(folder)
    met = report(
        "reads",
        found["lastn_ms"],
        "ms median of $lastn over TLS under load",
        peer="plain SQLite, one row an observation (no load, TLS, rights or sealing)",
        peer_value=peer_last,
        target=LASTN_MS,
        higher_is_better=False,
        beds=given.beds,
        seconds=given.seconds,
        lastn_p95_ms=round(found["lastn_p95_ms"], 2),
        day_ms=round(found["day_ms"], 1),
        day_p95_ms=round(found["day_p95_ms"], 1),
        day_target_ms=DAY_MS,
        peer_day_ms=round(peer_day, 1),
        page_of_100_ms=round(found["page_ms"], 1),
        lag_p99_s=round(found["lag_p99_s"], 3),
        lag_target_s=LAG_S,
        vitals_p99_ms=round(found["vitals_p99_ms"], 1),
        refused=int(found["refused"]),
        reads=int(found["reads"]),
        bytes_per_day_of_28=int(found["record_bytes"]),
        peer_bytes_per_day_of_28=peer_bytes,
    )
    held = found["day_ms"] <= DAY_MS and found["lag_p99_s"] <= LAG_S and not found["refused"]
    sys.exit(0 if met and held else 1)


if __name__ == "__main__":
    main()
