"""vitals: 1,000 beds, each one signed batch and 3.6 KB of waveform a second, hub on one core.

Every bed has its own certificate, its own origin key and one TLS connection per lane. Nothing may
be lost: the ledger of acknowledgements is compared with the journal after the hub is stopped. The
figure is the 99th percentile from the first byte sent to the acknowledgement of the durable record.
Beside it the limit program: same TLS, same bytes, same fsync, no checks.
"""

import argparse
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import uvloop

import load
from _report import report
from asepsis.core.journal.ports import Append
from asepsis.core.model.lanes import Lane
from asepsis.core.trust import tls
from asepsis.core.trust.identity import Profile
from asepsis.hub.opening import open_journal, open_kek
from asepsis.hub.settings import read_settings
from hospital import Hospital, Machine, device_name

TARGET_MS = 100.0
HUB_CORE, LOAD_CORE = 0, 1


def make_beds(machines: list[Machine], root_der: bytes) -> list[load.Bed]:
    """Return fresh beds, each with its own TLS context."""
    beds: list[load.Bed] = []
    for machine in machines:
        assert machine.origin_key is not None
        context = tls.client_context(root_der=root_der, identity=machine.files)
        beds.append(load.Bed(machine.name, machine.origin_key, context))
    return beds


async def drive(
    beds: list[load.Bed], port: int, seconds: int
) -> tuple[list[load.Ack], list[float]]:
    """Connect every bed, let them send, and return the ledger and the generator's own lateness."""
    acks: list[load.Ack] = []
    late: list[float] = []
    began = time.perf_counter()
    load.make_ahead(beds, seconds=seconds)
    print(f"  records made in {time.perf_counter() - began:.1f} s", file=sys.stderr)
    began = time.perf_counter()
    links = await load.connect_all(beds, port, acks.append)
    print(f"  {2 * len(links)} connections in {time.perf_counter() - began:.1f} s", file=sys.stderr)
    await load.run_beds(links, seconds=seconds, late=late.append)
    for _, vitals, waves in links:
        for lane in (vitals, waves):
            assert lane.transport is not None
            lane.transport.abort()
    return acks, late


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def below(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in map(int, children) for found in (child, *below(child))]


def let_record_run_anywhere(hub_pid: int) -> None:
    """Pin the hub only: the process of its record is another program."""
    for pid in below(hub_pid):
        os.sched_setaffinity(pid, range(os.cpu_count() or 1))


