"""A real kernel takes the generated policy, decides by it, and refuses what root inside tries."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asepsis.edge.device.manifest import shipped
from asepsis.edge.sandbox.generate import secilc, selinux, selinux_base
from asepsis.edge.sandbox.generate.selinux_types import compartments, thing_types

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
HERE = Path(__file__).parent
DOMAINS = compartments(shipped())
TYPES = [*thing_types(shipped()), *selinux_base.BASE_TYPES]
REFUSED = {errno.EACCES, errno.EPERM}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Boot a kernel with SELinux, and return what it told, word by word."""
    if shutil.which("linux.uml") is None or secilc.program() is None:
        assert not os.environ.get("CI"), "CI must have user-mode-linux and secilc"
        pytest.skip("needs the packages user-mode-linux and secilc")
    folder = tmp_path_factory.mktemp("selinux")
    (folder / "policy").write_bytes(secilc.compile_policy(selinux.policy(shipped())))
    (folder / "domains").write_text(" ".join(DOMAINS), "ascii")
    (folder / "types").write_text(" ".join(TYPES), "ascii")
    done = subprocess.run(
        [
            "linux.uml", "mem=128M", "rootfstype=hostfs", "rootflags=/", "ro", "con=null",
            "con0=null,fd:1", "security=selinux", "quiet", f"init={HERE / 'selinux_init.sh'}",
            f"guest_python={sys.executable}", f"guest_code={HERE / 'selinux_guest.py'}",
            f"guest_folder={folder}",
        ],
        capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert ["end"] in lines, done.stdout[-2_000:] + done.stderr[-500:]
    assert ["loaded", "1"] in lines
    return lines


def expected() -> set[tuple[str, str, str, str]]:
    found: set[tuple[str, str, str, str]] = set()
    for allow in selinux.policy(shipped()).allows:
        for source in DOMAINS if allow.source == "compartment" else [allow.source]:
            target = source if allow.target == "self" else allow.target
            found |= {(source, target, allow.kind, name) for name in allow.permissions}
    return found


def test_the_kernel_allows_what_the_manifest_names_and_nothing_else(told: list[list[str]]) -> None:
    allowed = {
        (source, target, kind, name)
        for _, source, target, kind, names in (line for line in told if line[0] == "allow")
        for name in names.split(",")
    }
    assert allowed == expected()


def test_whoever_owns_a_compartment_as_root_is_refused(told: list[list[str]]) -> None:
    tries = {
        (domain, what): int(code) for _, domain, what, code in (t for t in told if t[0] == "try")
    }
    owned = {key: code for key, code in tries.items() if key[0] != "kernel_t"}
    assert {domain for domain, _ in owned} == set(DOMAINS[1:])
    harmless = {key: code for key, code in owned.items() if key[1] == "own-memory"}
    assert set(harmless.values()) == {0}
    refused = {key: code for key, code in owned.items() if key not in harmless}
    assert len(refused) == 20 * len(DOMAINS[1:])
    assert not {key: errno.errorcode.get(c, c) for key, c in refused.items() if c not in REFUSED}
    assert ["alive", "1"] in told


def test_the_same_attempts_succeed_without_a_domain(told: list[list[str]]) -> None:
    """Goal: it is the policy that refuses, not the guest that cannot."""
    free = {what: int(code) for _, domain, what, code in (t for t in told if t[0] == "try")
            if domain == "kernel_t"}  # fmt: skip
    assert len(free) == 6
    assert set(free.values()) == {0}
