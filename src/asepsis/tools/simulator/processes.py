"""Child processes of a story: started, listened to, stopped, never left behind."""

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast

from asepsis.core.errors import Unavailable

STOP_S: Final = 15.0
LAST_WORDS: Final = 400


class Actor:
    """A process that takes commands on standard input and tells JSON lines on standard output.

    Args:
        name: For messages to people.
        module: Python module to run.
        arguments: Its arguments.
        log: File for its standard error.
        environment: Its environment; that of this process if None.
        wrap: Command put before it, such as one that enters a network namespace.

    Resource handling: owns the process and a thread; `stop` or `close` ends both.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        wrap: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._log = log.open("ab")
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            [*wrap, sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the story, which stops everybody in order.
        )
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, name=f"listen-{name}", daemon=True)
        self._listener.start()

    def command(self, text: str) -> None:
        """Send one command line; a process that has ended is not an error here."""
        pipe = cast("IO[bytes]", self.process.stdin)
        try:
            pipe.write(text.encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            return

    def wait_for(self, event: str, *, timeout_s: float, **details: object) -> dict[str, Any]:
        """Return the next event of that name with these details; events before it are dropped.

        Raises:
            Unavailable: It did not come in time, or the process ended.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                found = self.events.get(timeout=max(0.01, deadline_s - time.monotonic()))
            except queue.Empty:
                raise Unavailable(f"{self.name} did not say {event!r} in time") from None
            if found["event"] == event and found.items() >= details.items():
                return found
            if found["event"] in ("failed", "ended"):
                raise Unavailable(f"{self.name} stopped: {found.get('text', 'see its log')}")

    def stop(self, *, timeout_s: float = STOP_S) -> int:
        """Close standard input, wait, and return the exit status; kill it if it does not end."""
        with contextlib.suppress(BrokenPipeError):  # It has ended already; its status says how.
            cast("IO[bytes]", self.process.stdin).close()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.close()

    def close(self) -> None:
        """Kill it if it still runs, and release everything; may be called again."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._listener.join()
        for stream in (self.process.stdin, self.process.stdout, self._log):
            with contextlib.suppress(BrokenPipeError):
                cast("IO[bytes]", stream).close()

    def _listen(self) -> None:
        for line in cast("IO[bytes]", self.process.stdout):
            try:
                self.events.put(json.loads(line))
            except ValueError:
                continue  # A stray line of a library; the process's own events are JSON.
        self.events.put({"event": "ended"})


class Service:
    """A command of `asepsis` that serves until it is told to stop, as its own process.

    Args:
        what: For messages to people.
        arguments: What comes after `asepsis`.
        ready: File that it writes when it listens.
        log: File for its output.
        environment: Its environment; that of this process if None.
        wrap: Command put before it, such as one that changes its clock.
        module: Python module that takes the arguments.
    """

    def __init__(
        self,
        what: str,
        arguments: Sequence[str],
        *,
        ready: Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
        wrap: Sequence[str] = (),
        module: str = "asepsis.cli.main",
    ) -> None:
        self._what = what
        self._command = [*wrap, sys.executable, "-m", module, *arguments]
        self._environment = environment
        self._ready = ready
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout_s: float) -> dict[str, Any]:
        """Start it and return what it says when it is ready.

        Raises:
            Unavailable: It ended, or was not ready in time.
        """
        self._ready.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                break
            if self._ready.exists():
                return cast("dict[str, Any]", json.loads(self._ready.read_text("utf-8")))
            time.sleep(0.05)
        last_words = self._log.read_text("utf-8", "replace")[-LAST_WORDS:].strip()
        raise Unavailable(
            f"the {self._what} did not start", hint=last_words or f"its log is {self._log}"
        )

    def kill(self) -> None:
        """End it without warning, as a crash would."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Ask it to drain and end."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class HubProcess(Service):
    """The real hub as its own process, with its signer.

    Args:
        data: Data folder, made by `asepsis hub init`.
        ready: File that the hub writes when it listens.
        log: File for its output.
        environment: Its environment; that of this process if None.
    """

    def __init__(
        self,
        data: Path,
        *,
        ready: Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            "hub", ["hub", "--data", str(data)], ready=ready, log=log, environment=environment
        )


class GatewayProcess(Service):
    """The real gateway as its own process.

    Args:
        settings: Its `gateway.toml`, in its data folder.
        log: File for its output.
        environment: Its environment; that of this process if None.
        wrap: Command put before it.
        family: Protocol family whose word counts that it is ready; HL7 over MLLP if empty.
    """

    def __init__(
        self,
        settings: Path,
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        wrap: Sequence[str] = (),
        family: str = "",
    ) -> None:
        super().__init__(
            "gateway",
            ["gateway", "--settings", str(settings)],
            ready=settings.parent / "run" / f"{family or 'ready'}.json",
            log=log,
            environment=environment,
            wrap=wrap,
        )
