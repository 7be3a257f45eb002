"""Control groups of the compartments, versions 2 and 1: file -> value. Pure.

A compartment under real-time scheduling gets no bound on processor time: the kernel would stop it
in the middle of a tick, and it refuses real-time tasks in such a group where it schedules groups.

Version 1 has no guaranteed memory and ends single processes; what it lacks is left out there.

Source: Linux `Documentation/admin-guide/cgroup-v2.rst`, `Documentation/admin-guide/cgroup-v1`.
"""

from typing import Final

from asepsis.core.model.manifest import Compartment, Criticality, Manifest

MIB: Final = 1 << 20
PERIOD_US: Final = 100_000
_WEIGHT: Final = {
    Criticality.CRITICAL: 10_000,
    Criticality.ESSENTIAL: 1_000,
    Criticality.EXPENDABLE: 10,
}


def values(compartment: Compartment) -> dict[str, str]:
    """Return what is written into the group of a compartment."""
    resources = compartment.resources
    bytes_max = resources.memory_mib * MIB
    critical = compartment.criticality is Criticality.CRITICAL
    quota = "max" if resources.realtime else str(resources.cpu_percent * PERIOD_US // 100)
    return {
        "cpu.weight": str(_WEIGHT[compartment.criticality]),
        "cpu.max": f"{quota} {PERIOD_US}",
        "memory.max": str(bytes_max),
        "memory.min": str(bytes_max if critical else 0),
        "memory.swap.max": "0" if resources.lock_memory else "max",
        "memory.oom.group": "1",
        "pids.max": str(resources.tasks),
    }


def values_v1(compartment: Compartment) -> dict[str, str]:
    """Return what is written into the groups of a compartment where only version 1 is."""
    second = values(compartment)
    quota, _, period = second["cpu.max"].partition(" ")
    return {
        # A share of 1,024 is what a weight of 100 is; the kernel takes 2 to 262,144.
        "cpu.shares": str(max(int(second["cpu.weight"]) * 1_024 // 100, 2)),
        "cpu.cfs_period_us": period,
        "cpu.cfs_quota_us": "-1" if quota == "max" else quota,
        "memory.limit_in_bytes": second["memory.max"],
        "pids.max": second["pids.max"],
    }


def groups(manifest: Manifest) -> dict[str, dict[str, str]]:
    """Return the groups of a device, by compartment."""
    return {name: values(c) for name, c in manifest.compartments.items()}
