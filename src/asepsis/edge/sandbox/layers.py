"""Which protections hold on this machine, and what that means in plain words."""

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.model.manifest import REALTIME_MAX
from asepsis.edge.sandbox import bubblewrap, domains, landlock, ring, seccomp, supervision_groups
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.ring_layout import Geometry

ALL: Final = frozenset(Layer)
_MEANING: Final = {
    Layer.RING: "what the critical compartment publishes can be read and not changed by others",
    Layer.BUBBLEWRAP: (
        "each compartment sees its own few files and processes, and an empty network"
    ),
    Layer.USERS: "a compartment owns no process, key or file of another",
    Layer.LANDLOCK: "a compartment opens only its own folder and code, and runs nothing",
    Layer.SECCOMP: "no compartment can make a socket, connect, start a program or trace another",
    Layer.NO_NEW_PRIVILEGES: "no program can give a compartment more rights than it started with",
    Layer.LIMITS: "a compartment that grows without bounds is stopped, not its neighbours",
    Layer.REALTIME: "the critical compartment is served before everything else on this machine",
    Layer.SELINUX: "what a compartment may touch holds even for one that has become root",
}
_WITHOUT: Final = {
    Layer.RING: "nothing runs: without the one-way ring there is no device",
    Layer.BUBBLEWRAP: "compartments see the whole file system; Landlock and seccomp must carry it",
    Layer.USERS: "all compartments run as one user; bubblewrap, Landlock and seccomp must carry it",
    Layer.LANDLOCK: "a compartment can open whatever its user and its view allow",
    Layer.SECCOMP: "a compartment can make any system call; only its view and user bound it",
    Layer.NO_NEW_PRIVILEGES: "a setuid program could give a compartment more rights",
    Layer.LIMITS: "a runaway compartment can take memory from the others",
    Layer.REALTIME: "a busy machine can delay the critical compartment by some milliseconds",
    Layer.SELINUX: "nothing but its users and views bounds a compartment that has become root",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One layer on this machine.

    Attributes:
        layer: Which.
        holds: Whether it was tried here and works.
        detail: What was found, for example a version.
    """

    layer: Layer
    holds: bool
    detail: str

    @property
    def meaning(self) -> str:
        """What it means for the patient's side that this layer holds, or does not."""
        return (_MEANING if self.holds else _WITHOUT)[self.layer]


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers of this machine.

    Attributes:
        findings: One a layer.
    """

    findings: tuple[Finding, ...]

    @property
    def holding(self) -> frozenset[Layer]:
        """The layers that hold."""
        return frozenset(finding.layer for finding in self.findings if finding.holds)

    @property
    def missing(self) -> tuple[str, ...]:
        """The layers that do not hold, by name; real-time scheduling is no protection."""
        lacks = set(Layer) - self.holding - {Layer.REALTIME}
        return tuple(sorted(layer.value for layer in lacks))

    def as_document(self) -> list[dict[str, object]]:
        """Return plain values for JSON."""
        return [
            {
                "layer": finding.layer.value,
                "holds": finding.holds,
                "detail": finding.detail,
                "meaning": finding.meaning,
            }
            for finding in self.findings
        ]


def require_apart(layers: frozenset[Layer]) -> None:
    """Check that at least one layer keeps the origin key from the network compartment.

    Raises:
        ConfigError: None does, or the ring cannot be sealed.
    """
    if Layer.RING not in layers:
        raise ConfigError("this kernel cannot seal a ring", hint="needs Linux 5.1")
    if not layers & {Layer.BUBBLEWRAP, Layer.LANDLOCK}:
        raise ConfigError(
            "nothing keeps the compartments apart on this machine",
            hint="install bubblewrap, or use a kernel with Landlock (Linux 5.13)",
        )
    if Layer.SECCOMP not in layers:
        raise ConfigError("this kernel does not filter system calls")


def detect() -> Layers:
    """Try every layer on this machine; nothing is changed."""
    wrapped = _bubblewrap()
    root = os.geteuid() == 0
    found = (
        _ring(),
        wrapped,
        Finding(
            layer=Layer.USERS,
            holds=root and wrapped.holds,
            detail="started as root" if root else "not started as root",
        ),
        _landlock(),
        Finding(
            layer=Layer.SECCOMP,
            holds=seccomp.available(),
            detail=f"allow-lists for {seccomp.machine() or 'no known machine'}",
        ),
        Finding(layer=Layer.NO_NEW_PRIVILEGES, holds=True, detail="Linux 3.5 and later"),
        Finding(layer=Layer.LIMITS, holds=True, detail=_limits()),
        _realtime(),
        _selinux(),
    )
    return Layers(found)


def _limits() -> str:
    return f"memory, file size, open files, core dumps; {supervision_groups.here().text}"


def _ring() -> Finding:
    def attempt() -> str:
        descriptor = ring.create("probe", geometry=Geometry(slot_bytes=64, slots=2))
        try:
            os.close(ring.seal(descriptor))
        finally:
            os.close(descriptor)
        return "memory file with F_SEAL_FUTURE_WRITE"

    return _attempt(Layer.RING, attempt)


def _bubblewrap() -> Finding:
    return _attempt(Layer.BUBBLEWRAP, bubblewrap.probe)


def _landlock() -> Finding:
    version = landlock.abi()
    scope = "files only" if version < 4 else "files, TCP" if version < 6 else "files, TCP, signals"
    detail = f"version {version}: {scope}" if version else "not in this kernel"
    return Finding(layer=Layer.LANDLOCK, holds=version > 0, detail=detail)


def _realtime() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    allowed = os.geteuid() == 0 or limit >= REALTIME_MAX
    # A container may be root and still have no real-time time budget.
    budget = Path("/proc/sys/kernel/sched_rt_runtime_us")
    try:
        allowed = allowed and int(budget.read_text("ascii")) != 0
    except (OSError, ValueError):
        allowed = False
    detail = f"SCHED_FIFO up to priority {REALTIME_MAX}" if allowed else "not allowed to this user"
    return Finding(layer=Layer.REALTIME, holds=allowed, detail=detail)


def _selinux() -> Finding:
    state = domains.state()
    detail = "enforcing the policy of this device" if state == "enforcing" else state
    return Finding(layer=Layer.SELINUX, holds=state == "enforcing", detail=detail)


def _attempt(layer: Layer, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(layer=layer, holds=True, detail=attempt())
    except ConfigError as error:
        return Finding(layer=layer, holds=False, detail=str(error))
