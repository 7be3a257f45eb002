"""A device with two places for an image and a boot loader, all of it files: for tests.

The permit of the critical compartment is the test's; slots, agent and memory are real.
"""

import errno
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asepsis.edge.device.activation import Activation
from asepsis.edge.device.manifest import shipped
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.image_rung import ImageActivator
from asepsis.edge.device.update.image_slots import KERNEL, ROOT, ImageSlots
from asepsis.edge.device.update.memory import Target
from asepsis.edge.sandbox.supervision_disk import FolderDisk
from asepsis.tools.testing.boot_loader import BootLoader
from asepsis.tools.testing.updating_device import Bedside, Device

NAME: Final = "monitor"
OLD: Final = b"old root " * 500
NEW: Final = b"new root " * 900
RELEASE: Final = Target(
    release="2" * 64,
    path="m5/monitor-2.tar",
    component=NAME,
    version="1.2+2",
    counter=2,
    floor=2,
    reboot="device",
)


def kernel(root: bytes) -> bytes:
    """Return a kernel image: like a real one it names its root by its hash."""
    return b"kernel of " + hashlib.sha256(root).digest()


class Agreed:
    """A critical compartment that permits, or says why not."""

    def __init__(self, why: str | None = "") -> None:
        self.why = why
        self.asked: list[str] = []

    def ask(self, component: str, version: str) -> None:
        """Note who asked."""
        self.asked.append(f"{component} {version}")

    def verdict(self) -> str | None:
        """Say what the test wants."""
        return self.why

    def redeem(self) -> None:
        """It holds."""


@dataclass
class Machine:
    """A device with two places for a root, and a loader."""

    folder: Path
    measured: float = 60.0
    spoilt: bool = False
    permit: Agreed = field(default_factory=Agreed)
    bedside: Bedside = field(default_factory=Bedside)
    told: list[str] = field(default_factory=list[str])
    wants: bool = False
    starts: int = 0
    root: Path = field(init=False)
    loader: BootLoader = field(init=False)
    device: Device = field(init=False)
    images: ImageActivator = field(init=False)

    def __post_init__(self) -> None:
        for name in ("boot/EFI/Linux", "efivars", "update", f"releases/{NAME}/{RELEASE.version}"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / f"boot/EFI/Linux/{NAME}_1.efi").write_bytes(kernel(OLD))
        for place, content in (("a.img", OLD), ("b.img", b"something older")):
            (self.folder / place).write_bytes(content)
        release = self.folder / "releases" / NAME / RELEASE.version
        (release / ROOT).write_bytes(b"spoilt" if self.spoilt else NEW)
        (release / KERNEL).write_bytes(kernel(NEW))
        self.loader = BootLoader(self.folder / "boot", self.folder / "efivars")
        Floors(self.folder / "update").create()

    def slots(self, **other: Any) -> ImageSlots:
        """Return its slots; the running root is refused as dm-verity refuses it."""

        def opens(path: Path) -> int:
            if path == self.root:
                raise OSError(errno.EBUSY, "held by dm-verity")
            return os.open(path, os.O_RDWR)

        return ImageSlots(
            name=NAME,
            partition=self.folder / "boot",
            roots=(self.folder / "a.img", self.folder / "b.img"),
            variables=self.folder / "efivars",
            **{"opens": opens, **other},
        )

    def start(self) -> Device:
        """Start: the loader chooses, the first program looks for the root of its hash."""
        for _ in range(8):
            self.starts += 1
            started = self.loader.start().read_bytes()
            for place in ("a.img", "b.img"):
                self.root = self.folder / place
                size = len(NEW) if started == kernel(NEW) else len(OLD)
                if kernel(self.root.read_bytes()[:size]) == started:
                    return self._agent()
        raise AssertionError("nothing starts any more")

    def _agent(self) -> Device:
        activation, self.wants = Activation(), False
        refused: list[tuple[str, str, str]] = []
        self.images = ImageActivator(
            self.slots(),
            releases=self.folder / "releases" / NAME,
            permit=self.permit,
            activation=activation,
            compartments=shipped().compartments.values(),
            refused=lambda component, version, why: refused.append((component, version, why)),
            restart=self._restart,
        )
        self.device = Device(
            disk=FolderDisk(self.folder / "update"),
            bedside=self.bedside,
            offered=[RELEASE],
            measured=self.measured,
            activator=self.images,
            boot=f"boot-{self.starts}",
        )
        agent = self.device.agent
        activation.begins, activation.keeps = agent.begins, agent.keeps
        self._refused = refused
        for name in shipped().compartments:
            self.images.heard(name, "alive")
        return self.device

    def _restart(self) -> None:
        self.wants = True

    def live(self, *, steps: int = 60, lives: int = 6) -> "Machine":
        """Let time pass, over every start that follows."""
        for _ in range(lives):
            for _ in range(steps):
                self.device.run(1)
                self.images.step()
                for component, version, why in self._refused:
                    said = {"version": version, "why": why}
                    self.device.agent.heard(component, "version-refused", said)
                self._refused.clear()
                if self.wants:
                    break
            self.told += self.device.outcomes
            if not self.wants:
                return self
            self.start()
        raise AssertionError("it starts for ever")

    @property
    def runs(self) -> bytes:
        """The root that runs."""
        content = self.root.read_bytes()
        return NEW if content.startswith(NEW) else OLD

    @property
    def files(self) -> list[str]:
        """Kernel images on the loader's partition."""
        return [slot.file for slot in self.loader.entries()]
