"""The rung of live patches: permitted, loaded, tested, kept over starts, or withdrawn.

The kernel is a twin here; the real one stands in `tests/system/image/test_firmware.py`.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asepsis.core.errors import NotFound, SignatureInvalid
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.memory import Target
from asepsis.edge.device.update.patch_rung import PatchActivator
from asepsis.edge.sandbox.supervision_disk import FolderDisk
from asepsis.tools.testing.image_device import Agreed
from asepsis.tools.testing.updating_device import Device

SIGNED, EVIL = b"signed for the kernel", b"signed by nobody"


@dataclass
class Kernel:
    """A kernel that takes what is signed; gone with the machine."""

    patches: list[str] = field(default_factory=list[str])

    def load(self, name: str, module: bytes) -> int:
        if module != SIGNED:
            raise SignatureInvalid("the kernel refuses it")
        self.patches.append(name)
        return 1

    def withdraw(self, name: str) -> int:
        if name not in self.patches:
            raise NotFound("no such patch")
        self.patches.remove(name)
        return 1

    def present(self) -> tuple[str, ...]:
        return tuple(self.patches)


def release(counter: int) -> Target:
    return Target(
        release=f"{counter:064x}",
        path=f"m5/patch-{counter}.tar",
        component="kernel-patch",
        version=f"1.{counter}+{counter}",
        counter=counter,
        floor=counter,
        reboot="none",
    )


@dataclass
class Machine:
    """A device with an agent and a kernel."""

    folder: Path
    measured: float = 60.0
    permit: Agreed = field(default_factory=Agreed)

    def __post_init__(self) -> None:
        (self.folder / "update").mkdir()
        Floors(self.folder / "update").create()
        self.start()

    def bring(self, counter: int, name: str, module: bytes = SIGNED) -> Target:
        place = self.folder / "releases" / release(counter).version
        place.mkdir(parents=True)
        (place / f"{name}.ko").write_bytes(module)
        self.device.offered = [release(counter)]
        return release(counter)

    def start(self) -> None:
        self.kernel, activation = Kernel(), Activation()
        self.refused: list[tuple[str, str, str]] = []
        self.patches = PatchActivator(
            "kernel-patch",
            releases=self.folder / "releases",
            patches=self.kernel,
            permit=self.permit,
            activation=activation,
            refused=lambda component, version, why: self.refused.append((component, version, why)),
        )
        self.device = Device(
            disk=FolderDisk(self.folder / "update"), measured=self.measured, activator=self.patches
        )
        activation.begins, activation.keeps = self.device.agent.begins, self.device.agent.keeps

    def live(self, steps: int = 60) -> str:
        for _ in range(steps):
            self.device.run(1, step_s=1.0)
            self.patches.step()
            for component, version, why in self.refused:
                said = {"version": version, "why": why}
                self.device.agent.heard(component, "version-refused", said)
            self.refused.clear()
            time.sleep(0.001)  # What loads a patch is a thread.
        return self.device.outcomes[-1] if self.device.outcomes else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_patch_is_loaded_tested_and_kept_over_a_start(machine: Machine) -> None:
    machine.bring(1, "hole_closed")
    assert machine.live() == "verified"
    assert machine.kernel.patches == ["hole_closed"]
    machine.start()
    assert machine.kernel.patches == []
    machine.device.offered = [release(1)]
    assert machine.live() == "verified"
    assert machine.kernel.patches == ["hole_closed"]


def test_after_a_start_too_it_waits_for_a_permit(machine: Machine) -> None:
    machine.bring(1, "hole_closed")
    machine.live()
    machine.permit.why = "never by this rung in this clinical state"
    machine.start()
    machine.live()
    assert machine.kernel.patches == []


def test_the_next_one_takes_its_place(machine: Machine) -> None:
    machine.bring(1, "hole_closed")
    machine.live()
    machine.bring(2, "two_holes_closed")
    assert machine.live() == "verified"
    assert machine.kernel.patches == ["two_holes_closed"]


def test_one_that_fails_its_self_test_is_withdrawn(machine: Machine) -> None:
    machine.bring(1, "hole_closed")
    machine.live()
    machine.device.measured = 0.0
    machine.bring(2, "spoils_signals")
    assert machine.live() == "rolled-back"
    assert machine.kernel.patches == ["hole_closed"]


def test_what_the_kernel_does_not_take_is_rolled_back(machine: Machine) -> None:
    machine.bring(1, "evil", EVIL)
    assert machine.live() == "rolled-back"
    assert "kernel refuses" in machine.device.told[-1].reason
    assert machine.kernel.patches == []


def test_without_a_permit_nothing_is_loaded(machine: Machine) -> None:
    machine.permit.why = "an alarm condition is active"
    machine.bring(1, "hole_closed")
    assert machine.live() == "waiting"
    assert machine.kernel.patches == []


def test_a_release_that_is_no_patch_is_refused(machine: Machine) -> None:
    target = machine.bring(1, "hole_closed")
    (machine.folder / "releases" / target.version / "other.ko").write_bytes(SIGNED)
    assert machine.live() == "refused"
    assert machine.kernel.patches == []
