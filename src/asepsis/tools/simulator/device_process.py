"""A device in compartments as an actor: `python -m asepsis.tools.simulator.device_process ORDER`.

The device is the real one, as `asepsis device run` runs it. Commands: the keys of the bedside,
`intrude` (the network compartment falls into somebody's hands), `intrude-without-filter` (the same,
with one layer removed), `expel`, and `stop`.
"""

import os
import queue
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.manifest import NETWORK, ORIGIN, VITALS
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox.layers import detect, require_apart
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.simulator import break_in, ledger
from asepsis.tools.simulator.attack_watch import AttackWatch
from asepsis.tools.simulator.device_ledger import DeviceLedger
from asepsis.tools.simulator.joining import join
from asepsis.tools.simulator.orders import Order, carry_out
from asepsis.tools.simulator.telling import STOP, listen, say

DRAIN_S: Final = 25.0
"""Longest wait at the end for what lies in the spool, seconds."""
INTRUDE: Final = "intrude"
WITHOUT_FILTER: Final = "intrude-without-filter"
EXPEL: Final = "expel"


class DeviceProcess:
    """One device, its ledger, and whoever has broken into it.

    Args:
        order: What to be and where to go.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = IdentityFolder(Path(order.folder))
        self._preludes: dict[str, str] = {}
        self._ledger = DeviceLedger(ledger.LedgerWriter(Path(order.ledger)), name=order.name)
        self._told: dict[str, object] = {}
        self._supervisor: Supervisor | None = None
        self._watch = AttackWatch()

    def run(self) -> None:
        """Enrol if needed, then measure until told to stop."""
        rng = Random(self._order.seed)  # noqa: S311 - jitter
        join(self._folder, self._order, rng=rng)
        say("enrolled")
        found = detect()
        require_apart(found.holding)
        commands = listen()
        supervisor = Supervisor(
            self._folder,
            holding=found.holding,
            setting=Setting(
                kind=Kind(self._order.profile), seed=self._order.seed, preludes=self._preludes
            ),
            tell=self._tell,
        )
        self._supervisor = supervisor
        try:
            while self._obey(supervisor, commands):
                self._step(supervisor)
            deadline_s = time.monotonic() + DRAIN_S
            while self._waits and time.monotonic() < deadline_s:
                self._step(supervisor)
        finally:
            supervisor.close()
            self._watch.close()
            self._ledger.close()
        say("stopped", spooled=self._ledger.spooled, unread=self._ledger.lost)

    @property
    def _waits(self) -> bool:
        """Whether the spool may still be drained: a revoked device keeps what it has."""
        return self._ledger.spooled > 0 and not self._told.get("refused")

    def _step(self, supervisor: Supervisor) -> None:
        supervisor.step()
        self._ledger.follow(supervisor.feed(ORIGIN))
        if told := self._watch.look(supervisor.feed(VITALS), starts=supervisor.starts[VITALS]):
            say("watched", **told)

    def _obey(self, supervisor: Supervisor, commands: "queue.Queue[str]") -> bool:
        try:
            command = commands.get_nowait()
        except queue.Empty:
            return True
        if command == STOP:
            return False
        if command in (INTRUDE, WITHOUT_FILTER):
            layers = detect().holding - ({break_in.REMOVED} if command == WITHOUT_FILTER else set())
            self._watch.begin(starts=supervisor.starts[VITALS])
            self._preludes[NETWORK] = break_in.prelude(self._folder, supervisor, layers=layers)
            self._restart_network(supervisor)
        elif command == EXPEL:
            self._watch.end()
            self._preludes.clear()
            self._restart_network(supervisor)
        else:
            supervisor.bedside(command)
        return True

    def _restart_network(self, supervisor: Supervisor) -> None:
        """Kill the network compartment and its spare; it starts anew, with whoever is in it."""
        for pid in (supervisor.standby_pid(NETWORK), supervisor.pid(NETWORK)):
            if pid:
                os.kill(pid, signal.SIGKILL)

    def _tell(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        facts = dict(details)
        if (compartment, event) == (NETWORK, "fate"):
            self._note(facts)
        elif (compartment, event) == (NETWORK, "alive"):
            self._changed("reachable", now=facts.get("reachable") is True)
            self._changed("refused", now=facts.get("refused") is True)
        elif (compartment, event) == (VITALS, "alarm"):
            say("alarm", **facts)
        elif event == "attack":
            self._watch.note(str(facts.get("name")))
            say(event, **facts)
        elif event in {"alert-acknowledged", "alert-not-acknowledged"}:
            say(event, **facts)
        elif event in {"failed", "hung", "ended", "killed"} or event.startswith("did not start"):
            say("compartment", name=compartment, what=event, **facts)

    def _note(self, facts: Mapping[str, Any]) -> None:
        account, epoch, sequence, fate = (
            facts.get(name) for name in ("account", "epoch", "sequence", "fate")
        )
        if self._supervisor and isinstance(epoch, int) and isinstance(sequence, int):
            # What has a fate has been signed before: read it first.
            self._ledger.follow(self._supervisor.feed(ORIGIN))
            self._ledger.note(str(account), epoch, sequence, str(fate))

    def _changed(self, what: str, *, now: bool) -> None:
        if self._told.get(what, False) != now:
            self._told[what] = now
            say(what, now=now)


def _run(order: Order) -> bool:
    DeviceProcess(order).run()
    return True


def main() -> int:
    """Run one device; 1 if it could not go on."""
    return carry_out(_run, description="A device in compartments, with a ledger.")


if __name__ == "__main__":
    sys.exit(main())
