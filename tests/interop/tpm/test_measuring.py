"""The log of changes and its register: cut short anywhere, one of them explains the other."""

import os
from pathlib import Path

import pytest

from asepsis.core.errors import (
    ContentMismatch,
    InputError,
    LimitExceeded,
    Unavailable,
)
from asepsis.core.trust.attestation_log import PCR_RUNTIME, Change, Line, replay
from asepsis.edge.device import measuring
from asepsis.edge.device.measuring import LOG_BYTES_MAX, Measuring
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import extend_pcr, read_pcrs
from asepsis.tools.testing.software_tpm import SoftwareTpm

START = Line(change=Change.START, subject="monitor", version="1", sha256="0" * 64)
SWAP = Line(change=Change.SWAP, subject="network", version="2", sha256="1" * 64)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "measured.jsonl"


def register(tpm: Tpm) -> bytes:
    return read_pcrs(tpm, (PCR_RUNTIME,))[PCR_RUNTIME]


def test_what_is_measured_stands_in_log_and_register(tpm: Tpm, log: Path) -> None:
    found = Measuring(tpm, log)
    assert found.lines() == ()
    for line in (START, SWAP):
        found.measure(line)
    assert Measuring(tpm, log).lines() == (START, SWAP)
    assert register(tpm) == replay((START, SWAP))
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_written_and_not_extended_is_extended(
    tpm: Tpm, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: stopped between line and register, the device is not refused until its next start."""

    def stopped(_tpm: Tpm, _pcr: int, _digest: bytes) -> None:
        raise Unavailable("the machine was stopped here")

    found = Measuring(tpm, log)
    found.measure(START)
    with monkeypatch.context() as patched:
        patched.setattr(measuring, "extend_pcr", stopped)
        with pytest.raises(Unavailable):
            found.measure(SWAP)
    assert register(tpm) == replay((START,))
    assert found.lines() == (START, SWAP)
    assert register(tpm) == replay((START, SWAP))


def test_half_a_line_is_cut_off(tpm: Tpm, log: Path) -> None:
    found = Measuring(tpm, log)
    found.measure(START)
    whole = log.read_bytes()
    for cut in range(len(whole)):
        log.write_bytes(whole + whole[:cut])
        assert found.lines() == (START,)
    log.write_bytes(whole + b'{"change"')
    found.measure(SWAP)
    assert found.lines() == (START, SWAP)


def test_a_log_that_does_not_explain_the_register_is_refused(tpm: Tpm, log: Path) -> None:
    found = Measuring(tpm, log)
    found.measure(START)
    extend_pcr(tpm, PCR_RUNTIME, SWAP.digest)
    with pytest.raises(ContentMismatch, match="does not explain"):
        found.lines()
    with pytest.raises(ContentMismatch):
        found.measure(SWAP)


def test_a_restart_empties_both(software: SoftwareTpm, log: Path) -> None:
    with Tpm(software.path) as tpm:
        for line in (START, SWAP):
            Measuring(tpm, log).measure(line)
    software.restart()
    with Tpm(software.path) as tpm:
        with pytest.raises(ContentMismatch):  # The log outlived the start: it is not on /run.
            Measuring(tpm, log).measure(START)
        log.unlink()
        Measuring(tpm, log).measure(START)


def test_a_log_that_cannot_be_kept_changes_nothing(tpm: Tpm, tmp_path: Path, log: Path) -> None:
    with pytest.raises(Unavailable):
        Measuring(tpm, tmp_path / "no folder" / "log").measure(START)
    assert register(tpm) == bytes(32)
    log.write_bytes(b"junk\n")
    with pytest.raises(InputError, match="JSON"):
        Measuring(tpm, log).lines()
    with log.open("wb") as file:
        os.truncate(file.fileno(), LOG_BYTES_MAX + 1)
    with pytest.raises(LimitExceeded):
        Measuring(tpm, log).lines()
    with pytest.raises(Unavailable):
        Measuring(tpm, tmp_path).lines()
