"""Starts a compartment: its own interpreter, behind bubblewrap where that holds."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from asepsis.core.errors import Unavailable
from asepsis.edge.sandbox import bubblewrap, control, domains
from asepsis.edge.sandbox.confine import Confinement
from asepsis.edge.sandbox.layer import Layer

INFO_BYTES_MAX: Final = 4_096
END_S: Final = 2.0
"""Longest wait for the end of a killed process; one that hangs in the kernel holds nobody up."""
START: Final = "start"
_ENTRY: Final = """\
import sys
sys.path.append(sys.argv[1])
{prelude}
from {module} import main
main(int(sys.argv[2]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """How to start one compartment.

    Attributes:
        name: For people and reports.
        module: Module whose `main(control descriptor)` is the compartment.
        confinement: What it takes away from itself; paths outside any view.
        state: Its own folder, shown writable; None for none.
        package: Folder of the package `asepsis` that it runs; None for the one of this process.
        prelude: Code run before `module` is imported. Only tests set it, to put an attacker where
            the compartment's own code would run.
    """

    name: str
    module: str
    confinement: Confinement
    state: Path | None = None
    package: Path | None = None
    prelude: str = ""

    @property
    def code(self) -> bubblewrap.Code:
        """Interpreter, libraries and package that it runs."""
        shipped = bubblewrap.code()
        return replace(shipped, package=self.package) if self.package else shipped


class Compartment:
    """A running compartment, as its supervisor sees it.

    Args:
        name: Its name.
        process: The process started: bubblewrap or the compartment itself.
        pid: The compartment itself.
        own: Supervisor's end of the control line.

    Resource handling: `kill` ends the processes and closes the line.
    """

    def __init__(
        self, name: str, *, process: subprocess.Popen[bytes], pid: int, own: socket.socket
    ) -> None:
        self.name = name
        self.pid = pid
        self.control = own
        self._process = process

    @property
    def processes(self) -> tuple[int, ...]:
        """Its process ids: bubblewrap, if it is behind that, and itself."""
        return tuple(dict.fromkeys((self._process.pid, self.pid)))

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def order(
        self, what: str, body: Mapping[str, Any], *, descriptors: Mapping[str, int] | None = None
    ) -> None:
        """Send an order.

        Raises:
            Unavailable: It is gone or takes none.
        """
        control.send_order(self.control, what, body, descriptors=descriptors)

    def kill(self) -> None:
        """End it at once, hanging or not, and wait until it holds nothing any more."""
        with contextlib.suppress(OSError):
            # By a descriptor: bubblewrap's end is not the end of what it wrapped.
            inner = os.pidfd_open(self.pid)
            try:
                if self._process.poll() is None:
                    signal.pidfd_send_signal(inner, signal.SIGKILL)
                    select.select([inner], [], [], END_S)
            finally:
                os.close(inner)
        self._process.kill()
        self._process.wait()
        self.control.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; returns whether it did in time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


Started = TypeVar("Started", bound=Compartment)


def launch(
    blueprint: Blueprint,
    *,
    body: Mapping[str, Any],
    descriptors: Mapping[str, int],
    code_folder: Path,
    log: IO[bytes],
    place: Callable[[Sequence[int]], None] = lambda _: None,
) -> Compartment:
    """Start a compartment and give it its first order.

    Args:
        blueprint: How.
        body: Values of the first order.
        descriptors: Descriptors that go with it; the caller keeps its own.
        code_folder: Folder that holds only a link to the package, for a start without bubblewrap.
        log: Takes its standard error.
        place: Gives its processes (bubblewrap, then itself) their place among the others, before it
            has its order and so before it does anything.

    Raises:
        Unavailable: It did not start.
    """
    wrapped = Layer.BUBBLEWRAP in blueprint.confinement.layers
    root = bubblewrap.CODE if wrapped else code_folder
    script = _ENTRY.format(prelude=blueprint.prelude, module=blueprint.module)
    interpreter = str(bubblewrap.code().interpreter)
    command = [interpreter, "-I", "-S", "-c", script, str(root)]
    wrapper = partial(_wrapper, blueprint) if wrapped else None
    started = spawn(blueprint.name, command=command, wrapper=wrapper, log=log, kind=Compartment)
    confinement = inside(blueprint) if wrapped else blueprint.confinement
    place(started.processes)
    full = {**body, "confinement": confinement.to_document(), "name": blueprint.name}
    try:
        with domains.way_in(confinement.domain) as way:
            started.order(START, full, descriptors={**descriptors, **way})
    except Unavailable:
        started.kill()
        raise
    return started


def spawn(
    name: str,
    *,
    command: Sequence[str],
    wrapper: Callable[[int], Sequence[str]] | None,
    log: IO[bytes],
    kind: type[Started],
) -> Started:
    """Start the process of a compartment, which then waits for its first order.

    Args:
        name: Its name.
        command: Its command line; the number of its control line is added at the end.
        wrapper: Makes the command line in front of it from the descriptor that is told the
            process id; None to start it bare.
        log: Takes its standard error.
        kind: How orders reach it.

    Raises:
        Unavailable: It did not start.
    """
    domains.label_log(log.fileno())
    with domains.sockets_as("control", name):
        own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    told, tell = os.pipe()
    full = [*(wrapper(tell) if wrapper else ()), *command, str(theirs.fileno())]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            full,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=(theirs.fileno(), tell) if wrapper else (theirs.fileno(),),
            start_new_session=True,
            env={},
            cwd="/",
        )
    except OSError as error:
        own.close()
        os.close(told)
        raise Unavailable(f"cannot start {name}: {error.strerror}") from error
    finally:
        theirs.close()
        os.close(tell)
    try:
        pid = _pid_inside(told) if wrapper else process.pid
    finally:
        os.close(told)
    return kind(name, process=process, pid=pid or process.pid, own=own)


def _wrapper(blueprint: Blueprint, tell: int) -> Sequence[str]:
    bwrap = bubblewrap.program()
    if bwrap is None:
        raise Unavailable("bubblewrap is gone")
    return bubblewrap.arguments(
        bwrap=bwrap,
        where=blueprint.code,
        as_root=os.geteuid() == 0,
        state=blueprint.state,
        info=tell,
    )


def inside(blueprint: Blueprint) -> Confinement:
    """Return the confinement with the paths as a compartment behind bubblewrap sees them."""
    outer = blueprint.confinement
    return Confinement(
        layers=outer.layers,
        kind=outer.kind,
        user=outer.user,
        readable=(*bubblewrap.code().libraries, bubblewrap.CODE) if outer.readable else (),
        writable=(bubblewrap.STATE,) if outer.writable else (),
        limits=outer.limits,
        lock_memory=outer.lock_memory,
        domain=outer.domain,
    )


def _pid_inside(told: int) -> int:
    """Read what bubblewrap says; 0 if it ended before it could say anything."""
    text = b""
    while b"}" not in text and len(text) < INFO_BYTES_MAX:
        part = os.read(told, 1_024)
        if not part:
            return 0
        text += part
    return int(json.loads(text).get("child-pid", 0))
