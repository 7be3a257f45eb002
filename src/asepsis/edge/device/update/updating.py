"""Puts the update agent of a device together, beside its supervisor."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import AsepsisError, ConfigError, NotFound
from asepsis.core.model.clinical import ClinicalState
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.manifest import NETWORK, VITALS, shipped
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.state import code_link
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.device.update import fetcher
from asepsis.edge.device.update.agent import Agent
from asepsis.edge.device.update.compartments import FETCHER
from asepsis.edge.device.update.desk import UpdateDesk
from asepsis.edge.device.update.fetcher_start import Fetchers, repositories
from asepsis.edge.device.update.handing_over import HandOver
from asepsis.edge.device.update.image_slots import ImageSlots
from asepsis.edge.device.update.memory import Held, MemoryStore, Target
from asepsis.edge.device.update.on_device import (
    DeviceSurroundings,
    Policy,
)
from asepsis.edge.device.update.ports import Means
from asepsis.edge.device.update.report_signing import to_order
from asepsis.edge.device.update.rungs_here import Wanted, rungs_of
from asepsis.edge.device.update.self_tests import SelfTests
from asepsis.edge.device.update.supply import DirectedSupply, Folders
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.supervision_disk import FolderDisk
from asepsis.edge.sandbox.supervision_parts import Tell

UPDATE: Final = "update"
"""Folder of the agent, in the device's folder."""
RELEASES: Final = "releases"
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
OUTBOX_MAX: Final = 256
VENDORS_MAX: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSetting:
    """Where a device's releases come from, and what it is.

    Attributes:
        device: Its name, as the director says it.
        hardware: Its hardware id.
        model: Its model, as vendors' releases say it.
        director: URL of the director's metadata; `hub` for the hub of this device.
        vendors: URL of an image repository by vendor, metadata and targets below it; or `hub`.
        kind: What sort of device it is.
        layers: Layers of this machine.
        every_s: From one contact to the next, seconds.
        bytes_per_s: Bandwidth budget for artefacts; 0 for none.
        policy: What the hospital decided.
        observe_s: How long a new version is watched at least before its self-tests count, seconds.
        image: Where whole images of this device are; None where it has none.
        live_patches: Whether releases of `rungs_here.PATCHES` are loaded into the running kernel.
        handed_over: Components that other programs install.
        occupied: What else knows of the device being used, beside its critical compartment.
        now_s: Trusted time, seconds since 1970.
    """

    device: str
    hardware: str
    model: str
    director: str
    vendors: Mapping[str, str]
    kind: Kind
    layers: frozenset[Layer]
    every_s: float = 300.0
    bytes_per_s: int = 0
    policy: Policy = field(default_factory=Policy)
    observe_s: float = 5.0
    image: ImageSlots | None = None
    live_patches: bool = False
    handed_over: tuple[HandOver, ...] = ()
    occupied: Callable[[], frozenset[Occupied]] = frozenset
    now_s: Callable[[], float] = time.time


