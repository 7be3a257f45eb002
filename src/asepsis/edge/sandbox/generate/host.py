"""How this machine starts a compartment of the manifest: the host tier.

What stands here is what `launcher.launch` and `confine` carry out; there is no second table.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asepsis.core.model.manifest import Compartment
from asepsis.core.model.syscall_class import SyscallClass
from asepsis.edge.sandbox import bubblewrap, landlock, launcher, seccomp
from asepsis.edge.sandbox.confine import Confinement, Limits
from asepsis.edge.sandbox.generate.selinux_types import domain
from asepsis.edge.sandbox.launcher import Blueprint
from asepsis.edge.sandbox.layer import Layer


def blueprint(
    compartment: Compartment,
    *,
    layers: frozenset[Layer],
    state: Path,
    package: Path | None = None,
    prelude: str = "",
) -> Blueprint:
    """Return how to start a compartment on this machine.

    Args:
        compartment: Which.
        layers: Layers that hold here.
        state: Its own folder, if it has one.
        package: See `Blueprint.package`.
        prelude: See `Blueprint.prelude`.
    """
    code = bubblewrap.code()
    opens = compartment.syscalls is not SyscallClass.CORE
    resources = compartment.resources
    return Blueprint(
        name=compartment.name,
        module=compartment.code,
        confinement=Confinement(
            layers=layers,
            kind=compartment.syscalls,
            user=compartment.user,
            readable=(*code.libraries, package or code.package) if opens else (),
            writable=(state,) if compartment.folder else (),
            limits=Limits(
                memory_mib=resources.memory_mib,
                files=resources.files,
                file_mib=resources.file_mib,
            ),
            lock_memory=resources.lock_memory and Layer.REALTIME in layers,
            domain=domain(compartment.name) if Layer.SELINUX in layers else "",
        ),
        state=state if compartment.folder else None,
        package=package,
        prelude=prelude,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRules:
    """What enforces one compartment on this machine, for people and for comparison.

    Attributes:
        launcher: Command line of bubblewrap, without the program to run and without descriptors.
        readable: Paths that Landlock leaves readable, as the compartment sees them.
        writable: Paths that Landlock leaves writable, as the compartment sees them.
        calls: System calls, by name.
        limits: Resource limits.
    """

    launcher: tuple[str, ...]
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    calls: tuple[str, ...]
    limits: Limits

    def to_document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "bubblewrap": list(self.launcher),
            "landlock": {
                "read": list(self.readable),
                "read_rights": landlock.READ,
                "write": list(self.writable),
                "write_rights": landlock.WRITE,
            },
            "seccomp": list(self.calls),
            "limits": {
                "memory_mib": self.limits.memory_mib,
                "files": self.limits.files,
                "file_mib": self.limits.file_mib,
                "core_mib": 0,
            },
        }


def rules(compartment: Compartment, *, state: Path, as_root: bool | None = None) -> HostRules:
    """Return what enforces a compartment where every layer holds.

    Args:
        compartment: Which.
        state: Its own folder, if it has one.
        as_root: Whether the device is started as root; None for what this process is.
    """
    plan = blueprint(compartment, layers=frozenset(Layer), state=state)
    seen = launcher.inside(plan)
    return HostRules(
        launcher=bubblewrap.arguments(
            bwrap=bubblewrap.program() or Path("bwrap"),
            where=bubblewrap.code(),
            as_root=os.geteuid() == 0 if as_root is None else as_root,
            state=plan.state,
        ),
        readable=tuple(map(str, seen.readable)),
        writable=tuple(map(str, seen.writable)),
        calls=seccomp.names(seen.kind),
        limits=seen.limits,
    )
