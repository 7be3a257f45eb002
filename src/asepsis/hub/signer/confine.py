"""Takes away from this process what a signer does not need: network, privileges, core dumps.

Order matters: everything is imported first, because after the change of user the code may lie in a
folder that the signer's user cannot read; then the network goes (needs privilege), then the user
changes, for good.

Source: capabilities(7), network_namespaces(7), prctl(2), ptrace(2) (a process that is not dumpable
cannot be traced or read by another user's process).
"""

import ctypes
import os
import resource
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import ConfigError

CLONE_NEWNET: Final = 0x40000000
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class User:
    """A numeric user and group."""

    uid: int
    gid: int


def leave_network() -> bool:
    """Move into an empty network namespace; returns whether the kernel allowed it.

    Unix sockets are named by path and go on working; every Internet address is gone.
    """
    return _LIBC.unshare(CLONE_NEWNET) == 0


def become(user: User) -> None:
    """Give up root for good, with all its groups.

    Raises:
        ConfigError: The kernel refused, or root could be had again.
    """
    try:
        os.setgroups([])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        raise ConfigError(f"cannot become user {user.uid}") from error
    if os.getresuid() != (user.uid,) * 3 or user.uid == 0:
        raise ConfigError("privileges were not dropped")


def harden() -> None:
    """Forbid new privileges, core dumps and tracing; files are made for this user only.

    Called after the last change of user: that change resets the dumpable flag.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise ConfigError(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}")
