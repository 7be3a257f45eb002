"""Versions of compartments are measured before they run; none that cannot be is hidden."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import ContentMismatch, Unavailable
from asepsis.core.trust.attestation_log import Change
from asepsis.edge.device.measured_versions import begin_measuring, digest_of
from asepsis.edge.device.measuring import Measuring
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.sandbox.supervision_state import SHIPPED
from asepsis.tools.testing.software_tpm import SoftwareTpm

Told = list[tuple[str, str, Mapping[str, Any]]]


def version(folder: Path, code: str) -> Path:
    package = folder / code / "asepsis"
    package.mkdir(parents=True)
    (package / "network.py").write_text(code)
    return package


def test_each_version_is_measured_once_before_it_runs(
    software: SoftwareTpm, tmp_path: Path
) -> None:
    told: Told = []
    log = tmp_path / "log"
    measure = begin_measuring(software.path, log=log, tell=lambda *told_: told.append(told_))
    new = version(tmp_path, "1.1")
    for name, number, package in (
        ("vitals", SHIPPED, None),
        ("network", SHIPPED, None),
        ("network", "1.1", new),
        ("network", "1.1", new),
        ("network", SHIPPED, None),
    ):
        measure(name, number, package)
    with Tpm(software.path) as tpm:
        lines = Measuring(tpm, log).lines()
    assert [line.change for line in lines] == [Change.START, Change.SWAP, Change.SWAP]
    assert lines[1].sha256 == digest_of(new)
    assert lines[2].sha256 == lines[0].sha256  # What came with the image.
    # A supervisor that starts anew goes on with the same log.
    begin_measuring(software.path, log=log, tell=lambda *told_: told.append(told_))
    with Tpm(software.path) as tpm:
        assert Measuring(tpm, log).lines() == lines
    assert told == []


def test_other_code_under_the_same_name_is_measured_again(
    software: SoftwareTpm, tmp_path: Path
) -> None:
    told: Told = []
    log, new = tmp_path / "log", version(tmp_path, "1.1")
    measure = begin_measuring(software.path, log=log, tell=lambda *told_: told.append(told_))
    measure("network", "1.1", new)
    (new / "network.py").write_text("other")
    measure("network", "1.1", new)
    with Tpm(software.path) as tpm:
        assert len(Measuring(tpm, log).lines()) == 3


def test_what_cannot_be_logged_is_not_explained(software: SoftwareTpm, tmp_path: Path) -> None:
    """Goal: a full disk never makes the hub believe a log that leaves something out."""
    told: Told = []
    folder = tmp_path / "run"
    folder.mkdir()
    log = folder / "log"
    measure = begin_measuring(software.path, log=log, tell=lambda *told_: told.append(told_))
    log.unlink()
    folder.rmdir()
    measure("network", "1.1", version(tmp_path, "1.1"))
    assert [(who, what) for who, what, _ in told] == [("network", "not-measured")]
    with Tpm(software.path) as tpm, pytest.raises(ContentMismatch, match="does not explain"):
        Measuring(tpm, log).lines()


def test_without_its_tpm_the_device_runs_and_says_so(tmp_path: Path) -> None:
    told: Told = []
    measure = begin_measuring(
        tmp_path / "none", log=tmp_path / "log", tell=lambda *told_: told.append(told_)
    )
    measure("network", "1.1", version(tmp_path, "1.1"))
    assert [what for _, what, _ in told] == ["not-measured", "not-measured"]


def test_a_version_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        digest_of(tmp_path / "none")
