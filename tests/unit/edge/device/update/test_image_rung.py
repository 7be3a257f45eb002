"""The rung of whole images: written beside the running one, tried, kept, or gone back from.

The files are real, the boot loader a twin of systemd-boot's counting; the real one stands in
`tests/system/image/test_firmware.py`.
"""

import builtins
import errno
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import Conflict, TransientError, Unavailable
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.update import Outcome
from asepsis.edge.device.update import image_slots
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.memory import Held, Memory, MemoryStore
from asepsis.edge.sandbox.supervision_disk import FolderDisk
from asepsis.tools.testing.faulty_disk import PowerCut
from asepsis.tools.testing.image_device import NAME, NEW, OLD, RELEASE, Agreed, Machine

WHOLE = ["offered", "downloaded", "staged", "installing", "booted", "self-tested", "verified"]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    found = Machine(tmp_path)
    found.start()
    return found


def last(machine: Machine) -> str:
    return machine.told[-1]


def test_an_image_is_tried_tested_and_kept(machine: Machine) -> None:
    """Goal: from offered to verified over a start; the older one stays to go back to."""
    machine.live()
    assert list(dict.fromkeys(machine.told)) == WHOLE
    assert machine.runs == NEW
    assert machine.files == ["monitor_1.efi", "monitor_2.efi"]
    assert machine.starts == 2
    assert machine.permit.asked == ["monitor 1.2+2"]
    assert Floors(machine.folder / "update").of(NAME) == 2
    assert machine.device.agent.memory.debts == ()  # The start has been.
    again = machine.start()
    again.run()
    assert again.outcomes == ["verified"]


def test_one_that_fails_its_self_test_goes_back(machine: Machine) -> None:
    machine.measured = 0.0
    machine.start()
    machine.live()
    assert last(machine) == "rolled-back"
    assert machine.runs == OLD
    assert machine.files == ["monitor_1.efi"]
    assert Floors(machine.folder / "update").of(NAME) == 0


def test_one_whose_root_does_not_match_goes_back_by_itself(tmp_path: Path) -> None:
    """Goal: an owned fetcher or disk: three tries in vain, and the old one serves."""
    machine = Machine(tmp_path, spoilt=True)
    machine.start()
    machine.live()
    assert last(machine) == "rolled-back"
    assert machine.device.agent.memory.held
    assert machine.device.agent.memory.held.reason == (
        "the device was started anew before it was verified"
    )
    assert machine.runs == OLD


def test_without_a_permit_nothing_is_offered_to_the_loader(tmp_path: Path) -> None:
    machine = Machine(tmp_path, permit=Agreed("an alarm condition is active"))
    machine.start()
    machine.live()
    assert last(machine) == "waiting"
    assert machine.files == ["monitor_1.efi"]
    machine.permit.why = ""
    machine.live()
    assert last(machine) == "verified"


def test_no_answer_is_no_permit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asepsis.edge.device.update.rungs.PERMIT_S", 0.0)
    machine = Machine(tmp_path, permit=Agreed(None))
    machine.start()
    machine.live(steps=30)
    assert last(machine) == "waiting"
    assert machine.files == ["monitor_1.efi"]


def test_a_patient_attached_before_the_permit_stops_it(tmp_path: Path) -> None:
    """Goal: hours of writing later the moment is judged anew."""
    machine = Machine(tmp_path)

    class Late(Agreed):
        def ask(self, component: str, version: str) -> None:
            super().ask(component, version)
            machine.bedside.state, machine.bedside.attached = ClinicalState.IN_USE, True

    machine.permit = Late()
    machine.start()
    machine.device.states = frozenset({ClinicalState.IDLE})
    machine.live()
    assert last(machine) == "waiting"
    assert machine.files == ["monitor_1.efi"]
    assert machine.runs == OLD


def test_the_running_root_cannot_be_written(machine: Machine) -> None:
    """Goal: who is refused it by the kernel finds the other one, and if both are free neither."""
    before = machine.root.read_bytes()
    machine.live()
    assert (machine.folder / "a.img").read_bytes() == before
    release = machine.folder / "releases" / NAME / RELEASE.version
    with pytest.raises(Conflict, match="which root"):
        list(machine.slots(opens=for_writing).install(release))
    taken = machine.slots(opens=refusing(errno.EBUSY))
    with pytest.raises(Conflict, match="which root"):
        list(taken.install(release))
    with pytest.raises(Unavailable):
        list(machine.slots(opens=refusing(errno.EIO)).install(release))


