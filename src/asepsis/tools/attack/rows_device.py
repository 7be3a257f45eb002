"""A device that is at first honest, and whose network compartment then lies to its supervisor."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import Unavailable
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.wire.gate_request import LimitRequest, device_tag, encode
from asepsis.core.wire.origin import OriginBatch, decode_batch
from asepsis.edge.device import models
from asepsis.edge.device.manifest import NETWORK, ORIGIN, VITALS
from asepsis.edge.device.signing import Signed
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.ring import RingReader
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.attack import payload_lies, rows_origin
from asepsis.tools.attack.rows import BELIEVED, HARMLESS, REFUSED, Row
from asepsis.tools.attack.takeover import Watched, carried

WAIT_S: Final = 30.0
BATCHES: Final = 4
"""Signed batches that are looked at behind the alarm event."""
LIVES_ALL: Final = len(payload_lies.BROKEN)
PAUSE_S: Final = 0.2
LEAK_MAX: Final = 8
LOW: Final = 45.0
HIGH: Final = 130.0
"""Limits that a person might well confirm, beats a minute."""
_LIAR: Final = """\
import asepsis.edge.device.network as _held
_build = _held.build
def _keep(order, line):
    lines = [n for name, n in order.descriptors.items() if name.startswith("request-")]
    _payload.TARGETS["request_lines"] = lines
    return _build(order, line)
_held.build = _keep
_held.Network.run = _sys.modules[_package + "payload_lies"].lie
"""


def rows(folder: IdentityFolder, *, layers: frozenset[Layer], lives: int = LIVES_ALL) -> list[Row]:
    """Return what attacks on what travels, and on the supervisor, come to.

    Args:
        folder: Of an enrolled device, whose hub nobody is.
        layers: Layers to apply.
        lives: Lives of the lying compartment, 1 or more; `LIVES_ALL` breaks the form in every way.

    Raises:
        Unavailable: The device did not come so far.
    """
    watched = Watched(folder, layers, requests=True)
    with watched.running() as supervisor:
        run = _Run(watched, supervisor)
        batches = run.captured()
        forged = rows_origin.rows(
            batches, spki_der=folder.key("origin").spki_der, tls_key=folder.key("tls")
        )
        return [*forged, *run.lied_to(lives)]


class _Run:
    def __init__(self, watched: Watched, supervisor: Supervisor) -> None:
        self._watched = watched
        self._supervisor = supervisor

    def captured(self) -> list[OriginBatch]:
        """Return signed batches around the onset of an alarm."""
        self._until(lambda: self._supervisor.feed(ORIGIN) is not None)
        feed = self._supervisor.feed(ORIGIN)
        if feed is None:
            raise AssertionError("the ring was there")
        self._supervisor.bedside("tachycardia")
        reader = RingReader(os.dup(feed.readable))
        found: list[OriginBatch] = []

        def enough() -> bool:
            for _, payload in reader.read().records:
                if payload[0] in (Signed.BATCH, Signed.ALERT):
                    found.append(decode_batch(payload[1:]))
            onset = next((n for n, batch in enumerate(found) if _is_event(batch)), None)
            return onset is not None and len(found) > onset + BATCHES

        try:
            self._until(enough)
        finally:
            reader.close()
        return found

    def lied_to(self, lives: int) -> list[Row]:
        """Put the liar into the network compartment, life after life."""
        states = len(self._watched.told(VITALS, "state"))
        before = _descriptors()
        for life in range(lives):
            self._live(life)
        self._until(lambda: bool(self._supervisor.pid(NETWORK)))
        leaked = _descriptors() - before
        facts = self._watched.told(VITALS, "alive")[-1]
        starts = {name: self._supervisor.starts[name] for name in (VITALS, ORIGIN)}
        told = self._watched.told(VITALS, "state")[states:]
        moved = [each for each in told if each.get("state") == ClinicalState.MAINTENANCE.name]
        unmoved = set(starts.values()) == {1} and not moved and leaked <= LEAK_MAX
        return [self._limit(), _supervisor_row(facts, lives=lives, leaked=leaked, unmoved=unmoved)]

    def _live(self, life: int) -> None:
        told = len(self._watched.told(NETWORK, "lied"))
        self._watched.preludes[NETWORK] = _liar(life, frames=self._frames())
        # The compartment that runs was not ours yet, or has just ended by itself.
        if life == 0 and (pid := self._supervisor.pid(NETWORK)):
            os.kill(pid, signal.SIGKILL)
        self._until(lambda: len(self._watched.told(NETWORK, "lied")) > told)

    def _frames(self) -> list[str]:
        device = self._watched.folder.load()[0]
        asked = LimitRequest(
            handle=models.HEART_RATE.handle,
            low=LOW,
            high=HIGH,
            device=device_tag(device),
            request_id=os.urandom(8),
        )
        return [encode(asked).hex()]

    def _limit(self) -> Row:
        told = self._watched.told(VITALS, "request")
        verdicts = [f"{d.get('verdict')} {d.get('reason', '')}".strip() for d in told]
        accepted = any(verdict.startswith("accepted") for verdict in verdicts)
        words = ", ".join(f"{verdicts.count(w)} {w}" for w in sorted(set(verdicts)))
        return Row(
            name="limit",
            title="Ask for another alarm limit, and confirm it in the bedside's name",
            outcome=BELIEVED if accepted else REFUSED,
            detail=words or "nothing came of it",
        )

    def _until(self, wanted: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while not wanted():
            if time.monotonic() > deadline_s:
                raise Unavailable("the device did not come so far")
            self._supervisor.step()


def _is_event(batch: OriginBatch) -> bool:
    return bool(batch.alarm_events) and not batch.header.lists_active


def _supervisor_row(facts: dict[str, Any], *, lives: int, leaked: int, unmoved: bool) -> Row:
    lies = len(payload_lies.LIES) + payload_lies.FLOOD
    return Row(
        name="supervisor",
        title="Lie to the supervisor, flood it, and send it what no report is",
        outcome=HARMLESS if unmoved else BELIEVED,
        detail=(
            f"{lives} lives with {lies} lies and one broken message each: vitals and origin went "
            f"on, {facts.get('skipped')} blocks skipped, {leaked} descriptors more"
        ),
    )


def _liar(life: int, *, frames: list[str]) -> str:
    targets = {"life": life, "pause_s": PAUSE_S, "frames": frames}
    head = carried(("payload", "payload_lies"))
    update = f"_payload.TARGETS.update(_json.loads({json.dumps(targets)!r}))\n"
    return head + update + _LIAR


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
