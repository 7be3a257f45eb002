"""A compartment is replaced on a device with a TPM: measured before it runs, and back again."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.errors import SafetyRefusal, TransientError
from asepsis.core.trust.attestation_log import Change
from asepsis.edge.device.measured_versions import begin_measuring, digest_of
from asepsis.edge.device.measuring import Measuring
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.layers import detect
from asepsis.tools.testing.software_tpm import SoftwareTpm

WAIT_S = 60.0
PAUSE_S = 0.5
REFUSED = "version-refused"
NETWORK = ("edge", "device", "network.py")


def release(device: Path, version: str) -> Path:
    """Put a version where the supervisor looks for it: the shipped code and a line of its own."""
    shipped = bubblewrap.code().package
    package = device / "releases" / "network" / version / "asepsis"
    package.mkdir(parents=True)
    shutil.copy(shipped / "__init__.py", package)
    for part in ("core", "edge"):
        shutil.copytree(
            shipped / part, package / part, ignore=shutil.ignore_patterns("__pycache__", "gateway")
        )
    with package.joinpath(*NETWORK).open("a", encoding="utf-8") as file:
        file.write(f"# Version {version}.\n")
    return package


@pytest.mark.slow
def test_a_swap_stands_in_log_and_register_before_it_takes_over(ward: ModuleType) -> None:
    """Goal: what the hub replays is what the supervisor really started."""
    with tempfile.TemporaryDirectory(prefix="asepsis-measured-") as made, SoftwareTpm() as software:
        Path(made).chmod(0o755)
        folder = ward.enrolled(Path(made) / "device")
        package = release(folder.path, "1.1")
        events: list[tuple[str, str, dict[str, Any]]] = []

        def tell(who: str, what: str, details: Any) -> None:
            events.append((who, what, dict(details)))

        measure = begin_measuring(software.path, log=Path(made) / "measured.jsonl", tell=tell)
        supervisor = Supervisor(
            folder,
            holding=detect().holding,
            setting=Setting(seed=5, measure=measure),
            tell=tell,
        )

        def told(*wanted: str) -> int:
            return len([1 for who, what, _ in events if (who, what) == wanted])

        def until(holds: Callable[[], object]) -> None:
            until_s = time.monotonic() + WAIT_S
            while not holds():
                assert time.monotonic() < until_s, [
                    d for _, what, d in events if what == "version-refused"
                ]
                supervisor.step()

        try:
            until(lambda: told("network", "alive") and told("vitals", "state"))
            # In the middle of a change of the clinical state there is no permit: ask again, later.
            until_s = time.monotonic() + WAIT_S
            while not told("network", "version-takes-over"):
                assert time.monotonic() < until_s, [d for _, w, d in events if w == REFUSED]
                refused = told("network", REFUSED)
                try:
                    supervisor.swap("network", "1.1")
                except (SafetyRefusal, TransientError):
                    pass  # Not in this state, or the network compartment is just starting.
                else:
                    until(
                        lambda n=refused: (
                            told("network", "version-takes-over") or told("network", REFUSED) > n
                        )
                    )
                later_s = time.monotonic() + PAUSE_S
                until(lambda s=later_s: time.monotonic() > s)
        finally:
            supervisor.close()
        with Tpm(software.path) as tpm:
            lines = Measuring(tpm, Path(made) / "measured.jsonl").lines()
        assert [(line.change, line.subject, line.version) for line in lines][:2] == [
            (Change.START, "device", "shipped"),
            (Change.SWAP, "network", "1.1"),
        ]
        assert lines[1].sha256 == digest_of(package)
        assert not [what for _, what, _ in events if what == "not-measured"]
