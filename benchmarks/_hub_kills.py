"""kill -9 of a whole hub under load, again and again; the ledger of answers is kept by us.

Every bed sends signed batches and waveform packets as fast as they are acknowledged. After each
kill a bed sends the record that was in flight again (its fate is unknown to the sender) and goes on
in the same chain. At the end the stopped hub's journal is compared with every
answer that was ever given.
"""

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import uvloop

import load
from _durability_check import Damage
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.identity import Profile
from hospital import Hospital, HubProcess, device_name
from vitals import make_beds, read_journal

BEDS = 20
ALIVE_S = (0.3, 2.5)
WAVEFORM = "application/vnd.asepsis.waveform"
PATHS = {Lane.VITALS: "/origin", Lane.WAVEFORM: "/waveforms", Lane.LATE: "/late"}
Key = tuple[str, str, int, int]


class Ledger:
    """Every answer 200 or 201 that beds ever got, and what they are still waiting for."""

    def __init__(self) -> None:
        self.acknowledged: set[Key] = set()
        self.refused = 0

    def note(self, ack: load.Ack) -> None:
        """Keep one answer."""
        if ack.status in {200, 201}:
            self.acknowledged.add((ack.lane, ack.device, ack.epoch, ack.sequence))
        else:
            self.refused += 1


async def press(beds: list[load.Bed], hub: HubProcess, ledger: Ledger, *, alive_s: float) -> None:
    """Load the hub from every bed, kill it in the middle, and let the connections notice."""
    links = await load.connect_all(beds, hub.port, ledger.note)
    for bed, vitals, waves in links:
        resend(bed, vitals, waves)
    stop_at = time.perf_counter() + alive_s
    while time.perf_counter() < stop_at:
        for bed, vitals, waves in links:
            if vitals.unanswered == 0 and waves.unanswered == 0:
                bed.last = bed.measure(time.time_ns(), time.monotonic_ns())
                vitals.post(bed.sequence, bed.last[0])
                waves.post(bed.sequence, bed.last[1])
        await asyncio.sleep(0)
    hub.kill()
    await asyncio.sleep(0.2)  # Answers that had left the hub before it died still count.
    for _, vitals, waves in links:
        for lane in (vitals, waves):
            if lane.transport is not None:
                lane.transport.abort()


def resend(bed: load.Bed, vitals: load.Lane, waves: load.Lane) -> None:
    """Send again what was in flight when the hub died; it may be there already."""
    if bed.last:
        vitals.post(bed.sequence, bed.last[0])
        waves.post(bed.sequence, bed.last[1])


def compare(hospital: Hospital, ledger: Ledger) -> Damage:
    """Compare the stopped hub's journal with the ledger."""
    found: Counter[Key] = Counter()
    for lane, path in PATHS.items():
        for record in read_journal(hospital, lane):
            found[path, record.producer, record.epoch, record.sequence] += 1
    lost = ledger.acknowledged - found.keys()
    return Damage(
        held=found.total(),
        acknowledged=len(ledger.acknowledged),
        missing=len(lost),
        twice=sum(count > 1 for count in found.values()),
        examples=[str(key) for key in sorted(lost)[:5]],
    )


def hub_kills(times: int) -> Damage:
    """Kill a loaded hub so many times and return what was lost or doubled."""
    folder = Path(tempfile.mkdtemp(prefix="asepsis-kills-"))
    try:
        hospital = Hospital(folder)
        machines = hospital.enlist((device_name(n), Profile.DEVICE) for n in range(1, BEDS + 1))
        beds = make_beds(machines, hospital.root_der)
        ledger = Ledger()
        for n in range(1, times + 1):
            hub = hospital.start_hub()
            alive_s = random.uniform(*ALIVE_S)
            before = len(ledger.acknowledged)
            uvloop.run(press(beds, hub, ledger, alive_s=alive_s))
            print(
                f"hub kill -9 {n}/{times} after {alive_s:.1f} s:"
                f" {len(ledger.acknowledged) - before} acknowledged, {ledger.refused} refused",
                flush=True,
            )
        return compare(hospital, ledger)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    result = hub_kills(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    print(result)
    sys.exit(1 if result.total or not result.acknowledged else 0)
