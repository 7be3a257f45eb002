"""Which compartments a device has, and what each may do: the one table that all else follows."""

from pathlib import Path
from typing import Final

from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.confine import Confinement, Limits
from asepsis.edge.sandbox.launcher import Blueprint
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.seccomp import SyscallClass

VITALS: Final = "vitals"
ORIGIN: Final = "origin"
NETWORK: Final = "network"
TIMEKEEPER: Final = "timekeeper"
NAMES: Final = (VITALS, ORIGIN, NETWORK, TIMEKEEPER)
"""In the order in which they are stopped: the source first, so that what is measured is sent."""
USERS: Final = {VITALS: 62_201, ORIGIN: 62_202, NETWORK: 62_203, TIMEKEEPER: 62_204}
"""Numbers of users that exist only as numbers."""
SILENCE_S: Final = {VITALS: 3.0, ORIGIN: 5.0, NETWORK: 10.0, TIMEKEEPER: 30.0}
"""A compartment that says nothing for so long hangs and is started anew, seconds."""
NICE: Final = {VITALS: -5, ORIGIN: 0, NETWORK: 10, TIMEKEEPER: 10}
OOM: Final = {VITALS: -900, ORIGIN: -500, NETWORK: 900, TIMEKEEPER: 900}
"""Whom the kernel ends first when memory runs out."""
SMALL: Final = Limits(memory_mib=384, files=64, file_mib=4)
LARGE: Final = Limits(memory_mib=768, files=128, file_mib=256)


def blueprint(name: str, *, layers: frozenset[Layer], state: Path, prelude: str = "") -> Blueprint:
    """Return how to start a compartment on this machine.

    Args:
        name: One of `NAMES`.
        layers: Layers that hold here.
        state: Folder of the network compartment; the others have none.
        prelude: See `Blueprint.prelude`.
    """
    network = name == NETWORK
    online = name in (NETWORK, TIMEKEEPER)
    code = bubblewrap.code()
    return Blueprint(
        name=name,
        module=f"asepsis.edge.device.{name}",
        confinement=Confinement(
            layers=layers,
            kind=SyscallClass.NETWORK if online else SyscallClass.CORE,
            user=USERS[name],
            readable=(*code.libraries, code.package) if online else (),
            writable=(state,) if network else (),
            limits=LARGE if network else SMALL,
            lock_memory=name == VITALS and Layer.REALTIME in layers,
        ),
        state=state if network else None,
        prelude=prelude,
    )
