"""Our own hub and device conform, and a hub that breaks a requirement is found out by its check."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from asepsis.tools.conformance.bench import HubBench
from asepsis.tools.conformance.checks import Outcome
from asepsis.tools.conformance.own_hub import own_hub
from asepsis.tools.conformance.run import run
from asepsis.tools.conformance.suite import HUB_CHECKS
from asepsis.tools.testing.broken_hub import SPOILED, WEAKENED

ASEPSIS = str(Path(sys.executable).parent / "asepsis")
SHOWN_BY_UNIT_TESTS = frozenset(
    {
        *("REQ-TLS-006", "REQ-TLS-010", "REQ-ID-001", "REQ-ID-003", "REQ-ID-004", "REQ-ID-005"),
        *("REQ-ID-009", "REQ-ID-010", "REQ-ID-012", "REQ-ID-013", "REQ-ID-014", "REQ-ORG-016"),
        "REQ-ERR-007",
    }
)
"""Decided in the signer's own process or before an answer is made: no layer can spoil them."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that the hub's own user can reach where the tests run as root."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_our_hub_conforms(tmp_path: Path) -> None:
    """Goal: the command as a user runs it; every check passes, three reports are written."""
    command = [ASEPSIS, "conform", "hub", "--json", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    report = json.loads(done.stdout)
    wrong = [r for r in report["results"] if r["outcome"] != "pass"]
    assert not wrong, wrong
    assert done.returncode == 0, done.stderr
    assert report["conforms"] is True
    assert len(report["results"]) == len(HUB_CHECKS)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    suite = ET.fromstring((tmp_path / "report.junit.xml").read_bytes())  # noqa: S314 - our own
    assert suite.attrib["failures"] == "0"
    assert "Nothing that was tried failed" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_our_device_conforms(tmp_path: Path) -> None:
    program = f"{sys.executable} -m asepsis.tools.conformance.own_device"
    command = [ASEPSIS, "conform", "device", program, "--json", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    report = json.loads(done.stdout)
    wrong = [r for r in report["results"] if r["outcome"] == "fail"]
    assert not wrong, wrong
    assert report["conforms"] is True, done.stderr


def test_every_check_is_spoiled_or_named() -> None:
    tried = {check.requirement for check in HUB_CHECKS}
    assert tried == {*SPOILED, *WEAKENED, *SHOWN_BY_UNIT_TESTS}


def found_out(folder: Path, requirements: list[str], first: str = "") -> dict[str, str]:
    """Return what the checks say of a hub that breaks these requirements, one after the other."""
    breaks = folder / "breaks"
    breaks.write_text(first, "ascii")
    breaks.chmod(0o644)
    said: dict[str, str] = {}
    with own_hub(folder / "hub", breaks=breaks) as plan:
        bench = HubBench(plan, folder / "identities")
        try:
            bench.open()
            for check in HUB_CHECKS:
                if check.requirement in requirements:
                    breaks.write_text(check.requirement, "ascii")
                    (result,) = run(bench, [check])
                    said[check.requirement] = result.outcome
                    breaks.write_text("", "ascii")
        finally:
            bench.close()
    return said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_broken_hub_breaks_is_found_out(folder: Path) -> None:
    said = found_out(folder, list(SPOILED))
    assert set(said) == set(SPOILED)
    assert {r for r, outcome in said.items() if outcome != Outcome.FAIL} == set()


@pytest.mark.slow
@pytest.mark.parametrize("requirement", sorted(WEAKENED))
def test_weak_tls_is_found_out(folder: Path, requirement: str) -> None:
    assert found_out(folder, [requirement], first=requirement) == {requirement: Outcome.FAIL}
