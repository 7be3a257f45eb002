"""Control groups: read from the kernel's tables, and really made where this machine has them."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from asepsis.edge.device.manifest import NETWORK, VITALS, shipped
from asepsis.edge.sandbox.supervision_groups import Groups, Hierarchies, find, here
from asepsis.edge.sandbox.supervision_place import Places

V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
V1 = """\
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""
OWN_V1 = "4:memory:/m\n2:cpu,cpuacct:/\n0::/user\n"
COMPARTMENTS = shipped().compartments


@pytest.mark.parametrize(
    ("mounts", "own", "version", "parents"),
    [
        (V2, "0::/device.service\n", 2, {"memory": "/sys/fs/cgroup/device.service"}),
        (
            V1,
            OWN_V1,
            1,
            {"cpu": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory/m"},
        ),
        ("", OWN_V1, 0, {}),
        (V2, "", 0, {}),
        ("nonsense\n\n", "nonsense\n:\n", 0, {}),
    ],
    ids=["version 2", "version 1 beside 2", "no mounts", "in no group", "nonsense"],
)
def test_where_groups_can_be_made(
    mounts: str, own: str, version: int, parents: dict[str, str]
) -> None:
    found = find(mounts=mounts, own=own)
    assert found.version == version
    assert {name: str(found.parents[name]) for name in parents} == parents
    assert ("pids" in found.parents) == (version == 2)


def test_a_machine_without_groups_says_so() -> None:
    told: list[tuple[str, str]] = []
    places = Places(
        shipped(),
        realtime=False,
        tell=lambda who, _, details: told.append((who, str(details["what"]))),
        where=Hierarchies(version=0, parents={}),
    )
    process = subprocess.Popen(["/bin/sleep", "60"])
    try:
        for _ in range(2):
            places.put(places.begin(VITALS), [process.pid])
    finally:
        process.kill()
        process.wait()
    places.close()
    assert len(told) == 1
    assert "control groups" in told[0][1]
    assert "real-time scheduling" in told[0][1]


@pytest.mark.root
def test_a_process_in_its_group_is_held_by_the_generated_limits() -> None:
    """Goal: the kernel has the value, and refuses the process too many."""
    where = here()
    if "pids" not in where.parents:
        pytest.skip("this machine makes no control groups")
    groups = Groups(where)
    group = groups.make(COMPARTMENTS[NETWORK])
    pids = next(folder for folder in group.folders if (folder / "pids.max").exists())
    try:
        tasks = COMPARTMENTS[NETWORK].resources.tasks
        assert (pids / "pids.max").read_text("ascii").strip() == str(tasks)
        shell = f"for n in $(seq {tasks + 8}); do sleep 60 2>/dev/null >/dev/null & done"
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"read go; {shell}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert group.put(process.pid)
        _, errors = process.communicate(b"go\n", timeout=30)
        assert b"ork" in errors  # "Cannot fork", in whichever words
    finally:
        deadline_s = time.monotonic() + 20
        while any(folder.exists() for folder in group.folders):
            left = (pids / "cgroup.procs").read_text("ascii")
            for pid in left.split():
                os.kill(int(pid), signal.SIGKILL)
            assert time.monotonic() < deadline_s, "what was killed is still there"
            time.sleep(0.02)
            group.remove()
        groups.close()


@pytest.mark.root
def test_what_a_dead_supervisor_left_is_swept() -> None:
    where = here()
    if not where.version:
        pytest.skip("this machine makes no control groups")
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    left = [Path(p) / f"asepsis-{dead.pid}-1" for p in set(where.parents.values())]
    alive = [Path(p) / f"asepsis-{os.getpid()}-999" for p in set(where.parents.values())]
    for folder in (*left, *alive):
        (folder / "network-1").mkdir(parents=True)
    Groups(where).close()
    assert not any(folder.exists() for folder in left)
    assert all(folder.exists() for folder in alive)
    for folder in alive:
        (folder / "network-1").rmdir()
        folder.rmdir()
