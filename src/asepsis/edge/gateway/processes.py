"""Forks the processes of one family, and ends them together.

The process that forks reads no secret and no byte of anybody. Its children confine themselves. If
one ends that was not told to, the others are killed: the spool survives that, and whoever started
the family starts it anew. If this process is killed, the children go with it.

Source: prctl(2), PR_SET_PDEATHSIG; sigtimedwait(2).
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.edge.gateway.program import EXIT_FAILED, exit_code
from asepsis.edge.sandbox import kernel

STOP_S: Final = 12.0
"""Longest time that the children have to end once the first was told to."""
_PR_SET_PDEATHSIG: Final = 1
_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})


@dataclass(frozen=True, slots=True)
class Child:
    """One process of a family.

    Attributes:
        name: For people and reports.
        run: What it does; it begins with confining itself.
        told: Whether it is told to end; the others end when it has.
        helps: Whether it only helps the others and has no end of its own.
    """

    name: str
    run: Callable[[], None]
    told: bool = False
    helps: bool = False


def run(children: Sequence[Child], *, forked: Callable[[], None]) -> int:
    """Run the children until SIGTERM or until one ends; return the exit code.

    Args:
        children: In the order in which they are started.
        forked: Called once all are started, to let go of what is theirs.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    running = {_fork(child): child for child in children}
    forked()
    code = 0
    deadline_s: float | None = None
    while running:
        left_s = 3_600.0 if deadline_s is None else deadline_s - time.monotonic()
        if left_s <= 0:
            _tell(running, signal.SIGKILL)
        told = signal.sigtimedwait(_SIGNALS, max(0.05, left_s))
        if told is not None and told.si_signo != signal.SIGCHLD and deadline_s is None:
            deadline_s = time.monotonic() + STOP_S
            _tell({pid: child for pid, child in running.items() if child.told}, signal.SIGTERM)
        for ended in _reap(running):
            code = code or ended
        if running and all(child.helps for child in running.values()):
            _tell(running, signal.SIGKILL)
            for pid in running:
                os.waitpid(pid, 0)
            break
        # The first to end alone was told to, or has failed; then nobody is waited for.
        if running and len(running) < len(children) and deadline_s is None:
            _tell(running, signal.SIGKILL)
            code = code or EXIT_FAILED
            deadline_s = time.monotonic() + STOP_S
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return code


def _reap(running: dict[int, Child]) -> list[int]:
    codes: list[int] = []
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            break
        if running.pop(pid, None) is not None:
            code = os.waitstatus_to_exitcode(status)
            codes.append(code if code >= 0 else EXIT_FAILED)
    return codes


def _tell(children: dict[int, Child], number: signal.Signals) -> None:
    for pid in children:
        os.kill(pid, number)  # Not reaped yet, so it is there.


def _fork(child: Child) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = EXIT_FAILED
    try:
        kernel.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return 0
        # A terminal tells all of them; only the one that is told by us may end on it.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        child.run()
        code = 0
    except AsepsisError as error:
        code = exit_code(error)
    finally:
        sys.stderr.flush()
        os._exit(code)
    return 0
