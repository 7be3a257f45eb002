"""The supervisor: starts the compartments, watches them, and starts anew what fell over.

It stands in no data path. It owns the rings and the connect broker, and judges what the network
compartment reports as coming from somebody who may be owned.
"""

import base64
import contextlib
import os
import random
import secrets
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import (
    AsepsisError,
    ConfigError,
    FramingError,
    TransientError,
    Unavailable,
)
from asepsis.core.model.manifest import Compartment as Declared
from asepsis.edge.device.manifest import NETWORK, ORIGIN, TIMEKEEPER, VITALS, shipped
from asepsis.edge.device.records import SIGNED_RING, VITALS_RING
from asepsis.edge.device.rings import Feed, RingOwner
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.state import COMPARTMENTS, code_link, prepare
from asepsis.edge.sandbox import bubblewrap, domains, launcher
from asepsis.edge.sandbox.broker import Address, Broker
from asepsis.edge.sandbox.control import receive_report
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.launcher import Compartment
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.ring import wake_pair
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.folder import IdentityFolder

POLL_S: Final = 0.1
START_S: Final = 20.0
"""Longest time from start to the first heartbeat, seconds."""
STOP_S: Final = 5.0
STEADY_S: Final = 30.0
"""A compartment that ran so long is forgiven its earlier failures."""
ANNUNCIATE_S: Final = 5.0
"""An alarm event that the hub has not acknowledged by then is told at the bedside (REQ-ALM-009)."""
REPORTS_MAX: Final = 64
"""Reports read from one compartment in one round; the rest waits, and the others get their turn."""
ALERTS_MAX: Final = 1_024
_SIZES: Final = {"vitals": VITALS_RING, "signed": SIGNED_RING}
"""Sizes of the manifest's rings; they belong to the form of the records in them."""
_ACKNOWLEDGED: Final = (NETWORK, "fate", "origin", "acknowledged")
Tell = Callable[[str, str, Mapping[str, Any]], None]
"""Told compartment, event and details."""


@dataclass(slots=True)
class _Slot:
    declared: Declared
    backoff: Backoff
    running: Compartment | None = None
    alive: bool = False
    started_s: float = 0.0
    heard_s: float = 0.0
    next_start_s: float = 0.0
    starts: int = 0

    @property
    def name(self) -> str:
        return self.declared.name


