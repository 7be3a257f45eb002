"""What the inspecting process takes away from itself: everything but its socket.

Source: landlock(7), seccomp(2); `asepsis.edge.sandbox`.
"""

import contextlib
import ctypes
from typing import Final

from asepsis.edge.sandbox import landlock, seccomp
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.seccomp import SyscallClass

MEMORY_MIB: Final = 1_024
FILES: Final = 16


def confine_worker() -> None:
    """Apply every layer that holds here, for good.

    Raises:
        ConfigError: A layer that holds here does not take hold now.
    """
    with contextlib.suppress(OSError):  # Loaded when a thread ends; nothing can be loaded later.
        ctypes.CDLL("libgcc_s.so.1")
    layers = {Layer.NO_NEW_PRIVILEGES, Layer.LIMITS}
    if landlock.abi():
        layers.add(Layer.LANDLOCK)
    if seccomp.available():
        layers.add(Layer.SECCOMP)
    confine(
        Confinement(
            layers=frozenset(layers),
            kind=SyscallClass.CORE,
            limits=Limits(memory_mib=MEMORY_MIB, files=FILES, file_mib=1),
        )
    )
