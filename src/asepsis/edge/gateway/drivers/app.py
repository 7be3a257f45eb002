"""The drivers family as processes: `python -m asepsis.edge.gateway.drivers.app <gateway.toml>`.

A starter forks one line process for each device and one keeper for all. A line process reads
what its device sends and holds no key; the keeper holds key and spool and reads no stranger.
The starter itself reads nothing but the settings: it starts anew what ends, with the rights to
open a cable that was plugged in again. Ends on SIGTERM; exits with 5 for an operator's mistake.
"""

import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, ConfigError
from asepsis.edge.gateway.drivers import channel, keeper, line
from asepsis.edge.gateway.drivers.catalogue import AnyPlan, Plan, plans
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.program import EXIT_FAILED, exit_code, run_program, say_ready
from asepsis.edge.gateway.sdc.plans import sdc_plans
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox import kernel
from asepsis.edge.uplink.backoff import Backoff

SETTLED_S: Final = 30.0
CAP_S: Final = 5.0
STOP_S: Final = 5.0
_PDEATHSIG: Final = 1
_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})


@dataclass(slots=True)
class _Run:
    """A device and its line process, if it has one."""

    plan: AnyPlan
    end: socket.socket
    backoff: Backoff
    pid: int = 0
    starts: int = 0
    started_s: float = 0.0
    due_s: float = 0.0


class Starter:
    """The processes of the drivers; use in the main thread of a process with no other.

    Args:
        settings: Of the gateway.
        devices: What to run.
        rng: Jitter.

    Resource handling: `run` starts the processes and returns when all have ended; a starter that is
    killed takes them with it.
    """

    def __init__(
        self, settings: Settings, devices: Sequence[AnyPlan], *, rng: random.Random
    ) -> None:
        self._settings = settings
        self._findings = Findings(time.monotonic_ns)
        self._ready = Path(settings.data) / "run" / "drivers.json"
        self._runs: list[_Run] = []
        self._ends: list[socket.socket] = []
        for plan in devices:
            own, far = channel.pair()
            self._runs.append(_Run(plan, own, Backoff(rng=rng, cap_s=CAP_S)))
            self._ends.append(far)
        self._keeper = 0

    def run(self) -> int:
        """Keep everything running until told to stop; return the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._keeper = _fork(self._serve_keeper)
        while True:
            self._start_due()
            found = signal.sigtimedwait(_SIGNALS, self._wait_s())
            if found is not None and found.si_signo != signal.SIGCHLD:
                return self._stop()
            code = self._reap()
            if code is not None:
                self._stop()
                return code

    def _start_due(self) -> None:
        now_s = time.monotonic()
        started = False
        for run in self._runs:
            if not run.pid and run.due_s <= now_s:
                run.pid = _fork(lambda run=run: self._serve_line(run))
                run.starts += 1
                run.started_s, started = now_s, True
        if started:
            self._say()

    def _serve_keeper(self) -> int:
        for run in self._runs:
            run.end.close()
        return keeper.serve(self._settings, [run.plan for run in self._runs], self._ends)

    def _serve_line(self, own: _Run) -> int:
        """Run a line with its own channel only: no line can speak for another device."""
        for end in (*self._ends, *(run.end for run in self._runs if run is not own)):
            end.close()
        if isinstance(own.plan, Plan):
            return line.serve(own.plan, own.end)
        # The library of SDC is loaded in the processes that speak it only.
        from asepsis.edge.gateway.sdc import line as sdc_line  # noqa: PLC0415

        return sdc_line.serve(own.plan, own.end)

    def _say(self) -> None:
        lines = {run.plan.entry.name: {"pid": run.pid, "starts": run.starts} for run in self._runs}
        say_ready(self._ready, {"pid": os.getpid(), "keeper": self._keeper, "lines": lines})

    def _wait_s(self) -> float:
        now_s = time.monotonic()
        return max(0.0, min((r.due_s - now_s for r in self._runs if not r.pid), default=60.0))

    def _reap(self) -> int | None:
        """Take note of what ended; return an exit code if it was the keeper."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if not pid:
                return None
            if pid == self._keeper:
                self._keeper = 0
                return os.waitstatus_to_exitcode(status) or EXIT_FAILED
            for run in self._runs:
                if run.pid == pid:
                    self._ended(run, status)

    def _ended(self, run: _Run, status: int) -> None:
        run.pid = 0
        now_s = time.monotonic()
        if now_s - run.started_s >= SETTLED_S:
            run.backoff.succeeded()
        run.due_s = now_s + run.backoff.failed()
        code = os.waitstatus_to_exitcode(status)
        self._findings.note(Finding.LINE_ENDED, run.plan.entry.name, code=code)

    def _stop(self) -> int:
        """Let the lines say good-bye, then let the keeper spool what is unsent."""
        self._end([run.pid for run in self._runs if run.pid])
        if self._keeper:
            self._end([self._keeper])
        return 0

    def _end(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline_s = time.monotonic() + 4 * STOP_S
        left = set(pids)
        while left and time.monotonic() < deadline_s:
            signal.sigtimedwait({signal.SIGCHLD}, 0.2)
            with contextlib.suppress(ChildProcessError):
                while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                    left.discard(pid)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _fork(work: Callable[[], int]) -> int:
    """Run something in a process of its own that ends with this one; return its number."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = EXIT_FAILED
    try:
        kernel.prctl(_PDEATHSIG, signal.SIGTERM)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # A terminal tells all; the starter decides.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if os.getppid() == parent:
            code = work()
    except AsepsisError as error:
        code = exit_code(error)
    except Exception as error:  # noqa: BLE001 - whatever an operator's driver does: said, started anew
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        # Whatever happened: nothing of the starter's own may run here.
        sys.stderr.flush()
        os._exit(code)


def start(settings: Settings, *, folder: Path) -> int:
    """Run the drivers of a gateway; return the exit code.

    Raises:
        ConfigError: An operator's mistake.
    """
    if not settings.drivers and not settings.sdc:
        raise ConfigError("the settings name no [[drivers]] and no [[sdc]]")
    driven = plans(settings.drivers, segments=settings.device_segments, folder=folder)
    taken = [(plan.entry.name, plan.entry.device) for plan in driven]
    devices = [*driven, *sdc_plans(settings.sdc, folder=folder, taken=taken)]
    rng = random.Random()  # noqa: S311 - jitter
    return Starter(settings, devices, rng=rng).run()


def main(arguments: list[str]) -> int:
    """Run the drivers of one settings file; return the exit code."""
    return run_program(
        "asepsis.edge.gateway.drivers.app",
        arguments,
        lambda settings: start(settings, folder=Path(arguments[0]).parent),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
