"""Starts the family processes of a gateway, watches them, and starts anew what ended.

The supervisor reads the settings and nothing else: no key, no message, no byte of a stranger. A
family that ends is started again after a wait that grows with its failures and is forgotten once
it ran for a while; the others go on. A family whose settings are wrong is tried again rarely.
`<data>/run/families.json` says what runs.

Source: prctl(2), PR_SET_PDEATHSIG; sigtimedwait(2).
"""

import contextlib
import json
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, ConfigError
from asepsis.edge.gateway.families import EXIT_CONFIG, Family, Standby, wanted
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.pair.service import ServiceAddress
from asepsis.edge.gateway.settings import read_settings
from asepsis.edge.sandbox import kernel
from asepsis.edge.uplink.backoff import Backoff

FIRST_S: Final = 0.25
CAP_S: Final = 30.0
CONFIG_RETRY_S: Final = 60.0
"""How long a family waits whose settings are wrong: a person has to change them."""
SETTLED_S: Final = 30.0
"""After this long a run counts as good, and its failures are forgotten."""
LOOK_S: Final = 0.1
"""Pause between two looks at the lease of a pair; far below what is left when it ends."""
STOP_S: Final = 15.0
"""Longest time that families have to end after SIGTERM."""
_PR_SET_PDEATHSIG: Final = 1
_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})


@dataclass(slots=True)
class _Run:
    """A family and its process, if it has one."""

    family: Family
    backoff: Backoff
    pid: int = 0
    starts: int = 0
    started_s: float = 0.0
    due_s: float = 0.0
    last_exit: int | None = None
    turning: bool = False


class Supervisor:
    """The families of one gateway; use in the main thread of a process with no other.

    Args:
        families: What to run.
        settings_file: Given to each as its one argument.
        run_folder: Where `families.json` stands.
        rng: Jitter of the waits.
        findings: Told what people should know.
        monotonic: Seconds.
        service: The lease and address of a pair; None for a gateway alone.

    Resource handling: `run` starts the processes and returns when all have ended; a supervisor
    that is killed takes them with it.
    """

    def __init__(
        self,
        families: Sequence[Family],
        *,
        settings_file: Path,
        run_folder: Path,
        rng: random.Random,
        findings: Findings,
        monotonic: Callable[[], float] = time.monotonic,
        service: ServiceAddress | None = None,
    ) -> None:
        self._file = settings_file
        self._folder = run_folder
        self._findings = findings
        self._monotonic = monotonic
        self._service = service
        self._runs = [
            _Run(family, Backoff(rng=rng, first_s=FIRST_S, cap_s=CAP_S)) for family in families
        ]

    def run(self) -> None:
        """Keep the families running until SIGTERM or SIGINT.

        Raises:
            ConfigError: The settings of every family are wrong.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            while True:
                self._turn()
                self._start_due()
                self._report()
                told = signal.sigtimedwait(_SIGNALS, self._wait_s())
                self._collect()
                if told is not None and told.si_signo != signal.SIGCHLD:
                    return
                if all(run.last_exit == EXIT_CONFIG and not run.pid for run in self._runs):
                    raise ConfigError("no family of this gateway can run with these settings")
        finally:
            self._stop()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _turn(self) -> None:
        """Follow the lease of the pair: end first what listens, then let go of the address."""
        service = self._service
        if service is None or not service.changed():
            return
        for run in self._runs:
            if run.pid and run.family.standby is not Standby.RUNS:
                run.turning = True
                os.kill(run.pid, signal.SIGKILL)  # Not reaped yet, so it is there.
        while any(run.pid and run.turning for run in self._runs):
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)
            self._collect()
        service.turn()

    def _wanted(self, run: _Run) -> bool:
        service = self._service
        return service is None or service.active or run.family.standby is not Standby.RESTS

    def _start_due(self) -> None:
        now_s = self._monotonic()
        for run in self._runs:
            if not run.pid and run.due_s <= now_s and self._wanted(run):
                environment = self._service.environment(run.family) if self._service else None
                run.pid = _start(run.family.module, self._file, environment)
                run.starts += 1
                run.started_s = now_s

    def _wait_s(self) -> float:
        now_s = self._monotonic()
        waits = [run.due_s - now_s for run in self._runs if not run.pid and self._wanted(run)]
        longest_s = CAP_S if self._service is None else LOOK_S
        return max(0.0, min([*waits, longest_s]))

    def _collect(self) -> None:
        """Take note of every process that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for run in self._runs:
                if run.pid == pid:
                    self._ended(run, os.waitstatus_to_exitcode(status))

    def _ended(self, run: _Run, code: int) -> None:
        now_s = self._monotonic()
        if run.turning:
            run.pid, run.last_exit, run.due_s, run.turning = 0, code, now_s, False
            return
        if now_s - run.started_s >= SETTLED_S:
            run.backoff.succeeded()
        wait_s = CONFIG_RETRY_S if code == EXIT_CONFIG else run.backoff.failed()
        run.pid, run.last_exit, run.due_s = 0, code, now_s + wait_s
        self._findings.note(
            Finding.FAMILY_ENDED, run.family.name, code=code, again_s=round(wait_s, 2)
        )

    def _report(self) -> None:
        """Write what runs; a full disk must not end a gateway."""
        found = [
            {
                "family": run.family.name,
                "pid": run.pid,
                "starts": run.starts,
                "last_exit": run.last_exit,
            }
            for run in self._runs
        ]
        path = self._folder / "families.json"
        new = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            new.write_text(json.dumps(found))
            new.replace(path)

    def _stop(self) -> None:
        """Tell every family to end, wait, and kill what does not."""
        self._tell(signal.SIGTERM)
        deadline_s = self._monotonic() + STOP_S
        while any(run.pid for run in self._runs):
            left_s = deadline_s - self._monotonic()
            if left_s <= 0:
                self._tell(signal.SIGKILL)
            # A short wait: an ending between the look and the wait has left its signal behind.
            signal.sigtimedwait({signal.SIGCHLD}, max(0.05, left_s))
            self._collect()
        if self._service is not None:
            self._service.leave()
        with contextlib.suppress(OSError):
            (self._folder / "families.json").unlink(missing_ok=True)

    def _tell(self, number: signal.Signals) -> None:
        for run in self._runs:
            if run.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(run.pid, number)


def _start(module: str, settings_file: Path, environment: dict[str, str] | None) -> int:
    """Start a family; it gets SIGTERM if this process ends first. Returns its process id."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        kernel.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if os.getppid() != parent:
            os._exit(0)  # It ended between the fork and the line above.
        command = [sys.executable, "-m", module, str(settings_file)]
        os.execve(  # noqa: S606 - our own interpreter and modules
            sys.executable, command, os.environ if environment is None else environment
        )
    finally:
        os._exit(1)


def main(settings_file: Path) -> int:
    """Run the families of one settings file; return the exit code."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    try:
        settings = read_settings(settings_file)
        findings = Findings(time.monotonic_ns)
        Supervisor(
            wanted(settings),
            settings_file=settings_file,
            run_folder=Path(settings.data) / "run",
            rng=random.Random(),  # noqa: S311 - jitter
            findings=findings,
            service=ServiceAddress.of(settings, findings),
        ).run()
    except AsepsisError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return EXIT_CONFIG if isinstance(error, ConfigError) else 1
    return 0
