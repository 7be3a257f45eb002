"""Full control of a compartment: what can it do? Every attack, with all layers and without some."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

import asepsis
from asepsis.edge.sandbox.layers import Layer, detect

HOLDING = detect().holding
BARE = frozenset({Layer.RING})
NEEDED = frozenset({Layer.BUBBLEWRAP, Layer.LANDLOCK, Layer.SECCOMP})
NOBODY = 65_534
pytestmark = pytest.mark.slow


def attacked(
    ward: ModuleType, intrusion: ModuleType, folder: Path, holding: frozenset[Layer]
) -> dict[str, str]:
    device = ward.enrolled(folder / "device")
    return intrusion.attacked(device, holding, outside=folder / "outside")


def succeeded(outcomes: dict[str, str]) -> set[str]:
    return {name for name, outcome in outcomes.items() if outcome == "SUCCEEDED"}


@pytest.fixture(scope="module")
def everything(
    ward: ModuleType, intrusion: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    return attacked(ward, intrusion, tmp_path_factory.mktemp("all"), HOLDING)


def test_this_machine_has_the_layers_that_are_claimed() -> None:
    assert HOLDING >= NEEDED


def test_nothing_succeeds_while_the_layers_hold(everything: dict[str, str]) -> None:
    assert len(everything) >= 23
    assert succeeded(everything) == set(), everything


@pytest.mark.parametrize("removed", sorted(NEEDED | {Layer.USERS}, key=lambda layer: layer.name))
def test_without_one_layer_the_others_hold(
    ward: ModuleType, intrusion: ModuleType, tmp_path: Path, removed: Layer
) -> None:
    """Goal: no layer is the only one, but for system calls that only seccomp refuses."""
    holding = HOLDING - {removed}
    if removed is Layer.BUBBLEWRAP:
        holding -= {Layer.USERS}
    outcomes = attacked(ward, intrusion, tmp_path, holding)
    carried_alone = {
        Layer.SECCOMP: {"new_socket", "netlink", "executable_memory", "io_uring", "reconnect",
                        "reconnect_by_fastopen", "listen", "visits elsewhere", "new_namespace"},
    }.get(removed, set())  # fmt: skip
    assert succeeded(outcomes) <= carried_alone, outcomes


def test_negative_control_without_layers_the_attacks_are_real(
    ward: ModuleType, intrusion: ModuleType, tmp_path: Path
) -> None:
    """Goal: with only the seal of the ring left, the attacks succeed; the seal still holds."""
    outcomes = attacked(ward, intrusion, tmp_path, BARE)
    real = {
        "new_socket", "new_connection", "reconnect", "read_origin_key",
        "read_memory_of_origin", "open_memory_of_vitals", "steal_descriptor", "trace_vitals",
        "slow_vitals", "stop_vitals", "run_shell", "executable_memory", "write_outside",
        "visits elsewhere",
    }  # fmt: skip
    assert real <= succeeded(outcomes), outcomes
    assert outcomes["write_ring"].startswith("denied")
    assert outcomes["answer_wake"].startswith("denied")
    assert outcomes["other_endpoint"].startswith("denied")


@pytest.mark.root
def test_an_ordinary_user_gets_the_same_protection(ward: ModuleType) -> None:
    """Goal: the system's own Python, as nobody, behind a user namespace: nothing succeeds."""
    intrusion = Path(__file__).with_name("intrusion.py")
    with tempfile.TemporaryDirectory(prefix="asepsis-nobody-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        ward.enrolled(home / "device")
        # A copy: the checkout may lie where nobody may read.
        source = home / "src"
        package = Path(asepsis.__file__).parent
        for part in ("core", "edge"):
            shutil.copytree(package / part, source / "asepsis" / part)
        shutil.copy(package / "__init__.py", source / "asepsis")
        copies = home / "tests"
        copies.mkdir()
        for name in ("intrusion.py", "attacker.py"):
            shutil.copy(intrusion.with_name(name), copies)
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        layers = [layer.name for layer in HOLDING - {Layer.USERS, Layer.REALTIME}]
        done = subprocess.run(
            [
                "/usr/bin/python3",
                "-B",
                str(copies / "intrusion.py"),
                str(source),
                str(home / "device"),
                str(home / "outside"),
                *layers,
            ],
            capture_output=True,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-2_000:]
        outcomes = json.loads(done.stdout)
    assert len(outcomes) >= 23
    assert succeeded(outcomes) == set(), outcomes
