"""What the boot loader says of the image that was started, and the end of its trial."""

from pathlib import Path

import pytest

from asepsis.core.errors import ContentMismatch, Unavailable
from asepsis.edge.device.boot_slot import BootSlot, Examination, confirm, holds, read_slot
from asepsis.edge.device.manifest import shipped

VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


def variable(folder: Path, name: str, text: str) -> None:
    raw = b"\x06\0\0\0" + (text + "\0").encode("utf-16-le")
    (folder / f"{name}-{VENDOR}").write_bytes(raw)


def test_an_image_on_trial_is_named_by_the_loader(tmp_path: Path) -> None:
    variable(tmp_path, "LoaderBootCountPath", "\\EFI\\Linux\\monitor_2+2-1.efi")
    variable(tmp_path, "LoaderEntrySelected", "monitor_2+3.efi")
    slot = read_slot(tmp_path)
    assert slot == BootSlot(entry="monitor_2+3.efi", counted="monitor_2+2-1.efi")
    assert slot.passed == "monitor_2.efi"


def test_without_a_loader_nothing_is_on_trial(tmp_path: Path) -> None:
    assert read_slot(tmp_path / "absent") == BootSlot()
    variable(tmp_path, "LoaderEntrySelected", "monitor_1.efi")
    assert read_slot(tmp_path).counted is None
    with pytest.raises(ContentMismatch, match="trial"):
        _ = read_slot(tmp_path).passed


@pytest.mark.parametrize(
    "path",
    [
        "\\EFI\\BOOT\\monitor_2+2-1.efi",
        "\\EFI\\Linux\\..\\monitor_2+2.efi",
        "\\EFI\\Linux\\monitor.efi",
        "\\EFI\\Linux\\monitor_2.efi",
        "monitor_2+2-1.efi",
        "\ud800",
    ],
)
def test_another_place_or_form_is_refused(tmp_path: Path, path: str) -> None:
    raw = b"\x06\0\0\0" + path.encode("utf-16-le", "surrogatepass")
    (tmp_path / f"LoaderBootCountPath-{VENDOR}").write_bytes(raw)
    with pytest.raises(ContentMismatch):
        read_slot(tmp_path)


def test_a_passed_image_loses_its_counter(tmp_path: Path) -> None:
    folder = tmp_path / "EFI/Linux"
    folder.mkdir(parents=True)
    slot = BootSlot(counted="monitor_2+2-1.efi")
    assert not holds(tmp_path, slot)
    (folder / "monitor_2+2-1.efi").write_bytes(b"image")
    assert holds(tmp_path, slot)
    confirm(tmp_path, slot)
    assert [path.name for path in folder.iterdir()] == ["monitor_2.efi"]
    with pytest.raises(Unavailable):
        confirm(tmp_path, slot)


def test_the_trial_is_passed_when_every_compartment_that_tests_itself_lives() -> None:
    """Goal: an image whose network is dead could never be updated again, so it does not pass."""
    declared = shipped().compartments.values()
    waits = [c.name for c in declared if "alive" in c.self_tests]
    assert {"vitals", "network"} <= set(waits)
    examination = Examination(declared)
    said = [examination.note(name, "confined") for name in waits]
    said += [examination.note(name, "alive") for name in (*waits[:-1], *waits[:-1], "unknown")]
    assert not any(said)
    assert examination.note(waits[-1], "alive")
    assert not examination.note(waits[-1], "alive")
