"""Our own hub and device conform, and a hub that breaks a requirement is found out by its check."""

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree as ET

import pytest

from asepsis.tools.conformance.bench import HubBench
from asepsis.tools.conformance.checks import Outcome
from asepsis.tools.conformance.own_hub import shared_hub
from asepsis.tools.conformance.run import run
from asepsis.tools.conformance.suite import HUB_CHECKS
from asepsis.tools.testing.broken_hub import HEADER, SPOILED
from asepsis.tools.testing.weakening import WEAKENED

ASEPSIS = str(Path(sys.executable).parent / "asepsis")
SHOWN_BY_UNIT_TESTS = frozenset(
    {
        *("REQ-TLS-006", "REQ-TLS-010", "REQ-ID-001", "REQ-ID-003", "REQ-ID-004", "REQ-ID-005"),
        *("REQ-ID-009", "REQ-ID-010", "REQ-ID-012", "REQ-ID-013", "REQ-ID-014", "REQ-ORG-016"),
        "REQ-ERR-007",
    }
)
"""Decided in the signer's own process or before an answer is made: no layer can spoil them."""


SUITES = 6
BY_FILE = frozenset({"REQ-ID-020"})
"""Tried over connections that carry no headers of the suite's."""
WAITING = frozenset({f"REQ-{n}" for n in ("ORG-015", "ALM-020", "ALM-010", "ALM-013", "ALM-017")})


@dataclass(frozen=True)
class Trial:
    """A command that runs, and where it writes."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    folder: Path

    def report(self) -> dict[str, Any]:
        """Wait for its end and return its report."""
        self.process.wait(280)
        return dict(json.loads(Path(self.output.name).read_text()))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that the hub's own user can reach where the tests run as root."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Trial]]:
    """Return both commands as a user runs them, at once: what they do most is wait."""
    out = tmp_path_factory.mktemp("trials")
    program = f"{sys.executable} -m asepsis.tools.conformance.own_device"
    words = {"hub": ["hub"], "device": ["device", program]}
    begun: dict[str, Trial] = {}
    for what, command in words.items():
        arguments = [ASEPSIS, "conform", *command, "--json", "--out", str(out / what)]
        output = (out / f"{what}.json").open("wb")
        begun[what] = Trial(subprocess.Popen(arguments, stdout=output), output, out / what)
    yield begun
    for trial in begun.values():
        trial.process.kill()
        trial.process.wait()
        trial.output.close()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_our_hub_conforms(trials: dict[str, Trial]) -> None:
    """Goal: the command as a user runs it; every check passes, three reports are written."""
    report, tmp_path = trials["hub"].report(), trials["hub"].folder
    wrong = [r for r in report["results"] if r["outcome"] != "pass"]
    assert not wrong, wrong
    assert trials["hub"].process.returncode == 0
    assert report["conforms"] is True
    assert len(report["results"]) == len(HUB_CHECKS)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    suite = ET.fromstring((tmp_path / "report.junit.xml").read_bytes())  # noqa: S314 - our own
    assert suite.attrib["failures"] == "0"
    assert "Nothing that was tried failed" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_our_device_conforms(trials: dict[str, Trial]) -> None:
    report = trials["device"].report()
    wrong = [r for r in report["results"] if r["outcome"] == "fail"]
    assert not wrong, wrong
    assert report["conforms"] is True


def test_every_check_is_spoiled_or_named() -> None:
    tried = {check.requirement for check in HUB_CHECKS}
    assert tried == {*SPOILED, *WEAKENED, *SHOWN_BY_UNIT_TESTS}


def tried(bench: HubBench, requirement: str) -> str:
    """Return what a check says of a hub that breaks its requirement."""
    check = next(each for each in HUB_CHECKS if each.requirement == requirement)
    bench.marks[HEADER] = requirement
    (result,) = run(bench, [check])
    return result.outcome


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_broken_hub_breaks_is_found_out(folder: Path) -> None:
    """Goal: one hub, every mutant; what only waits does so beside the others."""
    breaks = folder / "breaks"
    breaks.write_text("", "ascii")
    breaks.chmod(0o644)
    benches: queue.SimpleQueue[HubBench] = queue.SimpleQueue()
    said: dict[str, str] = {}
    with (
        contextlib.ExitStack() as stack,
        shared_hub(folder / "hub", breaks=breaks, suites=SUITES) as plans,
    ):
        made = [HubBench(plan, folder / f"suite{i}") for i, plan in enumerate(plans)]
        for bench in made:
            stack.callback(bench.close)
            bench.open()
        for requirement in (*WEAKENED, *BY_FILE):
            breaks.write_text(requirement, "ascii")
            said[requirement] = tried(made[0], requirement)
        breaks.write_text("", "ascii")
        for bench in made:
            benches.put(bench)

        def try_one(requirement: str) -> None:
            bench = benches.get()
            said[requirement] = tried(bench, requirement)
            benches.put(bench)

        with ThreadPoolExecutor(SUITES) as pool:
            list(pool.map(try_one, sorted(set(SPOILED) - BY_FILE, key=is_quick)))
    assert set(said) == {*SPOILED, *WEAKENED}
    assert {r for r, outcome in said.items() if outcome != Outcome.FAIL} == set()


def is_quick(requirement: str) -> bool:
    """Whether a mutant is found out at once; what waits for silence goes first."""
    return requirement not in WAITING
