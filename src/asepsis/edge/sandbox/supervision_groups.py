"""Control groups as this machine has them, version 2 or 1: found, made, filled, removed.

The limits are the generated ones of the manifest. What the machine does not have, or does not allow
to this user, is named, never passed over.

Source: Linux `Documentation/admin-guide/cgroup-v2.rst`, `Documentation/admin-guide/cgroup-v1`.
"""

import contextlib
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.model.manifest import Compartment
from asepsis.edge.sandbox.generate import cgroups

CONTROLLERS: Final = ("cpu", "memory", "pids")
PREFIX: Final = "asepsis"
TABLE_BYTES_MAX: Final = 1 << 20
_REALTIME_BUDGET: Final = "cpu.rt_runtime_us"
_SERIAL: Final = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchies:
    """Where a group can be made here.

    Attributes:
        version: 2, 1, or 0 for nowhere.
        parents: Folder for new groups by controller; all the same one in version 2.
    """

    version: int
    parents: Mapping[str, Path]

    @property
    def text(self) -> str:
        """What was found, for people."""
        if not self.version:
            return "no control groups that this user may make"
        return f"control groups, version {self.version}: {', '.join(self.parents)}"


def find(*, mounts: str, own: str) -> Hierarchies:
    """Read from the kernel's tables where this process could make groups. Pure.

    Args:
        mounts: `/proc/self/mounts`.
        own: `/proc/self/cgroup`.
    """
    at: dict[str, str] = {}
    for line in own.splitlines():
        _, names, path = [*line.split(":", 2), "", ""][:3]
        at |= dict.fromkeys(names.split(","), path.strip("/"))
    first: dict[str, Path] = {}
    unified: Path | None = None
    for line in mounts.splitlines():
        _, where, kind, options = [*line.split(" "), "", "", "", ""][:4]
        if kind == "cgroup2" and "" in at:
            unified = Path(where) / at[""]
        elif kind == "cgroup":
            for name in set(options.split(",")) & set(CONTROLLERS) & at.keys():
                first[name] = Path(where) / at[name]
    if first:
        return Hierarchies(version=1, parents={n: first[n] for n in CONTROLLERS if n in first})
    if unified:
        return Hierarchies(version=2, parents=dict.fromkeys(CONTROLLERS, unified))
    return Hierarchies(version=0, parents={})


def here() -> Hierarchies:
    """Return where this process can make groups; tried, and removed again."""
    try:
        found = find(
            mounts=_table(Path("/proc/self/mounts")), own=_table(Path("/proc/self/cgroup"))
        )
    except OSError:
        return Hierarchies(version=0, parents={})
    usable = {name: parent for name, parent in found.parents.items() if _usable(name, parent)}
    return Hierarchies(version=found.version if usable else 0, parents=usable)


class Groups:
    """The groups of one device.

    Args:
        where: Where they can be made.

    Resource handling: `close` removes them; one that still has processes stays.
    """

    def __init__(self, where: Hierarchies) -> None:
        self._where = where
        self._name = f"{PREFIX}-{os.getpid()}-{next(_SERIAL)}"
        self._made: dict[Path, None] = {}
        self._serial = itertools.count(1)
        for parent in set(where.parents.values()):
            _sweep(parent)
        if where.version == 2:
            self._make_room(next(iter(where.parents.values())))

    def make(self, compartment: Compartment) -> "Group":
        """Make a group with the generated limits of a compartment."""
        name = f"{compartment.name}-{next(self._serial)}"
        values = cgroups.values(compartment)
        if self._where.version == 1:
            values = cgroups.values_v1(compartment)
        folders: dict[str, Path] = {}
        for controller, parent in self._where.parents.items():
            if compartment.resources.realtime and (parent / _REALTIME_BUDGET).exists():
                # A group of its own would have no real-time budget, and there is no bound to hold.
                values = {f: v for f, v in values.items() if not f.startswith(f"{controller}.")}
                continue
            with contextlib.suppress(OSError):
                folder = parent / self._name / name
                folder.mkdir(parents=True, exist_ok=True)
                folders[controller] = folder
                self._made.setdefault(folder.parent)
        missing = [
            file
            for file, value in values.items()
            if not (at := folders.get(file.partition(".")[0])) or not _write(at / file, value)
        ]
        return Group(folders=tuple(dict.fromkeys(folders.values())), missing=tuple(missing))

    def close(self) -> None:
        """Remove the groups."""
        for folder in self._made:
            _remove_all(folder)

    def _make_room(self, parent: Path) -> None:
        """Let groups below have limits: in version 2 this one may then hold no process itself."""
        wanted = " ".join(f"+{name}" for name in self._where.parents)
        below = parent / self._name
        own = parent / f"{PREFIX}-supervisor"
        with contextlib.suppress(OSError):
            if not _write(parent / "cgroup.subtree_control", wanted):
                own.mkdir(exist_ok=True)
                for pid in _table(parent / "cgroup.procs").split():
                    _write(own / "cgroup.procs", pid)
                _write(parent / "cgroup.subtree_control", wanted)
            below.mkdir(exist_ok=True)
            self._made.setdefault(below)
            _write(below / "cgroup.subtree_control", wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group with its limits.

    Attributes:
        folders: Of every hierarchy.
        missing: Limits that this machine does not hold.
    """

    folders: tuple[Path, ...]
    missing: tuple[str, ...]

    def put(self, pid: int) -> bool:
        """Put a process into it; returns whether it is in every hierarchy."""
        placed = [_write(folder / "cgroup.procs", str(pid)) for folder in self.folders]
        return all(placed)

    def remove(self) -> None:
        """Remove it; nothing runs in it any more."""
        for folder in self.folders:
            _remove(folder)


def _usable(controller: str, parent: Path) -> bool:
    probe = parent / f"{PREFIX}-probe-{os.getpid()}-{next(_SERIAL)}"
    try:
        probe.mkdir()
    except OSError:
        return False
    try:
        return (probe / "cgroup.procs").exists() and _offers(controller, parent)
    finally:
        _remove(probe)


def _offers(controller: str, parent: Path) -> bool:
    """Return whether a version 2 group can hand this controller on; version 1 always does."""
    offered = parent / "cgroup.controllers"
    return not offered.exists() or controller in _table(offered).split()


def _table(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(TABLE_BYTES_MAX)


def _write(path: Path, value: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode("ascii"))
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True


def _sweep(parent: Path) -> None:
    """Remove what supervisors left that were killed; groups with processes stay."""
    for folder in parent.glob(f"{PREFIX}-*-*/"):
        pid = folder.name.split("-")[1]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            _remove_all(folder)


def _remove_all(folder: Path) -> None:
    for group in folder.glob("*/"):
        _remove(group)
    _remove(folder)


def _remove(group: Path) -> None:
    with contextlib.suppress(OSError):
        group.rmdir()
