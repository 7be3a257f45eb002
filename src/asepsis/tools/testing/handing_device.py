"""A device whose images another program installs, started again and again: for tests.

The start of the machine and the permit are the test's; agent, memory and the program are real.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asepsis.edge.device.activation import Activation
from asepsis.edge.device.manifest import shipped
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.handing_over import HandOver, HandOverActivator
from asepsis.edge.device.update.memory import Target
from asepsis.edge.sandbox.supervision_disk import FolderDisk
from asepsis.tools.testing.image_device import Agreed
from asepsis.tools.testing.updating_device import Device

LIVES_MAX: Final = 4
LIFE_S_MAX: Final = 60.0
RELEASE: Final = Target(
    release="2" * 64,
    path="m5/rootfs-2.tar",
    component="rootfs",
    version="2.0+2",
    counter=2,
    floor=2,
    reboot="device",
)


@dataclass
class Machine:
    """One device.

    Attributes:
        folder: Its disk: `current` and `primary` name slots, `releases` holds versions.
        setting: The program.
        measured: What its self-test finds.
        permit: Of the critical compartment.
        told: Every outcome, over all lives.
        refused: What was not installed.
        wants: Whether it is about to start anew.
    """

    folder: Path
    setting: HandOver
    measured: float = 60.0
    permit: Agreed = field(default_factory=Agreed)
    told: list[str] = field(default_factory=list[str])
    refused: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    wants: bool = False

    def __post_init__(self) -> None:
        (self.folder / "update").mkdir()
        Floors(self.folder / "update").create()
        self.word("current", "A\n")

    def word(self, name: str, text: str = "") -> str:
        """Return the word in a file, after writing it if there is one."""
        path = self.folder / name
        if text:
            path.write_text(text)
        return path.read_text().strip()

    def live(self) -> "Machine":
        """Start again and again until nothing changes any more."""
        for _ in range(LIVES_MAX):
            self.wants = False
            self.start()
            if not self.wants:
                return self
            self.word("current", self.word("primary") + "\n")
        raise AssertionError("it starts for ever")

    def start(self) -> None:
        """Start once, and live until an update is over or the machine starts anew."""
        activation = Activation()
        activator = HandOverActivator(
            self.setting,
            releases=self.folder / "releases",
            permit=self.permit,
            activation=activation,
            compartments=shipped().compartments.values(),
            refused=lambda component, version, why: self.refused.append((component, version, why)),
            restart=self._restart,
        )
        device = Device(
            disk=FolderDisk(self.folder / "update"),
            offered=[RELEASE],
            measured=self.measured,
            activator=activator,
        )
        activation.begins, activation.keeps = device.agent.begins, device.agent.keeps
        for name in shipped().compartments:
            activator.heard(name, "alive")
        ends_s, held = time.monotonic() + LIFE_S_MAX, device.agent.memory.held
        while not self.wants and time.monotonic() < ends_s:
            device.run(1, step_s=0.01)
            activator.step()
            for component, version, why in self.refused:
                device.agent.heard(component, "version-refused", {"version": version, "why": why})
            held = device.agent.memory.held
            if held and held.over and not self.wants:
                activator.step()
                if not activator.on_trial("rootfs", RELEASE.version) or self.wants:
                    break
            time.sleep(0.01)
        self.told += device.outcomes

    def _restart(self) -> None:
        self.wants = True
