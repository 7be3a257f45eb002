"""The kinds of system call lists; by itself, because every compartment loads it."""

from enum import Enum


class SyscallClass(Enum):
    """What kind of compartment it is, as far as its system calls go."""

    CORE = "core"
    NETWORK = "network"
    LISTENING = "listening"
    """NETWORK, and taking connections on sockets that were bound before."""
