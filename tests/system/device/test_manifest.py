"""What runs is what the manifest generates: the kernel is asked, compartment by compartment."""

import ctypes
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from asepsis.core.model.manifest import Criticality
from asepsis.edge.device.manifest import shipped
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox import bpf, seccomp
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.sandbox.supervision_groups import here

HOLDING = detect().holding
_DEVICE_FILES = {name for name, one in shipped().documents.items() if one.device_file}
NAMES = [n for n, one in shipped().compartments.items() if _DEVICE_FILES.isdisjoint(one.handed)]
"""Without what is started only where its device file is: the attester needs a TPM."""
MIB = 1 << 20
_SEIZE, _INTERRUPT, _DETACH, _GET_FILTER = 0x4206, 0x4207, 17, 0x420C
_WAIT_ALL = 0x4000_0000
"""ptrace(2) and wait(2)."""
_RESOURCE = 1 << 24
"""CAP_SYS_RESOURCE."""


@pytest.fixture(scope="module")
def running(ward: ModuleType) -> Iterator[tuple[Supervisor, Path]]:
    """Run a device without a hub until every compartment has confined itself."""
    with tempfile.TemporaryDirectory(prefix="asepsis-manifest-") as made:
        Path(made).chmod(0o755)
        folder = ward.enrolled(Path(made) / "device")
        confined: set[str] = set()

        def tell(compartment: str, event: str, _details: object) -> None:
            if event == "confined":
                confined.add(compartment)

        supervisor = Supervisor(folder, holding=HOLDING, setting=Setting(), tell=tell)
        try:
            deadline_s = time.monotonic() + 30
            while len(confined) < len(NAMES) and time.monotonic() < deadline_s:
                supervisor.step()
            assert confined == set(NAMES)
            yield supervisor, folder.path
        finally:
            supervisor.close()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return {key: rest.strip() for key, _, rest in (line.partition(":") for line in lines)}


def limit(pid: int, name: str) -> int:
    found = re.search(
        rf"^{name} +(\d+) +\1 ", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE
    )
    assert found, name
    return int(found.group(1))


@pytest.mark.skipif(Layer.BUBBLEWRAP not in HOLDING, reason="bubblewrap does not run here")
@pytest.mark.parametrize("name", NAMES)
def test_bubblewrap_was_started_by_the_generated_arguments(
    name: str, running: tuple[Supervisor, Path]
) -> None:
    supervisor, folder = running
    rules = host.rules(shipped().compartments[name], state=folder / "compartments" / "network")
    wrapper = int(status(supervisor.pid(name))["PPid"])
    words = Path(f"/proc/{wrapper}/cmdline").read_bytes().decode().split("\0")
    expected = list(rules.launcher)
    at = len(expected) - 1
    # Before the end of its options stands the descriptor that is told the process id.
    assert words[:at] == expected[:at]
    assert words[at] == "--info-fd"
    assert words[at + 2] == expected[at] == "--"
    assert f"from {shipped().compartments[name].code} import main" in "\n".join(words[at + 3 :])


@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_holds_limits_user_and_order_of_the_manifest(
    name: str, running: tuple[Supervisor, Path]
) -> None:
    pid = running[0].pid(name)
    declared = shipped().compartments[name]
    resources = declared.resources
    assert limit(pid, "Max address space") == resources.memory_mib * MIB
    assert limit(pid, "Max open files") == resources.files
    assert limit(pid, "Max file size") == resources.file_mib * MIB
    assert limit(pid, "Max core file size") == 0
    found = status(pid)
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert int(found["CapEff"], 16) == 0
    if Layer.USERS in HOLDING:
        assert int(found["CapBnd"], 16) == 0  # Nothing could ever give one back.
    if Layer.USERS in HOLDING:
        assert set(found["Uid"].split()) == set(found["Gid"].split()) == {str(declared.user)}
        assert os.getpriority(os.PRIO_PROCESS, pid) == resources.nice
        # A container's root may be forbidden to protect anybody.
        protects = int(status(os.getpid())["CapEff"], 16) & _RESOURCE
        expected = resources.oom_score if protects else max(resources.oom_score, 0)
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == expected
    if Layer.REALTIME in HOLDING and resources.realtime:
        assert os.sched_getscheduler(pid) == os.SCHED_FIFO
        assert os.sched_getparam(pid).sched_priority == resources.realtime
    else:
        assert os.sched_getscheduler(pid) == os.SCHED_OTHER


@pytest.mark.root
@pytest.mark.parametrize("name", NAMES)
def test_the_control_group_holds_what_the_manifest_says(
    name: str, running: tuple[Supervisor, Path]
) -> None:
    where = here()
    if "pids" not in where.parents:
        pytest.skip("this machine makes no control groups")
    lines = Path(f"/proc/{running[0].pid(name)}/cgroup").read_text("ascii").splitlines()
    own = next(line for line in lines if ":pids:" in line or line.startswith("0::/"))
    base = where.parents["pids"]
    group = next(base.glob(f"asepsis-{os.getpid()}-*/{own.rpartition('/')[2]}"))
    assert own.rpartition("/")[2].startswith(f"{name}-")
    tasks = shipped().compartments[name].resources.tasks
    assert (group / "pids.max").read_text("ascii").strip() == str(tasks)


@pytest.mark.root
@pytest.mark.parametrize("name", NAMES)
def test_the_filter_in_the_kernel_is_the_one_of_the_class(
    name: str, running: tuple[Supervisor, Path]
) -> None:
    machine = seccomp.machine()
    assert machine
    declared = shipped().compartments[name]
    # What tells of an attack is refused in front of the supervisor, which counts it.
    witnessed = declared.criticality is Criticality.EXPENDABLE
    rules = seccomp.rules(declared.syscalls, machine_name=machine, witnessed=witnessed)
    architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    expected = bpf.encode(bpf.assemble(rules, architecture=architecture))
    assert filter_of(running[0].pid(name)) == expected


def filter_of(pid: int) -> bytes:
    """Return the only seccomp filter of a process, as the kernel keeps it for checkpoints."""
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long] * 4
    assert library.ptrace(_SEIZE, pid, 0, 0) == 0, os.strerror(ctypes.get_errno())
    try:
        library.ptrace(_INTERRUPT, pid, 0, 0)
        os.waitpid(pid, _WAIT_ALL)
        count = library.ptrace(_GET_FILTER, pid, 0, 0)
        assert count > 0, os.strerror(ctypes.get_errno())
        buffer = ctypes.create_string_buffer(8 * count)
        library.ptrace(_GET_FILTER, pid, 0, ctypes.addressof(buffer))
        assert library.ptrace(_GET_FILTER, pid, 1, 0) < 0  # There is no second one.
        return buffer.raw
    finally:
        library.ptrace(_DETACH, pid, 0, 0)
