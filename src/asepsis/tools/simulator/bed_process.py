"""A scripted device as a process: `python -m asepsis.tools.simulator.bed_process ORDER`.

Reads commands from standard input, one a line: `onset`, `end`, `stop`. Writes what happens to
standard output, one JSON object a line, for the story that started it.
"""

import queue
import random
import sys
import threading
import time
from pathlib import Path
from typing import Final

from asepsis.core.journal.limits import MIB, JournalLimits, LaneBudget
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.alarm import AlarmPhase
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.sealing import kek_from_passphrase
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.trust.sealing_libcrypto import LibcryptoAead
from asepsis.core.wire import frames, origin_peek
from asepsis.edge.uplink import uplink as uplink_module
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.edge.uplink.outgoing import Fate, Outgoing
from asepsis.edge.uplink.spool import Spool
from asepsis.edge.uplink.uplink import Uplink
from asepsis.tools.simulator import ledger
from asepsis.tools.simulator.bed import Bed, new_boot_id
from asepsis.tools.simulator.joining import join
from asepsis.tools.simulator.orders import Order, carry_out
from asepsis.tools.simulator.telling import STOP, listen, say

ORIGIN: Final = "origin"
WAVEFORM: Final = "waveform"
SPOOL_BUDGET: Final = LaneBudget(bytes_max=64 * MIB, age_s=0)
BUILD_NS: Final = 1_767_225_600 * 10**9
"""2026-01-01: no signed time can be older than the software."""
_MARKS: Final = {
    Fate.ACKNOWLEDGED: ledger.ACKED,
    Fate.ACKNOWLEDGED_LATE: ledger.ACKED_LATE,
    Fate.REFUSED: ledger.REFUSED,
}


class BedProcess:
    """The life of one scripted device.

    Args:
        order: What to be and where to go.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = IdentityFolder(Path(order.folder))
        self._ledger = ledger.LedgerWriter(Path(order.ledger))
        self._ledger_lock = threading.Lock()
        self._commands: queue.Queue[str] = queue.Queue()
        self._rng = random.Random(order.seed)  # noqa: S311 - jitter and simulation
        self._uplink: Uplink | None = None
        self._alarm_sent_ns: dict[int, int] = {}
        self._seen = {"reachable": False, "refused": False}

    def run(self) -> None:
        """Enrol if needed, then measure and send until told to stop."""
        join(self._folder, self._order, rng=self._rng)
        say("enrolled")
        clock = TrustedClock(
            self._folder.path / "time.json",
            boot_id=new_boot_id(),
            monotonic=time.monotonic_ns,
            build_ns=BUILD_NS,
        )
        journal = self._open_spool(clock)
        uplink = Uplink(
            self._folder,
            spool=Spool(journal, now_ns=clock.now_ns),
            clock=clock,
            monotonic=time.monotonic_ns,
            rng=self._rng,
            report=self._report,
        )
        self._uplink = uplink
        bed = Bed(
            uplink.device,
            key=self._folder.key("origin"),
            epoch=self._folder.next_epoch(wall_s=clock.now_ns() // 10**9),
            clock=clock,
            seed=self._order.seed,
        )
        self._commands = listen()
        uplink.start()
        try:
            self._measure(bed, uplink)
            uplink.drained.wait(5.0)
        finally:
            uplink.close()
            journal.close()
            self._ledger.close()

    def _open_spool(self, clock: TrustedClock) -> SqliteJournal:
        folder = self._folder.path / "spool"
        folder.mkdir(mode=0o700, exist_ok=True)
        kek = kek_from_passphrase(
            Path(self._order.passphrase_file), salt_file=self._folder.path / "spool.salt"
        )
        return SqliteJournal(
            folder / "journal",
            cipher=DayKeys(folder / "keys", kek=kek, aead=LibcryptoAead()),
            lanes={Lane.LATE: SPOOL_BUDGET},
            clock=clock.now_ns,
            limits=JournalLimits(reserve_bytes=0),
        )

    def _measure(self, bed: Bed, uplink: Uplink) -> None:
        due_s = time.monotonic() + self._rng.uniform(0, 1)
        while True:
            command = self._next_command(due_s)
            if command == STOP:
                return
            if command:
                self._alarm(bed, uplink, command)
                continue
            due_s += 1.0
            batch, packet = bed.second()
            self._made(ORIGIN, batch)
            self._made(WAVEFORM, packet)
            uplink.send_batch(batch, has_alarm_event=False)
            uplink.send_waveforms(packet)
            returned = uplink.reachable and not self._seen["reachable"]
            self._tell("reachable", now=uplink.reachable)
            if returned and bed.alarming:
                # Its onset may have become history meanwhile; the condition lasts.
                self._alarm(bed, uplink, "change")

    def _next_command(self, due_s: float) -> str:
        try:
            return self._commands.get(timeout=max(0.0, due_s - time.monotonic()))
        except queue.Empty:
            return ""

    def _alarm(self, bed: Bed, uplink: Uplink, command: str) -> None:
        batch = bed.alarm(AlarmPhase[command.upper()])
        self._alarm_sent_ns[self._made(ORIGIN, batch)] = time.monotonic_ns()
        uplink.send_batch(batch, has_alarm_event=True)

    def _made(self, kind: str, body: bytes) -> int:
        header = (origin_peek if kind == ORIGIN else frames).peek_header(body)
        self._write(ledger.MADE, kind, header.epoch, header.sequence, body)
        return header.sequence

    def _report(self, record: Outgoing, fate: Fate) -> None:
        kind = WAVEFORM if record.media_type == uplink_module.WAVEFORM else ORIGIN
        if fate in _MARKS:
            self._write(_MARKS[fate], kind, record.epoch, record.sequence, record.body)
        sent_ns = self._alarm_sent_ns.pop(record.sequence, None) if kind == ORIGIN else None
        if sent_ns and fate is Fate.ACKNOWLEDGED:
            say("alarm-acknowledged", ms=(time.monotonic_ns() - sent_ns) / 1e6)
        if self._uplink:
            self._tell("refused", now=self._uplink.refused)

    def _write(self, mark: str, kind: str, epoch: int, sequence: int, body: bytes) -> None:
        with self._ledger_lock:
            self._ledger.write(mark, ledger.key_of(kind, self._order.name, epoch, sequence, body))

    def _tell(self, what: str, *, now: bool) -> None:
        if self._seen[what] != now:
            self._seen[what] = now
            say(what, now=now)


def _run(order: Order) -> bool:
    BedProcess(order).run()
    return True


def main() -> int:
    """Run one scripted device; 1 if it could not go on."""
    return carry_out(_run, description="A scripted device; its patient is simulated.")


if __name__ == "__main__":
    sys.exit(main())
