"""Full control of every compartment: what can it do? Each attack, with all layers and without."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import asepsis
from asepsis.edge.sandbox import landlock
from asepsis.edge.sandbox.layers import Layer, detect
from asepsis.tools.attack import sets
from asepsis.tools.attack.enrolled import enrolled
from asepsis.tools.attack.payload import DENIED, SUCCEEDED
from asepsis.tools.attack.report import Machine, Report, write_reports
from asepsis.tools.attack.rig import Trial, attacked
from asepsis.tools.attack.table import ATTACKS, Vantage

FOUND = detect()
NOBODY = 65_534
LABELS = sets.labels([sets.EACH])
DEBIAN_12 = 2
STRONGER = {("limit", Vantage.GATEWAY), ("memory_program", Vantage.VERIFIER)}
"""Stopped by more than a layer: a root without CAP_SYS_RESOURCE, and a limit of no file at all."""
pytestmark = pytest.mark.slow


def trial(label: str, *, abi: int | None = None) -> Trial:
    with tempfile.TemporaryDirectory(prefix="asepsis-attacks-") as made:
        place = Path(made)
        place.chmod(0o755)
        folder = enrolled(place / "device")
        on = sets.layers(label, holding=FOUND.holding)
        return attacked(folder, layers=on, abi=abi or landlock.abi(), place=place)


def reported(label: str, found: Trial) -> Report:
    machine = Machine.here(FOUND, abi=found.abi)
    return Report(machine=machine, at="2026-01-01T00:00:00+00:00", trials=[(label, found)])


def is_as_the_table_says(label: str, found: Trial) -> None:
    report = reported(label, found)
    assert report.findings() == []
    stronger = {
        (attack.name, cell.vantage)
        for attack in ATTACKS
        for cell in report.cells(attack, found)
        if cell.stronger
    }
    assert stronger <= STRONGER


@pytest.fixture(scope="module")
def everything() -> Trial:
    return trial(sets.ALL)


def test_nothing_succeeds_while_the_layers_hold(everything: Trial) -> None:
    """Goal: at least 33 attacks, from every compartment, and not one of them gets anywhere."""
    assert FOUND.holding >= {Layer.BUBBLEWRAP, Layer.LANDLOCK, Layer.SECCOMP}
    assert len(ATTACKS) >= 33
    assert reported(sets.ALL, everything).counts(everything)[SUCCEEDED] == 0
    assert all(len(found) >= 33 for found in everything.outcomes.values())
    assert set(everything.visits.values()) == {0}
    is_as_the_table_says(sets.ALL, everything)


def test_reports_are_written_for_people_and_scripts(everything: Trial, tmp_path: Path) -> None:
    written = write_reports(reported(sets.ALL, everything), tmp_path / "out")
    document = json.loads(written["attack.json"].read_bytes())
    assert len(document["trials"][0]["attacks"]) == len(ATTACKS)
    assert document["findings"] == []
    assert {line["landlock"] for line in document["expected"]} == {2, 4, 6, 9}
    page = written["attack.html"].read_text("utf-8")
    assert all(attack.name in page for attack in ATTACKS)
    assert "<script" not in page


@pytest.mark.parametrize("label", [label for label in LABELS if label.startswith("-")])
def test_without_one_layer_the_others_hold_what_the_table_says(label: str) -> None:
    """Goal: the report shows which layer carries which load, and the table is true."""
    is_as_the_table_says(label, trial(label))


def test_an_older_kernel_leaves_the_gaps_that_the_table_names() -> None:
    """Goal: what Debian 12's Landlock leaves open is open only where no view bounds a process."""
    found = trial("-seccomp", abi=DEBIAN_12)
    is_as_the_table_says("-seccomp", found)
    assert found.outcomes[Vantage.GATEWAY]["other_host"] == SUCCEEDED
    assert found.outcomes[Vantage.NETWORK]["other_host"].startswith(DENIED)


def test_negative_control_without_layers_the_attacks_are_real() -> None:
    """Goal: with only the seal of the ring left nearly all succeed; seal and broker still hold."""
    found = trial(sets.NONE)
    counts = reported(sets.NONE, found).counts(found)
    if os.geteuid() == 0:
        assert counts[SUCCEEDED] > 130
    held = {"map_ring", "write_ring", "seal_ring", "never_drain", "answer_wake", "other_endpoint"}
    assert all(found.outcomes[Vantage.NETWORK][name].startswith(DENIED) for name in held)
    assert found.vitals_starts == 1
    assert all(found.visits.values()), found.visits
    is_as_the_table_says(sets.NONE, found)


@pytest.mark.root
def test_an_ordinary_user_gets_the_same_protection() -> None:
    """Goal: the system's own Python, as nobody, behind a user namespace: nothing succeeds."""
    with tempfile.TemporaryDirectory(prefix="asepsis-nobody-") as made:
        home = Path(made)
        home.chmod(0o755)
        enrolled(home / "device")
        # A copy: the checkout may lie where nobody may read.
        source, package = home / "src" / "asepsis", Path(asepsis.__file__).parent
        for part in ("core", "edge", "tools/attack"):
            shutil.copytree(package / part, source / part)
        for part in ("__init__.py", "tools/__init__.py"):
            if (package / part).exists():
                shutil.copy(package / part, source / part)
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        on = FOUND.holding - {Layer.USERS, Layer.REALTIME}
        program = f"""
import json, sys
sys.path.append({str(home / "src")!r})
from pathlib import Path
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.attack.rig import attacked
place = Path({made!r})
layers = frozenset(Layer[name] for name in {sorted(layer.name for layer in on)!r})
found = attacked(
    IdentityFolder(place / "device"), layers=layers, abi={landlock.abi()}, place=place
)
print(json.dumps({{str(v): dict(outcomes) for v, outcomes in found.outcomes.items()}}))
"""
        done = subprocess.run(
            ["/usr/bin/python3", "-B", "-c", program],
            capture_output=True, user=NOBODY, group=NOBODY, extra_groups=[], check=False,
            timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()[-2_000:]
        outcomes = json.loads(done.stdout)
    assert all(len(found) >= 33 for found in outcomes.values())
    assert SUCCEEDED not in {word for found in outcomes.values() for word in found.values()}