def read_journal(hospital: Hospital, lane: Lane) -> list[Append]:
    """Return everything that a stopped hub's journal holds in a lane."""
    settings = read_settings(hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
    journal = open_journal(settings, kek, clock=time.time_ns)
    found: list[Append] = []
    after = 0
    while records := journal.read(lane, after=after, records_max=5_000):
        after = records[-1].position
        found += [record.append for record in records]
    journal.close()
    return found


def journalled(hospital: Hospital) -> set[tuple[str, str, int, int]]:
    """Return what the journal holds: lane's path, device, epoch, sequence."""
    found = [
        (path, r.producer, r.epoch, r.sequence)
        for lane, path in ((Lane.VITALS, "/origin"), (Lane.WAVEFORM, "/waveforms"))
        for r in read_journal(hospital, lane)
    ]
    assert len(found) == len(set(found)), "a record is in the journal twice"
    return set(found)


def run_hub(beds_wanted: int, seconds: int) -> dict[str, float]:
    """Measure the hub once."""
    folder = Path(tempfile.mkdtemp(prefix="asepsis-vitals-"))
    try:
        hospital = Hospital(folder)
        machines = hospital.enlist(
            (device_name(n), Profile.DEVICE) for n in range(1, beds_wanted + 1)
        )
        hub = hospital.start_hub(core=HUB_CORE)
        try:
            let_record_run_anywhere(hub.process.pid)
            beds = make_beds(machines, hospital.root_der)
            before = cpu_seconds(hub.process.pid)
            acks, late = uvloop.run(drive(beds, hub.port, seconds))
            busy = cpu_seconds(hub.process.pid) - before
            record_busy = sum(map(cpu_seconds, below(hub.process.pid)))
        finally:
            hub.stop()
        sent = 2 * beds_wanted * seconds
        figures = _figures(acks, late, busy, journalled(hospital), sent=sent)
        return figures | {"record_cpu_s": record_busy}
    finally:
        shutil.rmtree(folder)


def run_limit(beds_wanted: int, seconds: int) -> dict[str, float]:
    """Measure the limit program once, with the same beds."""
    folder = Path(tempfile.mkdtemp(prefix="asepsis-limit-"))
    try:
        hospital = Hospital(folder)
        machines = hospital.enlist(
            (device_name(n), Profile.DEVICE) for n in range(1, beds_wanted + 1)
        )
        program = Path(__file__).with_name("limit_hub.py")
        command = ["taskset", "-c", str(HUB_CORE), sys.executable, str(program)]
        tls_folder = hospital.data / "hub/tls"
        arguments = [
            tls_folder / "chain.pem",
            tls_folder / "key.pem",
            hospital.data / "ca/issuing.crt",
            folder / "limit.log",
        ]
        with subprocess.Popen([*command, *map(str, arguments)], stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            beds = make_beds(machines, hospital.root_der)
            before = cpu_seconds(server.pid)
            try:
                acks, late = uvloop.run(drive(beds, port, seconds))
                busy = cpu_seconds(server.pid) - before
            finally:
                server.kill()
        return _figures(acks, late, busy, load.stored(acks), sent=2 * beds_wanted * seconds)
    finally:
        shutil.rmtree(folder)


def _figures(
    acks: list[load.Ack],
    late: list[float],
    busy: float,
    durable: set[tuple[str, str, int, int]],
    *,
    sent: int,
) -> dict[str, float]:
    times = [a.seconds * 1_000 for a in acks if a.status in {200, 201}]
    return {
        "p50_ms": load.quantile(times, 0.5),
        "p99_ms": load.quantile(times, 0.99),
        "p999_ms": load.quantile(times, 0.999),
        "max_ms": max(times, default=0.0),
        "sent": sent,
        "acknowledged": len(times),
        "refused": sum(a.status not in {200, 201} for a in acks),
        "lost": len(load.stored(acks) - durable),
        "hub_cpu_s": busy,
        "generator_late_p99_ms": load.quantile(late, 0.99) * 1_000,
    }


def main() -> None:
    """Run hub and limit program in turn and print the one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beds", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    hub_runs: list[dict[str, float]] = []
    limit_runs: list[dict[str, float]] = []
    for run in range(given.runs):
        limit_runs.append(run_limit(given.beds, given.seconds))
        print(f"run {run + 1} limit {limit_runs[-1]}", file=sys.stderr)
        hub_runs.append(run_hub(given.beds, given.seconds))
        print(f"run {run + 1} hub   {hub_runs[-1]}", file=sys.stderr)
    lost = sum(int(r["lost"] + r["sent"] - r["acknowledged"]) for r in hub_runs)
    # What was lost is no figure: a run that loses has failed, whatever its speed.
    value = median(r["p99_ms"] for r in hub_runs) if not lost else float("inf")
    met = report(
        "vitals",
        value if not lost else 1e9,
        "ms p99 of durable acknowledgement",
        peer="limit program (same TLS, bytes and fsync; no checks)",
        peer_value=median(r["p99_ms"] for r in limit_runs),
        target=TARGET_MS,
        higher_is_better=False,
        beds=given.beds,
        seconds=given.seconds,
        runs=given.runs,
        lost=lost,
        p50_ms=round(median(r["p50_ms"] for r in hub_runs), 2),
        hub_core_busy=round(median(r["hub_cpu_s"] for r in hub_runs) / given.seconds, 2),
        record_core_busy=round(median(r["record_cpu_s"] for r in hub_runs) / given.seconds, 2),
        peer_core_busy=round(median(r["hub_cpu_s"] for r in limit_runs) / given.seconds, 2),
    )
    sys.exit(0 if met and not lost else 1)


if __name__ == "__main__":
    assert ssl.OPENSSL_VERSION_INFO >= (3,), "the figures were made with OpenSSL 3"
    main()
