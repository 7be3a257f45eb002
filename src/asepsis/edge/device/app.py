"""Composition root of a device: layers of this machine, compartments, and how long they run."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from asepsis.edge.device.manifest import NETWORK, ORIGIN, VITALS
from asepsis.edge.device.supervisor import Setting, Supervisor, Tell
from asepsis.edge.sandbox.layers import Layers, require_apart
from asepsis.edge.uplink.folder import IdentityFolder


@dataclass(slots=True)
class Outcome:
    """What a run of a device came to.

    Attributes:
        seconds: How long it ran.
        ticks: Blocks of samples measured.
        skipped: Blocks that were not measured because the machine was too late.
        late_us_max: Latest tick, microseconds.
        batches: Batches signed in the last epoch.
        alarms: Alarm events at the bedside.
        alerts_acknowledged: Alarm batches that the hub has acknowledged.
        alerts_not_acknowledged: Alarm batches told again at the bedside.
        reachable: Whether the hub was reachable at the end.
        synchronised: Whether signed instants carry trusted time.
        starts: Starts of each compartment; 1 is none too many.
    """

    seconds: float = 0.0
    ticks: int = 0
    skipped: int = 0
    late_us_max: int = 0
    batches: int = 0
    alarms: int = 0
    alerts_acknowledged: int = 0
    alerts_not_acknowledged: int = 0
    reachable: bool = False
    synchronised: bool = False
    starts: dict[str, int] = field(default_factory=dict[str, int])

    def note(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        """Take an event of the supervisor into account."""
        if event == "alarm":
            self.alarms += 1
        elif event == "alert-acknowledged":
            self.alerts_acknowledged += 1
        elif event == "alert-not-acknowledged":
            self.alerts_not_acknowledged += 1
        elif event == "alive" and compartment == VITALS:
            self.ticks = int(details.get("ticks", 0))
            self.skipped = int(details.get("skipped", 0))
            self.late_us_max = max(self.late_us_max, int(details.get("late_us_max", 0)))
        elif event == "alive" and compartment == NETWORK:
            self.reachable = details.get("reachable") is True
        elif event == "alive" and compartment == ORIGIN:
            self.synchronised = details.get("synchronised") is True
            self.batches = int(details.get("batches", 0))


class Beside(Protocol):
    """What runs beside a supervisor, in its process."""

    def heard(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        """Take what the supervisor tells."""
        ...

    def step(self) -> None:
        """Do what is due; never waits."""
        ...

    def close(self) -> None:
        """End."""
        ...


def run_device(
    folder: IdentityFolder,
    *,
    found: Layers,
    setting: Setting,
    tell: Tell,
    stop: threading.Event,
    seconds: float | None = None,
    on_start: Callable[[Supervisor], None] | None = None,
    beside: Callable[[Supervisor], Beside] | None = None,
) -> Outcome:
    """Run an enrolled device with all its compartments.

    Args:
        folder: The device's folder, made by `asepsis enrol device`.
        found: Layers of this machine.
        setting: What to measure with.
        tell: Told everything that happens.
        stop: Ends the run when set.
        seconds: How long to run; None until `stop`.
        on_start: Given the supervisor before the first compartment starts.
        beside: Given the supervisor, returns what runs beside it: the update agent.

    Raises:
        NotFound: The device is not enrolled.
        ConfigError: Nothing keeps compartments apart on this machine.
    """
    require_apart(found.holding)
    outcome = Outcome()

    companions: list[Beside] = []

    def note(compartment: str, event: str, details: Mapping[str, Any]) -> None:
        outcome.note(compartment, event, details)
        for companion in companions:
            companion.heard(compartment, event, details)
        tell(compartment, event, details)

    _tell_missing(found, note)
    supervisor = Supervisor(folder, holding=found.holding, setting=setting, tell=note)
    if on_start:
        on_start(supervisor)
    began_s = time.monotonic()
    try:
        if beside:
            companions.append(beside(supervisor))
        while not stop.is_set() and (seconds is None or time.monotonic() - began_s < seconds):
            supervisor.step()
            for companion in companions:
                companion.step()
    finally:
        for companion in companions:
            companion.close()
        supervisor.close()
    outcome.seconds = round(time.monotonic() - began_s, 1)
    outcome.starts = dict(supervisor.starts)
    return outcome


def _tell_missing(found: Layers, tell: Tell) -> None:
    """Tell which layers do not hold here; the patient is served all the same."""
    if found.missing:
        tell("device", "layer-missing", {"layers": list(found.missing)})