def for_writing(path: Path) -> int:
    return os.open(path, os.O_RDWR)


def refusing(error: int) -> Callable[[Path], int]:
    def opens(_path: Path) -> int:
        raise OSError(error, os.strerror(error))

    return opens


def test_an_image_on_trial_makes_no_room_for_another(machine: Machine) -> None:
    linux = machine.folder / "boot/EFI/Linux"
    (linux / "monitor_1.efi").rename(linux / "monitor_1+3.efi")
    machine.start()
    with pytest.raises(Conflict, match="on trial"):
        list(machine.slots().install(machine.folder))


def test_an_older_image_is_not_offered(machine: Machine) -> None:
    """Goal: whoever owns the agent's orders cannot have the loader take an older one."""
    with pytest.raises(Conflict, match="not older"):
        machine.slots().offer(1)
    with pytest.raises(TransientError):
        machine.slots().offer(2)  # Nothing was installed.
    assert machine.files == ["monitor_1.efi"]


def test_what_is_read_back_must_be_what_was_written(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_slots, "PORTION_BYTES", 1_000)
    portions = machine.slots().install(machine.folder / "releases" / NAME / RELEASE.version)
    next(portions)
    with (machine.folder / "b.img").open("r+b") as file:
        file.write(b"X")  # A medium that loses a bit.
    with pytest.raises(Exception, match="read back"):
        list(portions)
    assert machine.files == ["monitor_1.efi"]


def without_counter(machine: Machine) -> None:
    """Whoever owns the partition makes an untested image a known one."""
    for slot in machine.loader.entries():
        if not slot.works:
            plain = f"{slot.name}_{slot.number}.efi"
            (machine.folder / "boot/EFI/Linux" / slot.file).rename(
                machine.folder / "boot/EFI/Linux" / plain
            )


@pytest.mark.parametrize("measured", [60.0, 0.0], ids=["good", "bad"])
def test_a_forged_name_of_a_known_image_spares_no_self_test(
    tmp_path: Path, measured: float
) -> None:
    """Goal: the loader's partition is owned; verified is still what was tested."""
    machine = Machine(tmp_path, measured=measured)
    machine.start()
    while not machine.wants:
        machine.device.run(1)
        machine.images.step()
    without_counter(machine)
    machine.start()
    machine.live()
    assert last(machine) == ("verified" if measured == 60.0 else "rolled-back")
    assert machine.runs == (NEW if measured == 60.0 else OLD)


def test_a_forged_memory_that_says_verified_is_found_out(machine: Machine) -> None:
    """Goal: the agent's file is owned: what runs wins over what it says."""
    held = Held(target=RELEASE, outcome=Outcome.VERIFIED)
    MemoryStore(FolderDisk(machine.folder / "update")).save(Memory(held=held))
    again = machine.start()
    assert again.outcomes == ["verified", "rolled-back"]
    assert machine.runs == OLD


CUTS = {os.rename, os.fsync, os.pwrite, os.unlink, builtins.open}


@contextmanager
def power_cut(at: int) -> Generator[list[str]]:
    """Let the power go before the n-th operation of the slots on their files."""
    done: list[str] = []

    def look(frame: Any, event: str, what: Any) -> None:
        if event != "c_call" or what not in CUTS:
            return
        files = {frame.f_code.co_filename, frame.f_back.f_code.co_filename}
        if image_slots.__file__ in files:
            done.append(what.__name__)
            if len(done) == at:
                raise PowerCut

    sys.setprofile(look)
    try:
        yield done
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("measured", [60.0, 0.0], ids=["good", "bad"])
def test_a_power_cut_at_every_operation_leaves_a_whole_image(
    tmp_path: Path, measured: float
) -> None:
    """Goal: old or verified new, never neither, and the agent says which."""
    whole = Machine(tmp_path / "first", measured=measured)
    with power_cut(0) as operations:
        whole.start()
        whole.live()
    assert {"rename", "fsync", "pwrite", "unlink" if measured == 0 else "open"} <= set(operations)
    for cut in range(1, len(operations) + 1):
        machine = Machine(tmp_path / str(cut), measured=measured)
        with suppress(PowerCut), power_cut(cut):
            machine.start()
            machine.live()
        machine.start()
        machine.live()
        assert last(machine) in {"verified", "rolled-back"}, cut
        assert (machine.runs == NEW) is (last(machine) == "verified"), cut
        assert measured == 60.0 or machine.runs == OLD
        assert (Floors(machine.folder / "update").of(NAME) == 2) is (machine.runs == NEW)
