"""What each compartment loads: the standard library, `asepsis.core` and `asepsis.edge`, no more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import asepsis

LIST = """
import sys, json
sys.path.append({root!r})
import {module}
print(json.dumps(sorted(sys.modules)))
"""
OF_EACH = {
    "asepsis.edge.device.vitals": {"ssl", "http", "sqlite3", "asyncio", "email"},
    "asepsis.edge.device.origin": {"http", "sqlite3", "asyncio", "email"},
    "asepsis.edge.device.network": {"asyncio"},
    "asepsis.edge.device.timekeeper": {"sqlite3", "asyncio"},
    "asepsis.edge.device.attester": {"ssl", "http", "sqlite3", "asyncio", "email"},
    "asepsis.edge.device.supervisor": {"sqlite3", "asyncio"},
}
"""Module of a compartment -> parts of the standard library that it has no use for."""


def loaded(module: str, root: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LIST.format(root=str(root), module=module)],
        capture_output=True,
        check=True,
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", OF_EACH)
def test_a_compartment_loads_core_edge_and_the_standard_library(
    module: str, tmp_path: Path
) -> None:
    (tmp_path / "asepsis").symlink_to(Path(asepsis.__file__).parent)
    names = loaded(module, tmp_path)
    foreign = {
        name
        for name in names
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not name.startswith(("asepsis.core", "asepsis.edge", "__"))
    }
    assert foreign == {"asepsis"}
    assert "cryptography" not in names
    needless = {name for name in names if name.partition(".")[0] in OF_EACH[module]}
    assert needless == set()


def test_vitals_loads_no_code_of_the_network_side(tmp_path: Path) -> None:
    (tmp_path / "asepsis").symlink_to(Path(asepsis.__file__).parent)
    names = loaded("asepsis.edge.device.vitals", tmp_path)
    assert not {n for n in names if n.startswith(("asepsis.edge.uplink", "asepsis.core.trust"))}
