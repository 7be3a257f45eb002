"""The lease as every process of a gateway sees it: one page of memory, written by one of them.

Number and end stand in memory that the supervisor made and its children inherit; whoever is about
to say "accepted" looks there, so that a process that slept through the end of its lease says
nothing. The end is a moment of CLOCK_BOOTTIME, which nobody sets and which also counts suspend.

Source: memfd_create(2), clock_gettime(2); REQ-PAIR-003.
"""

import mmap
import os
import struct
import time
from typing import Final

from asepsis.core.errors import ConfigError

VARIABLE: Final = "ASEPSIS_GATEWAY_LEASE"
"""Number of the inherited descriptor."""
LATE: Final = b"late"
BYTES: Final = 4_096
_NUMBER: Final = struct.Struct("<q")
_END: Final = 0
_TOKEN: Final = 8


def boottime_ns() -> int:
    """Return nanoseconds since the computer started, suspend included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class LeasePage:
    """One page of shared memory.

    Args:
        descriptor: Of the memory; owned from now on.
        writable: Whether this process decides.
    """

    def __init__(self, descriptor: int, *, writable: bool) -> None:
        self.descriptor = descriptor
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._memory = mmap.mmap(descriptor, BYTES, access=access)

    @classmethod
    def make(cls) -> "LeasePage":
        """Make the memory of a supervisor; nobody holds the lease."""
        descriptor = os.memfd_create("asepsis-lease", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, BYTES)
        return cls(descriptor, writable=True)

    @classmethod
    def inherited(cls, *, writable: bool = False) -> "LeasePage | None":
        """Return the page that a supervisor left for this process; None without a pair.

        Raises:
            ConfigError: The variable names no such memory.
        """
        text = os.environ.get(VARIABLE)
        if text is None:
            return None
        try:
            return cls(int(text), writable=writable)
        except (ValueError, OSError) as error:
            raise ConfigError(f"{VARIABLE} names no page of memory") from error

    def give(self, *, token: int, end_ns: int) -> None:
        """Say that the lease is held until a moment; the number first, then the end."""
        _NUMBER.pack_into(self._memory, _TOKEN, token)
        _NUMBER.pack_into(self._memory, _END, end_ns)

    def end(self) -> None:
        """Say that it is not held."""
        _NUMBER.pack_into(self._memory, _END, 0)

    @property
    def token(self) -> int:
        """Its number; 0 if people promoted this gateway and the hub has given none."""
        return int(_NUMBER.unpack_from(self._memory, _TOKEN)[0])

    @property
    def end_ns(self) -> int:
        """When it ends, by `boottime_ns`; 0 if it is not held."""
        return int(_NUMBER.unpack_from(self._memory, _END)[0])

    def holds(self) -> bool:
        """Whether this gateway may say "accepted" now."""
        return boottime_ns() < self.end_ns

    def fence(self) -> bytes:
        """Return what `Asepsis-Fence` says: the number, or that everything counts as late."""
        return b"%d" % self.token if self.holds() and self.token else LATE
