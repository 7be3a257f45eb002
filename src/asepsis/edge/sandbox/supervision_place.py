"""Gives each process of a compartment its place among the others, as far as this machine allows.

Control group, processor time, who is ended when memory runs out, real-time scheduling, the right to
lock memory: each is tried, and what is not granted is told once for each compartment. No
protection of the patient's data depends on them; the cadence of the critical compartment does.

Source: sched(7); proc(5), `oom_score_adj`; getrlimit(2), RLIMIT_MEMLOCK.
"""

import os
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.model.manifest import Compartment, Manifest
from asepsis.edge.sandbox import supervision_groups
from asepsis.edge.sandbox.supervision_groups import Group, Groups, Hierarchies
from asepsis.edge.sandbox.supervision_parts import Tell

MIB: Final = 1 << 20
NOT_GRANTED: Final = "not-granted"
"""Event that names what this machine does not allow a compartment."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one process.

    Attributes:
        compartment: Whose.
        group: Its control group, for itself and what stands round it; None where there are none.
    """

    compartment: Compartment
    group: Group | None


class Places:
    """The places of one device's processes.

    Args:
        manifest: What each compartment shall have.
        realtime: Whether real-time scheduling holds on this machine.
        tell: Told what is not granted.
        where: Where control groups can be made; found by itself.

    Resource handling: `close` removes the control groups.
    """

    def __init__(
        self, manifest: Manifest, *, realtime: bool, tell: Tell, where: Hierarchies | None = None
    ) -> None:
        self._manifest = manifest
        self._realtime = realtime
        self._tell = tell
        found = supervision_groups.here() if where is None else where
        self._groups = Groups(found) if found.version else None
        self._told: set[str] = set()

    def begin(self, name: str) -> Place:
        """Make a place for a process of a compartment that is about to start."""
        compartment = self._manifest.compartments[name]
        return Place(compartment, self._groups.make(compartment) if self._groups else None)

    def put(self, place: Place, pids: Sequence[int]) -> None:
        """Put processes in their place; the last one is the compartment itself."""
        pid = pids[-1]
        resources = place.compartment.resources
        wanted: dict[str, Callable[[], object]] = {
            "oom score": lambda: _write_oom(pid, resources.oom_score),
            "nice": lambda: os.setpriority(os.PRIO_PROCESS, pid, resources.nice),
        }
        if resources.lock_memory:
            bytes_max = resources.memory_mib * MIB
            wanted["locked memory"] = lambda: resource.prlimit(
                pid, resource.RLIMIT_MEMLOCK, (bytes_max, bytes_max)
            )
        if resources.realtime and self._realtime:
            order = os.sched_param(resources.realtime)
            wanted["real-time scheduling"] = lambda: os.sched_setscheduler(
                pid, os.SCHED_FIFO, order
            )
        missing = [what for what, grant in wanted.items() if not _granted(grant)]
        if resources.realtime and not self._realtime:
            missing.append("real-time scheduling")
        if place.group is None:
            missing.append("control groups")
        else:
            missing += ["its control group" for one in pids if not place.group.put(one)]
        self._say(place, missing)

    def end(self, place: Place) -> None:
        """Its process has ended."""
        if place.group:
            place.group.remove()

    def close(self) -> None:
        """Remove the control groups."""
        if self._groups:
            self._groups.close()

    def _say(self, place: Place, missing: list[str]) -> None:
        name = place.compartment.name
        if place.group:
            missing += place.group.missing
        if missing and name not in self._told:
            self._told.add(name)
            self._tell(name, NOT_GRANTED, {"what": ", ".join(missing)})


def _granted(grant: Callable[[], object]) -> bool:
    try:
        grant()
    except (OSError, ValueError):
        return False
    return True


def _write_oom(pid: int, score: int) -> None:
    Path(f"/proc/{pid}/oom_score_adj").write_text(str(score), "ascii")