class Updating:
    """The update agent of one device; `step` is called beside the supervisor's.

    Args:
        folder: The device's folder; its update folder was begun by `place.begin`.
        setting: Where releases come from.
        supervisor: Of the device.
        activation: The two gates that the supervisor was given.
        boot: Name of this boot.
        tell: Told what happens.

    Raises:
        FramingError: What the agent kept is damaged: a person has to look.
        ConfigError: A repository's URL is none.

    Resource handling: `close` ends fetcher, verifier and self-test.
    """

    def __init__(
        self,
        folder: Path,
        *,
        setting: UpdateSetting,
        supervisor: Supervisor,
        activation: Activation,
        boot: str,
        tell: Tell,
    ) -> None:
        if len(setting.vendors) > VENDORS_MAX:
            raise ConfigError(f"a device has at most {VENDORS_MAX} vendors")
        self._folder = folder
        self._setting = setting
        self._supervisor = supervisor
        self._tell = tell
        self._outbox: list[Held] = []
        folders = Folders(update=folder / UPDATE, releases=folder / RELEASES)
        self._rungs = rungs_of(
            Wanted(setting.image, setting.handed_over, live_patches=setting.live_patches),
            releases=folders.releases,
            supervisor=supervisor,
            activation=activation,
            refused=self._refused,
        )
        self.surroundings = DeviceSurroundings(
            supervisor=supervisor,
            folder=folder,
            policy=setting.policy,
            replaceable=self._replaceable,
            now_s=time.monotonic,
            wall_s=setting.now_s,
            occupied=setting.occupied,
        )
        self._supply = self._directed(folders)
        self._tests = SelfTests(
            self._package_of,
            layers=setting.layers,
            kind=setting.kind,
            log=folder / "device.log",
            facts=self._counts,
            observe_s=setting.observe_s,
        )
        self.agent = Agent(
            Means(
                store=MemoryStore(FolderDisk(folders.update)),
                supply=self._supply,
                activator=self._rungs,
                surroundings=self.surroundings,
                tests=self._tests,
                tell=self._told,
                boot=boot,
            )
        )
        self._desk = UpdateDesk(folder, agent=self.agent)
        activation.begins, activation.keeps = self.agent.begins, self.agent.keeps

    def _directed(self, folders: Folders) -> DirectedSupply:
        setting = self._setting
        fetchers = Fetchers(
            folder=self._folder,
            state=folders.update / FETCHER,
            repositories=repositories(setting.director, setting.vendors),
            layers=setting.layers,
            bytes_per_s=setting.bytes_per_s,
            supervisor=self._supervisor,
        )
        return DirectedSupply(
            folders,
            order=self._order,
            start_fetcher=fetchers.start,
            every_s=setting.every_s,
            now_s=time.monotonic,
            tell=lambda result: self._tell(UPDATE, "contact", result),
        )

    def step(self) -> None:
        """Do what is due, and hand over what is to be signed."""
        self._desk.step()
        self.agent.step()
        self._rungs.step()
        while self._outbox and self._supervisor.report_update(to_order(self._outbox[0])):
            self._outbox.pop(0)

    def heard(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        """Take what the supervisor tells; belongs into its `tell`."""
        self.surroundings.heard(compartment, event, details)
        self._rungs.heard(compartment, event)
        self.agent.heard(compartment, event, details)

    def close(self) -> None:
        """End what runs."""
        self._desk.close()
        self._supply.close()
        self._tests.close()

    def _replaceable(self, component: str) -> frozenset[ClinicalState]:
        states = self._rungs.states(component)
        return self._supervisor.replaceable(component) if states is None else states

    def _package_of(self, target: Target) -> Path:
        """Return the code that is tested: of an image the running one, which is on trial."""
        if target.component in self._rungs.others:
            return code_link(self._folder, bubblewrap.code().package) / "asepsis"
        return self._folder / RELEASES / target.component / target.version / "asepsis"

    def _refused(self, component: str, version: str, why: str) -> None:
        self.agent.heard(component, "version-refused", {"version": version, "why": why})

    def _tidy(self, component: str) -> None:
        before = ""
        with contextlib.suppress(NotFound):  # It is no compartment, or was never replaced before.
            before = self._supervisor.before(component)
        with contextlib.suppress(AsepsisError):  # Without readable floors nothing is taken away.
            self._supply.tidy(component, runs=self._rungs.confirmed(component), before=before)

    def _told(self, held: Held) -> None:
        if held.over:
            self._tidy(held.target.component)
        self._outbox.append(held)
        del self._outbox[:-OUTBOX_MAX]  # Where origin takes nothing, the newest words count.
        details = {
            "outcome": held.outcome.value,
            "component": held.target.component,
            "version": held.target.version,
            "waits_for": held.waits_for.value if held.waits_for else "",
            "reason": held.reason,
            "tests": {test.name: test.measured for test in held.tests},
        }
        self._tell(UPDATE, "update", details)

    def _counts(self) -> Mapping[str, float]:
        """Return what must not grow while a new version is on trial."""
        vitals = self.surroundings.facts.get(VITALS, {})
        network = self.surroundings.facts.get(NETWORK, {})
        return {
            "ticks-skipped": float(vitals.get("skipped", 0)),
            "records-lost": float(network.get("lost", 0)),
        }

    def _order(self) -> dict[str, Any]:
        setting = self._setting
        return {
            "folder": str(self._folder / UPDATE),
            "incoming": str(self._folder / UPDATE / FETCHER / fetcher.INCOMING),
            "own": {
                "device": setting.device,
                "hardware": setting.hardware,
                "model": setting.model,
            },
            "vendors": sorted(setting.vendors),
            "now_s": int(setting.now_s()),
            "compartments": sorted({*shipped().compartments, *self._rungs.others}),
        }


def boot_name() -> str:
    """Return what names this start of the machine; where the kernel does not say, every process."""
    try:
        return BOOT_ID.read_text("ascii").strip()[:64]
    except (OSError, ValueError):
        return f"process-{os.getpid()}-{time.time_ns()}"
