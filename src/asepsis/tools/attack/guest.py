"""The guest tier: a kernel of its own with SELinux, and whoever owns a compartment as root in it.

User-Mode Linux boots in a second with the machine's own files, read-only. The generated policy is
loaded and enforced, and from the domain of every compartment but the critical one an attacker who
is root tries what a policy is there to refuse. What succeeds without a domain is the control.
"""

import errno
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.core.model.manifest import Manifest
from asepsis.edge.sandbox.generate import secilc, selinux, selinux_base
from asepsis.edge.sandbox.generate.selinux_types import compartments, thing_types
from asepsis.tools.attack.guest_payload import HARMLESS

KERNEL: Final = "linux.uml"
BOOT_S: Final = 150
NO_DOMAIN: Final = "kernel_t"
REFUSED: Final = frozenset({errno.EACCES, errno.EPERM})
HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestTrial:
    """What a guest told.

    Attributes:
        outcomes: Error number by attempt and domain, 0 for success.
        control: Error number by attempt, outside every domain.
        allowed: What the kernel says the policy allows: domain, type, class, permission.
        victim_lives: Whether the critical compartment's process lived through it.
    """

    outcomes: Mapping[str, Mapping[str, int]]
    control: Mapping[str, int]
    allowed: frozenset[tuple[str, str, str, str]]
    victim_lives: bool

    def findings(self) -> list[str]:
        """Return in words what was not refused."""
        found = [
            f"guest: {name} as root in {domain} ended with {errno.errorcode.get(code, code)}"
            for name, by_domain in self.outcomes.items()
            for domain, code in by_domain.items()
            if (code != 0 if name == HARMLESS else code not in REFUSED)
        ]
        return found if self.victim_lives else [*found, "guest: the critical compartment died"]

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "outcomes": {
                name: {domain: _word(code) for domain, code in by_domain.items()}
                for name, by_domain in self.outcomes.items()
            },
            "control": {name: _word(code) for name, code in self.control.items()},
            "victim_lives": self.victim_lives,
            "findings": self.findings(),
        }


def missing() -> str:
    """Return what this machine lacks for a guest, in words; empty if nothing."""
    lacks = [] if shutil.which(KERNEL) else ["user-mode-linux"]
    lacks += [] if secilc.program() else ["secilc"]
    return f"needs the packages {' and '.join(lacks)}" if lacks else ""


def attacked(manifest: Manifest, *, folder: Path) -> GuestTrial:
    """Boot a guest, enforce the policy of a manifest, attack, and return what the guest told.

    Args:
        manifest: Whose compartments.
        folder: Takes policy and program; the guest reads it.

    Raises:
        ConfigError: Packages are missing, or the policy does not compile.
        Unavailable: The guest did not come to its end.
    """
    if lacks := missing():
        raise ConfigError(f"no guest can be started: {lacks}")
    domains = compartments(manifest)
    types = [*thing_types(manifest), *selinux_base.BASE_TYPES]
    init = folder / "init.sh"
    shutil.copy(HERE / "guest_init.sh", init)
    init.chmod(0o755)
    (folder / "policy").write_bytes(secilc.compile_policy(selinux.policy(manifest)))
    (folder / "domains").write_text(" ".join(domains), "ascii")
    (folder / "types").write_text(" ".join(types), "ascii")
    return _read(_boot(folder, init))


def _boot(folder: Path, init: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a kernel of the distribution, our own arguments
            [
                str(shutil.which(KERNEL)), "mem=128M", "rootfstype=hostfs", "rootflags=/", "ro",
                "con=null", "con0=null,fd:1", "security=selinux", "quiet", f"init={init}",
                f"guest_python={sys.executable}", f"guest_code={HERE / 'guest_payload.py'}",
                f"guest_folder={folder}",
            ],
            capture_output=True, text=True, check=False, timeout=BOOT_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the guest did not run: {type(error).__name__}") from error
    return done.stdout


def _read(told: str) -> GuestTrial:
    lines = [line.split() for line in told.splitlines() if line.strip()]
    if ["end"] not in lines or ["loaded", "1"] not in lines:
        raise Unavailable(f"the guest did not come to its end: {told[-500:]}")
    outcomes: dict[str, dict[str, int]] = {}
    control: dict[str, int] = {}
    for domain, name, code in (line[1:] for line in lines if line[0] == "try"):
        if domain == NO_DOMAIN:
            control[name] = int(code)
        else:
            outcomes.setdefault(name, {})[domain] = int(code)
    allowed = frozenset(
        (source, target, kind, name)
        for source, target, kind, names in (line[1:] for line in lines if line[0] == "allow")
        for name in names.split(",")
    )
    return GuestTrial(
        outcomes=outcomes,
        control=control,
        allowed=allowed,
        victim_lives=["alive", "1"] in lines,
    )


def _word(code: int) -> str:
    return errno.errorcode.get(code, str(code)) if code else "succeeded"
