"""Denials in the kernel's log: SELinux's AVC and Landlock's records, where the kernel writes them.

A line is read for three names of fixed form and nothing else; what a process called itself is not
looked at. The kernel logs Landlock's denials only where audit is on (Linux 6.15 and later).

Source: Linux Documentation/ABI/testing/dev-kmsg; Documentation/admin-guide/LSM/landlock.rst.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from asepsis.core.wire.security_event import DenialKind

KMSG: Final = Path("/dev/kmsg")
LINES_A_STEP: Final = 64
LINE_BYTES_MAX: Final = 8_192
DOMAINS_MAX: Final = 256
_AVC: Final = re.compile(
    r"avc:\s+denied\s+\{ ([a-z_]{1,30})[a-z_ ]* \}.*"
    r" scontext=[\w.]+:[\w.]+:([a-z0-9_-]{1,24})_t[:\s].*"
    r" tcontext=[\w.]+:[\w.]+:([a-z0-9_-]{1,60})[:\s].* tclass=([a-z_0-9]{1,30})"
)
_DOMAIN: Final = re.compile(r"domain=([0-9a-f]{1,16}) status=allocated mode=\w+ pid=(\d{1,10})\b")
_LANDLOCK: Final = re.compile(r"domain=([0-9a-f]{1,16}) blockers=([a-z_.,]{1,60})")
_AVC_KINDS: Final[Mapping[str, DenialKind]] = {
    "ptrace": DenialKind.TRACE,
    "sigkill": DenialKind.SIGNAL,
    "sigstop": DenialKind.SIGNAL,
    "signal": DenialKind.SIGNAL,
    "execute": DenialKind.EXECUTE,
    "execute_no_trans": DenialKind.EXECUTE,
    "execmem": DenialKind.EXECUTE,
}
_AVC_CLASSES: Final[Mapping[str, DenialKind]] = {
    "file": DenialKind.FILE,
    "dir": DenialKind.FILE,
    "capability": DenialKind.PRIVILEGE,
    "security": DenialKind.PRIVILEGE,
    "system": DenialKind.PRIVILEGE,
    "bpf": DenialKind.PRIVILEGE,
}
Found = tuple[str, DenialKind, str]
"""Compartment, kind, a few words of our own."""


def of_avc(line: str) -> Found | None:
    """Return what SELinux denied; None for any other line."""
    match = _AVC.search(line)
    if match is None:
        return None
    permission, source, target, kind = match.groups()
    found = _AVC_KINDS.get(permission) or _AVC_CLASSES.get(kind)
    if found is None:
        found = DenialKind.SOCKET if kind.endswith("_socket") else DenialKind.OTHER
    on = target.removesuffix("_t")
    # A domain has underscores where its compartment has hyphens.
    source = source.replace("_", "-")
    return source, found, f"selinux: {permission} {kind} on {on}"


class LandlockLines:
    """Landlock's records: the first of a domain names its process, the others only the domain."""

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}

    def of(self, line: str, names: Mapping[int, str]) -> Found | None:
        """Return what Landlock denied; None for any other line, or a process that is not ours.

        Args:
            line: One line of the log.
            names: Process -> compartment.
        """
        began = _DOMAIN.search(line)
        if began:
            if len(self._pids) >= DOMAINS_MAX:
                self._pids.clear()
            self._pids[began.group(1)] = int(began.group(2))
            return None
        match = _LANDLOCK.search(line)
        if match is None:
            return None
        source = names.get(self._pids.get(match.group(1), -1))
        if source is None:
            return None
        blocker = match.group(2).partition(",")[0]
        kind = {"fs": DenialKind.FILE, "net": DenialKind.SOCKET, "ptrace": DenialKind.TRACE}.get(
            blocker.partition(".")[0], DenialKind.OTHER
        )
        if blocker == "fs.execute":
            kind = DenialKind.EXECUTE
        return source, kind, f"landlock: {blocker}"


class KernelLog:
    """Reads new lines of the kernel's log; never waits.

    Args:
        descriptor: The log, opened not to block; owned from now on.

    Resource handling: `close` closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._landlock = LandlockLines()

    def read(self, names: Mapping[int, str]) -> Iterator[Found]:
        """Yield denials since the last call, at most `LINES_A_STEP` lines of log.

        Args:
            names: Process -> compartment.
        """
        for _ in range(LINES_A_STEP):
            try:
                line = os.read(self._descriptor, LINE_BYTES_MAX).decode("ascii", "replace")
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # Lines were overwritten before they were read; the next one is there.
            except OSError:
                return
            found = of_avc(line) or self._landlock.of(line, names)
            if found:
                yield found

    def close(self) -> None:
        """Close the log."""
        os.close(self._descriptor)


def open_log(path: Path = KMSG) -> KernelLog | None:
    """Open the kernel's log behind its last line; None where this user may not read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(descriptor, 0, os.SEEK_END)
    except OSError:
        return None
    return KernelLog(descriptor)
