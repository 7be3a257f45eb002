"""What a machine with a TPM does when it starts: the floor, the log, and who runs."""

from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import ContentMismatch
from asepsis.core.trust.attestation_log import Change
from asepsis.edge.device.manifest import shipped
from asepsis.edge.device.measured_start import MeasuredStart, image_number, read_start
from asepsis.edge.device.measuring import Measuring
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import make_floor, raise_floor
from asepsis.tools.testing.software_tpm import SoftwareTpm

NOBODY = "a" * 64


def start(tpm: Path | None, folder: Path, told: list[Any], number: int = 1) -> MeasuredStart:
    return MeasuredStart(
        number=number, tell=lambda *words: told.append(words), tpm=tpm, log=folder / "log"
    )


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        ("quiet asepsis.number=7 enforcing=1", 7),
        ("asepsis.number=0007", 7),
        ("quiet", 0),
        ("xasepsis.number=7", 0),
        ("asepsis.number=70000", 0),
        ("asepsis.number=7x", 0),
    ],
)
def test_the_number_of_an_image_stands_on_its_command_line(arguments: str, number: int) -> None:
    assert image_number(arguments) == number


def test_an_image_below_the_floor_is_not_started(software: SoftwareTpm, tmp_path: Path) -> None:
    told: list[Any] = []
    start(software.path, tmp_path, told).require_floor()  # A TPM without a floor starts all.
    with Tpm(software.path) as tpm:
        raise_floor(tpm, make_floor(tpm) + 2)
    start(software.path, tmp_path, told, number=2).require_floor()
    with pytest.raises(ContentMismatch, match="below the floor 2"):
        start(software.path, tmp_path, told).require_floor()
    assert told == []


def test_a_tpm_that_is_broken_stops_no_device_and_is_told(tmp_path: Path) -> None:
    told: list[Any] = []
    broken = start(tmp_path / "none", tmp_path, told)
    broken.require_floor()
    broken.change(Change.PATCH, "module", "1", NOBODY)
    assert [words[1] for words in told] == ["not-measured", "not-measured"]


def test_patches_and_policies_stand_in_the_log(software: SoftwareTpm, tmp_path: Path) -> None:
    """Goal: what whoever loads a patch calls is extended behind the start, in order."""
    told: list[Any] = []
    found = start(software.path, tmp_path, told)
    setting = Setting(**found.settings())
    assert setting.tpm == software.path
    for change in (Change.PATCH, Change.POLICY, Change.UNPATCH):
        found.change(change, "module", "1", NOBODY)
    with Tpm(software.path) as tpm:
        lines = Measuring(tpm, found.log).lines()
    assert [line.change.value for line in lines] == ["start", "patch", "policy", "unpatch"]
    assert told == []


def test_without_a_tpm_nobody_attests_and_nothing_is_measured(tmp_path: Path) -> None:
    found = start(None, tmp_path, [])
    found.require_floor()
    found.change(Change.PATCH, "module", "1", NOBODY)
    names = [c.name for c in found.runs(shipped().compartments)]
    assert "attester" not in names
    assert "vitals" in names
    assert not found.log.exists()
    assert read_start(lambda *_, **__: None, tpm=tmp_path / "none").tpm is None
