"""What this machine enforces for each compartment, and the files that are generated."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from asepsis.core.errors import ConfigError
from asepsis.core.model.manifest import REALTIME_MAX
from asepsis.edge.device import network
from asepsis.edge.device.clock import Reading
from asepsis.edge.device.manifest import SHIPPED, read_file, shipped
from asepsis.edge.sandbox import bubblewrap, landlock, seccomp
from asepsis.edge.sandbox.confine import Confinement, Limits
from asepsis.edge.sandbox.generate import cgroups, host, systemd
from asepsis.edge.sandbox.generate.artefacts import artefacts
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.folder import IdentityFolder

STATE = Path("/d/compartments/network")
ALL = frozenset(Layer)
CODE = bubblewrap.code()
SEES = (*CODE.libraries, CODE.package)
SMALL = Limits(memory_mib=384, files=64, file_mib=4)
LARGE = Limits(memory_mib=768, files=128, file_mib=256)
REVIEWED = {
    "vitals": Confinement(
        layers=ALL,
        kind=SyscallClass.CORE,
        user=62_201,
        limits=SMALL,
        lock_memory=True,
        domain="vitals_t",
    ),
    "origin": Confinement(
        layers=ALL, kind=SyscallClass.CORE, user=62_202, limits=SMALL, domain="origin_t"
    ),
    "network": Confinement(
        layers=ALL,
        kind=SyscallClass.NETWORK,
        user=62_203,
        readable=SEES,
        writable=(STATE,),
        limits=LARGE,
        domain="network_t",
    ),
    "timekeeper": Confinement(
        layers=ALL,
        kind=SyscallClass.NETWORK,
        user=62_204,
        readable=SEES,
        limits=SMALL,
        domain="timekeeper_t",
    ),
    "attester": Confinement(
        layers=ALL, kind=SyscallClass.CORE, user=62_209, limits=SMALL, domain="attester_t"
    ),
}
"""What a person reviewed: a change of the manifest that changes this is meant to be seen."""


@pytest.mark.parametrize("name", REVIEWED)
def test_a_compartment_is_confined_as_reviewed(name: str) -> None:
    plan = host.blueprint(shipped().compartments[name], layers=ALL, state=STATE)
    assert plan.confinement == REVIEWED[name]
    assert plan.module == f"asepsis.edge.device.{name}"
    assert plan.state == (STATE if name == "network" else None)
    assert plan.prelude == ""


def test_memory_is_locked_only_where_real_time_holds() -> None:
    plan = host.blueprint(
        shipped().compartments["vitals"], layers=ALL - {Layer.REALTIME}, state=STATE
    )
    assert not plan.confinement.lock_memory


def test_the_rules_are_those_of_the_launcher() -> None:
    found = host.rules(shipped().compartments["network"], state=STATE, as_root=True)
    assert found.launcher == bubblewrap.arguments(
        bwrap=bubblewrap.program() or Path("bwrap"), where=CODE, as_root=True, state=STATE
    )
    assert found.writable == (str(bubblewrap.STATE),)
    assert found.readable == (*map(str, CODE.libraries), str(bubblewrap.CODE))
    document = found.to_document()
    assert document["landlock"]["write_rights"] == landlock.WRITE
    assert "socket" not in document["seccomp"]
    vitals = host.rules(shipped().compartments["vitals"], state=STATE)
    assert vitals.writable == vitals.readable == ()
    assert "--bind" not in vitals.launcher


@pytest.mark.parametrize("kind", SyscallClass)
def test_the_listed_calls_are_the_rules_of_the_filter(kind: SyscallClass) -> None:
    names = seccomp.names(kind)
    table = seccomp.table()
    listed = {table[name.split()[0]][0] for name in names} | {table["clone3"][0]}
    assert {rule.number for rule in seccomp.rules(kind, machine_name="x86_64")} == listed
    assert len(set(names)) == len(names)


def test_the_shipped_manifest_agrees_with_what_the_code_exchanges() -> None:
    """Goal: names of the manifest that code knows too are the same names."""
    manifest = shipped()
    endpoints = manifest.compartments["network"].endpoints
    assert endpoints[network.CLINICAL] == "clinical"
    assert endpoints[network.ENROLMENT] == "enrolment"
    assert len(Reading(1, 2, 3).encode()) == manifest.lines["time"].bytes_max
    key = manifest.documents["origin-key"].path
    assert IdentityFolder(Path("/d")).origin_key_path == Path("/d", key)


def test_control_groups_bound_everybody_and_never_stop_the_critical_one() -> None:
    groups = cgroups.groups(shipped())
    assert groups["vitals"]["cpu.max"] == "max 100000"
    assert groups["vitals"]["memory.min"] == groups["vitals"]["memory.max"]
    assert groups["vitals"]["memory.swap.max"] == "0"
    assert groups["network"]["cpu.max"] == "50000 100000"
    assert groups["network"]["memory.min"] == "0"
    assert groups["network"]["pids.max"] == "24"
    weights = {name: int(values["cpu.weight"]) for name, values in groups.items()}
    assert weights["vitals"] > weights["origin"] > weights["network"]
    assert all(1 <= weight <= 10_000 for weight in weights.values())


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        assert not os.environ.get("CI"), "CI must have systemd-analyze"
        pytest.skip("needs the package systemd")
    text = systemd.unit(shipped())
    assert f"LimitRTPRIO={REALTIME_MAX}" in text
    path = tmp_path / systemd.unit_name(shipped())
    # systemd-analyze asks for the program; its path is that of the image, not of this machine.
    path.write_text(text.replace("/usr/bin/asepsis", shutil.which("true") or ""), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert path.name not in done.stderr, done.stderr
    score = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=60", str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert score.returncode == 0, score.stdout[-400:]


def test_everything_is_generated_and_readable() -> None:
    made = artefacts(shipped())
    names = shipped().compartments
    assert {f"host/{name}.json" for name in names} <= made.keys()
    assert {f"cgroups/{name}.conf" for name in names} <= made.keys()
    for name, text in made.items():
        if name.endswith(".json"):
            json.loads(text)
    claims = json.loads(made["claims.json"])
    assert all(claim["holds"] for claim in claims)
    assert made == artefacts(shipped())
    # What a user of this machine is called, or where its checkout lies, is in the host's part only.
    assert not re.search(r"/home|/root", made["selinux/device.cil"])


def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_file(tmp_path / "absent.toml")
    assert read_file(SHIPPED).manifest == shipped()
