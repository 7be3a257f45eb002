"""Denials as signals: what the layers refused is collected, counted and told.

Sources are the listeners of the compartments' filters and the kernel's log, where SELinux and
Landlock write. Everything in them was caused by somebody who may be owned: it is counted, cut to a
few words of our own, and told at a bounded rate.
"""

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from asepsis.core.model.manifest import Criticality, Manifest
from asepsis.core.wire.security_event import ALARMING, TEXT_BYTES_MAX, DenialKind
from asepsis.edge.device.compartment import WITNESS
from asepsis.edge.device.denials_log import KernelLog
from asepsis.edge.sandbox import domains, notify, seccomp
from asepsis.edge.sandbox.notify import Refused

CALLS_A_STEP: Final = 16
"""Refused calls taken from one compartment in one round; the next waits, and so does its caller."""
QUIET_S: Final = 10.0
"""One source and kind is told at once, then at most every ten seconds, with a count."""
EVENTS_A_MINUTE: Final = 30
KEYS_MAX: Final = 256
MACHINE: Final = "machine"
"""Source of what no compartment tried."""
_KINDS: Final[Mapping[str, DenialKind]] = {
    **dict.fromkeys(
        ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"), DenialKind.TRACE
    ),
    **dict.fromkeys(("kill", "tgkill", "pidfd_send_signal"), DenialKind.SIGNAL),
    **dict.fromkeys(("socket", "connect", "bind"), DenialKind.SOCKET),
    **dict.fromkeys(("execve", "execveat"), DenialKind.EXECUTE),
    "open_by_handle_at": DenialKind.FILE,
}
"""Telling calls by kind; every other one is about privileges."""
_TARGET_AT: Final[Mapping[str, int]] = {
    "ptrace": 1, "process_vm_readv": 0, "process_vm_writev": 0, "kill": 0, "tgkill": 0
}  # fmt: skip
"""Which argument names the process meant, as the caller numbers processes."""
_ONE_BY_ONE: Final = frozenset({DenialKind.REQUEST, DenialKind.PLUGGED})
Tell = Callable[[str, str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Something that was refused.

    Attributes:
        source: Compartment that tried.
        kind: What sort of thing.
        text: A few words of our own.
    """

    source: str
    kind: DenialKind
    text: str


@dataclass(slots=True)
class _Count:
    denial: Denial
    waiting: int = 0
    told_s: float = float("-inf")


class DenialCounter:
    """Counts denials and says which are told now. Pure."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, DenialKind, str], _Count] = {}
        self._minute_s = float("-inf")
        self._told = 0

    def add(self, denial: Denial) -> None:
        """Count one; requests and plugs are told one by one, all else by source and kind."""
        own = denial.text if denial.kind in _ONE_BY_ONE else ""
        key = (denial.source, denial.kind, own)
        if key not in self._counts and len(self._counts) >= KEYS_MAX:
            self._counts = {k: c for k, c in self._counts.items() if c.waiting}
            if len(self._counts) >= KEYS_MAX and denial.kind not in ALARMING:
                return
        found = self._counts.setdefault(key, _Count(denial))
        found.denial = denial
        found.waiting += 1

    def due(self, now_s: float) -> list[tuple[Denial, int]]:
        """Return what is told now, with how often it was since it was told last."""
        if now_s - self._minute_s >= 60:
            self._minute_s, self._told = now_s, 0
        found: list[tuple[Denial, int]] = []
        # What alarms goes first: a flood of small things must not hide it.
        for count in sorted(self._counts.values(), key=lambda c: c.denial.kind not in ALARMING):
            if not count.waiting or now_s - count.told_s < QUIET_S:
                continue
            if self._told >= EVENTS_A_MINUTE:
                break
            self._told += 1
            found.append((count.denial, min(count.waiting, 2**32 - 1)))
            count.waiting, count.told_s = 0, now_s
        return found


class Denials:
    """Collects and tells denials; a part of the supervisor.

    Args:
        manifest: Compartments; those that are expendable get a witness.
        tell: Told `denied` with the compartment that tried.
        log: The kernel's log; None where it cannot be read.

    Resource handling: `close` lets go of listeners and log.
    """

    def __init__(self, manifest: Manifest, *, tell: Tell, log: KernelLog | None) -> None:
        self._manifest = manifest
        self._tell = tell
        self._log = log
        self._names = seccomp.telling()
        self._lines: list[tuple[str, socket.socket]] = []
        self._theirs: dict[str, socket.socket] = {}
        self._listeners: list[tuple[str, int]] = []
        self._counter = DenialCounter()
        self._handed_in: deque[Denial] = deque(maxlen=KEYS_MAX)

    def handed(self, name: str) -> dict[str, int]:
        """Return the descriptors that a compartment gets with its first order; they stay ours."""
        if self._manifest.compartments[name].criticality is not Criticality.EXPENDABLE:
            return {}
        with domains.sockets_as("control", name):
            own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if name in self._theirs:
            self._theirs.pop(name).close()
        for old in [line for line in self._lines if line[0] == name]:
            old[1].close()  # Its process ended before it had a filter, or never will have one.
            self._lines.remove(old)
        self._theirs[name] = theirs
        self._lines.append((name, own))
        return {WITNESS: theirs.fileno()}

    def add(self, denial: Denial) -> None:
        """Count a denial that somebody else found, such as the request gate."""
        self._counter.add(denial)

    def note_plugged(self, what: Iterable[str]) -> None:
        """Count what was plugged into the machine; whoever watches the buses may be a thread.

        Args:
            what: Bus and place of each, such as `pci/0000:00:05.0`.
        """
        for one in what:
            text = f"plugged in: {one}".encode("ascii", "replace").decode()[:TEXT_BYTES_MAX]
            self._handed_in.append(Denial(source=MACHINE, kind=DenialKind.PLUGGED, text=text))

    def note_request(self, asker: str, text: str) -> None:
        """Count what became of a request to the critical compartment."""
        self.add(Denial(source=asker, kind=DenialKind.REQUEST, text=text))

    def step(
        self, now_s: float, pids: Mapping[str, int], *, sign: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Take what was refused, and tell what is due; never waits.

        Args:
            now_s: Monotonic time, seconds.
            pids: Compartment -> process, of those that run.
            sign: Hands an event to the origin compartment.
        """
        while self._handed_in:
            self._counter.add(self._handed_in.popleft())
        self._take_listeners()
        for name, listener in list(self._listeners):
            self._listen(name, listener, pids)
        if self._log:
            for source, kind, text in self._log.read({pid: name for name, pid in pids.items()}):
                if source in self._manifest.compartments:
                    self._counter.add(Denial(source=source, kind=kind, text=text))
        for denial, count in self._counter.due(now_s):
            event = {
                "kind": denial.kind.name.lower(),
                "text": denial.text,
                "count": count,
                "alarm": denial.kind in ALARMING,
            }
            self._tell(denial.source, "denied", event)
            sign({**event, "source": denial.source})

    def close(self) -> None:
        """Let go of everything."""
        for _, line in self._lines:
            line.close()
        for line in self._theirs.values():
            line.close()
        for _, listener in self._listeners:
            os.close(listener)
        self._lines.clear()
        self._theirs.clear()
        self._listeners.clear()
        if self._log:
            self._log.close()

    def _take_listeners(self) -> None:
        for name, line in list(self._lines):
            listener = notify.take_over(line)
            if listener is not None:
                self._listeners.append((name, listener))
                self._lines.remove((name, line))
                line.close()

    def _listen(self, name: str, listener: int, pids: Mapping[str, int]) -> None:
        for _ in range(CALLS_A_STEP):
            try:
                refused = notify.refuse_next(listener, self._names)
            except OSError:
                self._listeners.remove((name, listener))
                with contextlib.suppress(OSError):
                    os.close(listener)
                return
            if refused is None:
                return
            self._counter.add(denial_of(name, refused, pids))


def denial_of(source: str, refused: Refused, pids: Mapping[str, int]) -> Denial:
    """Return what a refused call was, in our own words."""
    at = _TARGET_AT.get(refused.call)
    meant = refused.arguments[at] if at is not None else 0
    target = next((f" on {name}" for name, pid in pids.items() if pid == meant and pid), "")
    kind = _KINDS.get(refused.call, DenialKind.PRIVILEGE)
    return Denial(source=source, kind=kind, text=f"seccomp: {refused.call}{target}")