class Supervisor:
    """Keeps one device going.

    Args:
        folder: The enrolled device's folder.
        holding: Layers to apply; `run_device` refuses a machine where too few hold.
        setting: What to measure with.
        tell: Told everything that happens.

    Raises:
        NotFound: The device is not enrolled.
        ConfigError: The folder cannot be used.

    Resource handling: `close` ends all compartments.
    """

    def __init__(
        self,
        folder: IdentityFolder,
        *,
        holding: frozenset[Layer],
        setting: Setting,
        tell: Tell,
    ) -> None:
        self._folder = folder
        self._layers = holding
        self._setting = setting
        self._tell = tell
        self._device, hospital, self._root_der = folder.load()
        self._manifest = shipped()
        self._places = {
            "clinical": Address(hospital.clinical.host, hospital.clinical.port),
            "enrolment": Address(hospital.enrolment.host, hospital.enrolment.port),
        }
        network = self._manifest.compartments[NETWORK]
        user = network.user if Layer.USERS in holding else None
        self._state = folder.path / COMPARTMENTS / NETWORK
        try:
            prepare(folder, user=user)
        except (ConfigError, TransientError) as error:
            # A full disk or a spoilt folder may cost the network compartment, never vitals.
            tell(NETWORK, "failed", {"code": error.code, "text": str(error)})
        self._code = code_link(folder.path, bubblewrap.code().package)
        self._boot_id = secrets.token_bytes(16).hex()
        self._log = (folder.path / "device.log").open("ab", buffering=0)
        self._rings = {
            name: RingOwner(name, geometry=_SIZES[name]) for name in self._manifest.rings
        }
        with domains.sockets_as("line", "time"):
            self._time_in, self._time_out = wake_pair()
        self._brokers: dict[str, Broker] = {}
        rng = random.Random()  # noqa: S311 - jitter
        self._slots = {
            name: _Slot(declared, Backoff(rng=rng, cap_s=declared.resources.restart_s_max))
            for name, declared in self._manifest.compartments.items()
        }
        self._alerts: dict[int, float] = {}

    @property
    def starts(self) -> Mapping[str, int]:
        """How often each compartment was started."""
        return {name: slot.starts for name, slot in self._slots.items()}

    def pid(self, name: str) -> int:
        """Return the process id of a running compartment; 0 if it does not run."""
        running = self._slots[name].running
        return running.pid if running else 0

    def feed(self, name: str) -> Feed | None:
        """Return the sealed ring of `vitals` or `origin`, for one more reader; None before it is.

        The descriptors stay the supervisor's: duplicate them.
        """
        return self._written_by(name).feed

    def bedside(self, key: str) -> None:
        """Pass on a key that a person pressed at the bedside.

        Raises:
            Unavailable: The vitals compartment does not run.
        """
        running = self._slots[VITALS].running
        if running is None:
            raise Unavailable("the vitals compartment does not run")
        running.order("bedside", {"key": key})

    def step(self) -> None:
        """Do what is due, then wait for reports, at most `POLL_S`."""
        now_s = time.monotonic()
        for slot in self._slots.values():
            self._look_after(slot, now_s)
        running = {slot.running.control: slot for slot in self._slots.values() if slot.running}
        if not running:
            time.sleep(POLL_S)
            return
        readable, _, _ = select.select(list(running), [], [], POLL_S)
        for line in readable:
            self._listen(running[line])
        self._annunciate(time.monotonic())

    def close(self) -> None:
        """Stop the compartments in order, then let go of everything."""
        for name, slot in self._slots.items():
            if slot.running:
                with contextlib.suppress(Unavailable):
                    slot.running.order("stop", {})
                if not slot.running.wait(STOP_S):
                    self._tell(name, "killed", {"why": "did not stop"})
                slot.running.kill()
                slot.running = None
        for broker in self._brokers.values():
            broker.close()
        self._time_in.close()
        self._time_out.close()
        for ring in self._rings.values():
            ring.close()
        self._log.close()

    def _look_after(self, slot: _Slot, now_s: float) -> None:
        running = slot.running
        if running is None:
            if now_s >= slot.next_start_s and self._can_start(slot.declared):
                self._start(slot)
            return
        limit_s = slot.declared.resources.silence_s if slot.alive else START_S
        if not running.running:
            self._listen(slot)
            self._ended(slot, "ended")
        elif now_s - slot.heard_s > limit_s:
            self._ended(slot, "hung")
        elif slot.alive and now_s - slot.started_s > STEADY_S:
            slot.backoff.succeeded()

    def _ended(self, slot: _Slot, why: str) -> None:
        if slot.running:
            slot.running.kill()
        slot.running = None
        wait_s = slot.backoff.failed()
        slot.next_start_s = time.monotonic() + wait_s
        self._tell(slot.name, why, {"restart_in_s": round(wait_s, 2), "starts": slot.starts})

    def _can_start(self, declared: Declared) -> bool:
        return all(self._rings[ring].feed is not None for ring in declared.reads)

    def _written_by(self, name: str) -> RingOwner:
        (ring,) = self._manifest.compartments[name].writes
        return self._rings[ring]

    def _read_by(self, name: str) -> RingOwner:
        (ring,) = self._manifest.compartments[name].reads
        return self._rings[ring]

    def _start(self, slot: _Slot) -> None:
        start = {
            VITALS: self._start_vitals,
            ORIGIN: self._start_origin,
            NETWORK: self._start_network,
            TIMEKEEPER: self._start_timekeeper,
        }[slot.name]
        slot.starts += 1
        slot.alive = False
        slot.started_s = slot.heard_s = time.monotonic()
        try:
            slot.running = start()
            self._favour(slot.name, slot.running.pid)
        except (AsepsisError, OSError) as error:
            self._ended(slot, f"did not start: {type(error).__name__}")

    def _launch(
        self, name: str, body: Mapping[str, Any], descriptors: Mapping[str, int]
    ) -> Compartment:
        blueprint = host.blueprint(
            self._manifest.compartments[name],
            layers=self._layers,
            state=self._state,
            prelude=self._setting.preludes.get(name, ""),
        )
        return launcher.launch(
            blueprint, body=body, descriptors=descriptors, code_folder=self._code, log=self._log
        )

    def _start_vitals(self) -> Compartment:
        descriptors, values = self._written_by(VITALS).begin()
        body: dict[str, Any] = {
            **values,
            "kind": self._setting.kind.value,
            "seed": self._setting.seed,
        }
        if self._setting.recording is None:
            return self._launch(VITALS, body, descriptors)
        with self._setting.recording.open("rb") as file:
            domains.label(self._setting.recording, "document", "recording")
            return self._launch(VITALS, body, {**descriptors, "recording": file.fileno()})

    def _start_origin(self) -> Compartment:
        signed, read = self._written_by(ORIGIN), self._read_by(ORIGIN)
        made, values = signed.begin()
        feed = read.oldest()
        wall_ns = time.time_ns()
        body = {
            **values,
            "ring_epoch": feed.epoch,
            "kind": self._setting.kind.value,
            "device": self._device,
            "boot_id": self._boot_id,
            "boot_epoch": self._folder.next_epoch(wall_s=wall_ns // 10**9),
            "wall_minus_monotonic_ns": wall_ns - time.monotonic_ns(),
        }
        descriptors = {"out": made["ring"], "out_wake": made["wake"], **feed.handed()}
        descriptors["time"] = self._time_out.fileno()
        if signed.feed:
            descriptors["previous"] = signed.feed.readable
        with self._folder.origin_key_path.open("rb") as key:
            started = self._launch(ORIGIN, body, {**descriptors, "key": key.fileno()})
        self._go_on(started, read, feed)
        return started

    def _start_network(self) -> Compartment:
        broker = self._broker(NETWORK)
        read = self._read_by(NETWORK)
        feed = read.oldest()
        wrapped = Layer.BUBBLEWRAP in self._layers
        body = {
            "ring_epoch": feed.epoch,
            "boot_id": self._boot_id,
            "state": str(bubblewrap.STATE if wrapped else self._state),
        }
        channels = {f"channel{n}": line.fileno() for n, line in enumerate(broker.theirs)}
        started = self._launch(NETWORK, body, {**feed.handed(), **channels})
        broker.start()
        self._go_on(started, read, feed)
        return started

    def _start_timekeeper(self) -> Compartment:
        broker = self._broker(TIMEKEEPER)
        (where,) = self._endpoints(TIMEKEEPER)
        body = {
            "root": base64.b64encode(self._root_der).decode(),
            "host": where.host,
            "port": where.port,
        }
        descriptors = {"channel0": broker.theirs[0].fileno(), "out": self._time_in.fileno()}
        started = self._launch(TIMEKEEPER, body, descriptors)
        broker.start()
        return started

    def _endpoints(self, name: str) -> list[Address]:
        return [self._places[place] for place in self._manifest.compartments[name].endpoints]

    def _broker(self, name: str) -> Broker:
        if name in self._brokers:
            self._brokers[name].close()
        channels = self._manifest.compartments[name].channels
        broker = self._brokers[name] = Broker(
            self._endpoints(name),
            channels=channels,
            owner=name,
            names=self._manifest.compartments[name].endpoints,
        )
        return broker

    def _go_on(self, reader: Compartment, owner: RingOwner, first: Feed) -> None:
        """Hand a reader that starts with the ring before the last one the last one too."""
        if owner.feed is not first and owner.feed:
            reader.order("ring", {"ring_epoch": owner.feed.epoch}, descriptors=owner.feed.handed())

    def _favour(self, name: str, pid: int) -> None:
        """Give a compartment its place among the others, as far as this user may."""
        resources = self._manifest.compartments[name].resources
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(resources.oom_score), "ascii")
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, resources.nice)
        if resources.realtime and Layer.REALTIME in self._layers:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(resources.realtime))

    def _listen(self, slot: _Slot) -> None:
        running = slot.running
        if running is None:
            return
        for _ in range(REPORTS_MAX):
            try:
                report = receive_report(running.control)
            except BlockingIOError:
                return
            except (FramingError, OSError):
                self._ended(slot, "reported nonsense")
                return
            if report is None:
                return
            slot.heard_s = time.monotonic()
            self._judge(slot, report)

    def _judge(self, slot: _Slot, report: dict[str, Any]) -> None:
        event = str(report.pop("event", ""))[:40]
        slot.alive = slot.alive or event == "alive"
        sequence = report.get("sequence")
        told = (slot.name, event, report.get("account"), report.get("fate"))
        if event == "mapped" and slot.declared.writes:
            self._mapped(slot.name)
        elif event == "alert-signed" and slot.name == ORIGIN and isinstance(sequence, int):
            if len(self._alerts) < ALERTS_MAX:
                self._alerts[sequence] = time.monotonic()
        elif told == _ACKNOWLEDGED and isinstance(sequence, int):
            self._acknowledged(sequence)
        self._tell(slot.name, event, report)

    def _mapped(self, name: str) -> None:
        owner = self._written_by(name)
        if not owner.waiting:
            return
        try:
            feed = owner.mapped()
        except ConfigError as error:
            self._tell(name, "failed", {"code": error.code, "text": str(error)})
            return
        if name == ORIGIN:
            self._alerts.clear()  # Numbers of batches start over with the epoch.
        for slot in self._slots.values():
            if slot.running and set(slot.declared.reads) & set(self._slots[name].declared.writes):
                with contextlib.suppress(AsepsisError):
                    order = {"ring_epoch": feed.epoch}
                    slot.running.order("ring", order, descriptors=feed.handed())

    def _acknowledged(self, sequence: int) -> None:
        since_s = self._alerts.pop(sequence, None)
        if since_s is not None:
            took_ms = round((time.monotonic() - since_s) * 1_000, 1)
            self._tell(NETWORK, "alert-acknowledged", {"sequence": sequence, "ms": took_ms})

    def _annunciate(self, now_s: float) -> None:
        for sequence, since_s in list(self._alerts.items()):
            if now_s - since_s > ANNUNCIATE_S:
                del self._alerts[sequence]
                self._tell(ORIGIN, "alert-not-acknowledged", {"sequence": sequence})
