"""What somebody can do who runs his own code in a process of the DICOM gateway."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import json, os, socket, sys
from pathlib import Path
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.imaging import {module} as module
from asepsis.edge.sandbox.confine import confine

folder = Path(sys.argv[1])
mine = os.open(folder / "spool" / "new.image", os.O_WRONLY | os.O_CREAT)
parent = os.getppid()
confinement.preload()
confine(module.order({arguments}))

def attempt(work):
    try:
        work()
    except OSError as error:
        return type(error).__name__
    return "done"

print(json.dumps({{
    "read the key": attempt(lambda: (folder / "identity" / "tls.key").read_bytes()),
    "read the spool": attempt(lambda: (folder / "spool" / "old.image").read_bytes()),
    "list the spool": attempt(lambda: os.listdir(folder / "spool")),
    "read what it writes": attempt(lambda: os.open(f"/proc/self/fd/{{mine}}", os.O_RDONLY)),
    "write what it was given": attempt(lambda: os.write(mine, b"x")),
    "write elsewhere": attempt(lambda: (folder / "elsewhere").write_bytes(b"x")),
    "make a socket": attempt(socket.socket),
    "run a program": attempt(lambda: os.execv("/bin/true", ["true"])),
    "look at the parent": attempt(lambda: open(f"/proc/{{parent}}/mem", "rb")),
}}))
"""


def probe(folder: Path, module: str, arguments: str = "") -> dict[str, str]:
    for name in ("identity", "spool"):
        (folder / name).mkdir()
    (folder / "identity" / "tls.key").write_text("secret")
    (folder / "spool" / "old.image").write_text("of somebody else")
    script = PROBE.format(module=module, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("module", ["app", "archives_app"])
def test_who_speaks_dicom_with_strangers_has_nothing(tmp_path: Path, module: str) -> None:
    found = probe(tmp_path, module)
    assert found.pop("write what it was given") == "done"
    assert {name for name, was in found.items() if was != "PermissionError"} == set(), found


def test_the_prover_has_its_own_folder_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    settings = "__import__('asepsis.edge.gateway.imaging.settings', fromlist=['x'])"
    arguments = f"{settings}.IdentitySettings(), folder / 'own'"
    found = probe(tmp_path, "identity_process", arguments)
    assert found.pop("write what it was given") == "done"
    assert {name for name, was in found.items() if was != "PermissionError"} == set(), found


def test_the_keeper_makes_no_connection_and_runs_no_program(tmp_path: Path) -> None:
    """Goal: it has spool and key, and only the broker's connections to the hub."""
    arguments = "folder / 'spool', folder / 'identity', bytes_max=1 << 20"
    found = probe(tmp_path, "keeper_process", arguments)
    for name in ("write elsewhere", "make a socket", "run a program", "look at the parent"):
        assert found[name] == "PermissionError", found
