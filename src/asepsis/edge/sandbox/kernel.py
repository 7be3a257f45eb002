"""System calls that Python does not name, through the C library; every return code is checked.

Source: prctl(2), seccomp(2), landlock(7), capabilities(7), mlockall(2).
"""

import ctypes
import os
from typing import Any, Final

from asepsis.core.errors import ConfigError

PR_GET_SECCOMP: Final = 21
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39
CAPABILITIES_MAX: Final = 64
"""More than any kernel knows; they are numbered without holes."""
MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_ZEROS: Final = (ctypes.c_ulong(0),) * 3


def system_call(number: int, *arguments: Any) -> tuple[int, int]:
    """Make a system call by number; integers are passed as 64-bit.

    Returns:
        Result and error number; the error number is 0 unless the result is negative.
    """
    ctypes.set_errno(0)
    wide = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    result: int = _LIBC.syscall(ctypes.c_long(number), *wide)
    return result, ctypes.get_errno() if result < 0 else 0


def prctl(option: int, value: int = 0) -> int:
    """Call prctl with one value.

    Raises:
        ConfigError: The kernel refuses.
    """
    ctypes.set_errno(0)
    result: int = _LIBC.prctl(
        option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)
    )
    if result < 0:
        raise ConfigError(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}")
    return result


def lock_memory() -> bool:
    """Keep all present and future memory from being swapped; returns whether it was allowed."""
    return _LIBC.mlockall(MCL_CURRENT | MCL_FUTURE) == 0


def drop_bounding_set() -> None:
    """Give up every capability that a program of this process could ever be given.

    Raises:
        ConfigError: The kernel refuses: CAP_SETPCAP is needed.
    """
    for capability in range(CAPABILITIES_MAX):
        ctypes.set_errno(0)
        held: int = _LIBC.prctl(PR_CAPBSET_READ, ctypes.c_ulong(capability), *_ZEROS)
        if held < 0:
            return  # The last one that this kernel knows is behind us.
        if held:
            prctl(PR_CAPBSET_DROP, capability)
