"""The names of the protections; by itself, because every compartment loads them."""

from enum import Enum


class Layer(Enum):
    """One protection that works by itself."""

    RING = "sealed ring"
    BUBBLEWRAP = "bubblewrap"
    USERS = "separate users"
    LANDLOCK = "Landlock"
    SECCOMP = "seccomp"
    NO_NEW_PRIVILEGES = "no new privileges"
    LIMITS = "resource limits"
    REALTIME = "real-time scheduling"
    SELINUX = "SELinux"
