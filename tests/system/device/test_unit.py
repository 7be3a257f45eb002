"""The generated systemd unit starts the device: its command line as it stands, with its rights.

No systemd runs here. What can be taken from the unit is applied by other means (`setpriv`,
`umask`, a mount namespace in which the program is where the unit names it); its filter of system
calls, its groups and its view of the file system are not.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.errors import Unavailable
from asepsis.edge.device.manifest import shipped
from asepsis.edge.device.supervisor_orders import ask_supervisor
from asepsis.edge.sandbox.generate import systemd

WAIT_S = 40.0
_BITS = {
    "cap_chown": 0,
    "cap_dac_override": 1,
    "cap_fowner": 3,
    "cap_kill": 5,
    "cap_setgid": 6,
    "cap_setuid": 7,
    "cap_setpcap": 8,
    "cap_net_admin": 12,
    "cap_ipc_lock": 14,
    "cap_sys_admin": 21,
    "cap_sys_nice": 23,
    "cap_sys_resource": 24,
}
"""Numbers of capabilities; linux/capability.h."""
PLACED = """\
set -e
aside=$1 program=$2 state=$3; shift 3
mount -t tmpfs aside "$aside"
mkdir "$aside/bin" "$aside/bin-work" "$aside/lib" "$aside/lib-work"
mount -t overlay -o "lowerdir=/usr/bin,upperdir=$aside/bin,workdir=$aside/bin-work" bin /usr/bin
ln -s "$program" /usr/bin/asepsis
mount -t overlay -o "lowerdir=/var/lib,upperdir=$aside/lib,workdir=$aside/lib-work" lib /var/lib
mkdir -p "$STATE"
mount --bind "$state" "$STATE"
umask "$MASK"
exec "$@"
"""
"""Puts the program and the state where the unit names them, for this process and its children."""
pytestmark = [pytest.mark.slow, pytest.mark.root]


def directives(unit: str) -> dict[str, str]:
    lines = [line for line in unit.splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def granted() -> frozenset[str]:
    """Return the capabilities that this machine has to give."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text("ascii").splitlines()
        if line.startswith("CapBnd:")
    )
    number = int(line.split()[1], 16)
    return frozenset(f"cap_{bit}" for bit in range(64) if number >> bit & 1)


def command_of(found: dict[str, str]) -> list[str]:
    """Return the command line of the unit with its rights, as far as they need no systemd."""
    here = granted()
    names = [name.lower() for name in found["CapabilityBoundingSet"].split()]
    kept = [f"+{n.removeprefix('cap_')}" for n in names if f"cap_{_BITS[n]}" in here]
    assert found["NoNewPrivileges"] == "yes"
    assert found["AmbientCapabilities"] == ""
    return [
        "setpriv",
        f"--bounding-set=-all,{','.join(kept)}",
        "--no-new-privs",
        *found["ExecStart"].split(),
    ]


def test_the_command_line_of_the_unit_starts_every_compartment(
    ward: ModuleType, record_property: Callable[[str, object], None]
) -> None:
    unit = directives(systemd.unit(shipped()))
    program = Path(sys.executable).with_name("asepsis")
    with tempfile.TemporaryDirectory(prefix="asepsis-unit-") as made:
        place = Path(made)
        place.chmod(0o755)
        (place / "aside").mkdir()
        state = ward.enrolled(place / "state").path
        state.chmod(int(unit["StateDirectoryMode"], 8))
        environment = {**os.environ, "STATE": systemd.STATE, "MASK": unit["UMask"]}
        with (place / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    *("unshare", "--mount", "--propagation", "private", "sh", "-c", PLACED, "sh"),
                    *(place / "aside", program, state, *command_of(unit)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            try:
                facts = serving(state, process, place / "log")
            finally:
                process.terminate()
                process.wait(WAIT_S)
        told = (place / "log").read_text("utf-8")
    assert process.returncode == 0, told
    assert {one["starts"] for one in facts.values()} == {1}
    # What this machine does not grant is told; whether it grants it is not this test's matter.
    record_property("not_granted", [line for line in told.splitlines() if "not-granted" in line])


def serving(state: Path, process: "subprocess.Popen[bytes]", log: Path) -> dict[str, Any]:
    """Wait until every compartment serves, and return what the supervisor says of each."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text("utf-8")
        with contextlib.suppress(Unavailable):
            facts = ask_supervisor(state, "versions")["compartments"]
            if all(one["phase"] in {"serving", "warming", "ready"} for one in facts.values()):
                return dict(facts)
        time.sleep(0.1)
    raise AssertionError(log.read_text("utf-8"))
