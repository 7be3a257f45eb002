"""The way of a compartment into its SELinux domain: through a descriptor of /proc, once, for good.

By itself, because every compartment loads it.

Source: Linux `security/selinux/hooks.c` (setprocattr); proc(5).
"""

import os
from typing import Final

from asepsis.core.errors import ConfigError

PROC: Final = "proc"
"""Name of the descriptor of /proc in a first order."""


def process_context(type_: str) -> str:
    """Return the context of processes of a type."""
    return f"system_u:system_r:{type_}"


class Door:
    """The way into a domain, held open by a compartment until everything else is done.

    Args:
        proc: Descriptor of /proc; owned from now on, and closed at once.

    Resource handling: `enter` closes it.
    """

    def __init__(self, proc: int) -> None:
        try:
            self._door = os.open(
                "thread-self/attr/current", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc
            )
        finally:
            os.close(proc)

    def enter(self, domain: str) -> None:
        """Change to a domain, for good: no policy of a device lets a compartment change again.

        Raises:
            ConfigError: The kernel refuses.
        """
        try:
            os.write(self._door, process_context(domain).encode("ascii"))
        except OSError as error:
            raise ConfigError(f"cannot enter the domain {domain}: {error.strerror}") from error
        finally:
            os.close(self._door)
