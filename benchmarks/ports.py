"""A compartment with a port is replaced while clients connect: how many are refused or cut.

The supervision under test owns the listening socket and hands it to each process of a compartment
with every layer of this machine, which answers one line to each client. Every second time the
compartment is replaced by a new version, every second time it is killed (SIGKILL) and its spare
takes over. Clients connect all the while, one after another. Beside it a process that binds its
port itself, killed and started anew as a service manager does.

Refused is who finds no port. Cut is whoever had connected to a process that was then killed: a
listening socket that outlives its process cannot save that one.

Run: .venv/bin/python benchmarks/ports.py [--replacements N]
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from _report import report
from asepsis.core.model.manifest import Compartment, Manifest, Rung, Zone
from asepsis.core.model.syscall_class import SyscallClass
from asepsis.edge.device.manifest import NETWORK, shipped
from asepsis.edge.device.ports import Ports
from asepsis.edge.device.state import code_link
from asepsis.edge.sandbox import bubblewrap, launcher
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.sandbox.supervision import Phase
from asepsis.edge.sandbox.supervision_parts import Runner
from swap import Bench

HOST = "127.0.0.1"
NAME = "facts"
PEER_RESTARTS = 5
ANSWER_S = 20.0
PEER = """
import socket
server = socket.create_server(("{host}", {port}))
while True:
    line, _ = server.accept()
    line.recv(64)
    line.sendall(b"one")
    line.close()
"""


def declared(port: int) -> Compartment:
    """Return a compartment with a port; because it may read a ring, it has a spare."""
    return replace(
        shipped().compartments[NETWORK],
        name=NAME,
        code="asepsis.edge.device.service",
        syscalls=SyscallClass.LISTENING,
        zone=Zone.NONE,
        folder=False,
        keeps=(),
        ports=(port,),
        endpoints=(),
        channels=0,
        requests=(),
    )


@dataclass
class Listeners:
    """Starts the compartment that listens."""

    compartment: Compartment
    folder: Path
    log: IO[bytes]
    layers: Any = field(default_factory=lambda: detect().holding)

    def __post_init__(self) -> None:
        one: Manifest = replace(shipped(), compartments={NAME: self.compartment})
        self.ports = Ports(one, host=HOST, tell=print)
        self.ports.open(NAME)

    def start(self, version: str, *, warm: bool) -> Runner:
        """Start one."""
        plan = self.likeness(version)
        process = launcher.launch(
            plan,
            body={"warm": warm, "facts": {"version": version}},
            descriptors=self.ports.handed(NAME),
            code_folder=self.folder,
            log=self.log,
        )
        return Runner(process=process, version=version, likeness=plan)

    def serve(self, runner: Runner) -> None:
        """Call one that stands by."""
        runner.process.order("serve", {})

    def likeness(self, version: str) -> launcher.Blueprint:
        """Return what would be started now."""
        del version
        return host.blueprint(self.compartment, layers=self.layers, state=self.folder)

    def may_start(self) -> bool:
        """Return that it may."""
        return True


@dataclass
class Clients:
    """Connects again and again, and counts."""

    port: int
    served: int = 0
    refused: int = 0
    cut: int = 0
    slowest_s: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Go on until it is over."""
        while not self.over.wait(0.002):
            began = time.monotonic()
            try:
                with socket.create_connection((HOST, self.port), ANSWER_S) as line:
                    line.sendall(b"facts\n")
                    if line.recv(512):
                        self.served += 1
                    else:
                        self.cut += 1
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                self.cut += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)


def during(port: int, stack: ExitStack) -> Clients:
    """Let clients connect until the stack is left."""
    clients = Clients(port)
    thread = threading.Thread(target=clients.run)
    thread.start()
    stack.callback(thread.join)
    stack.callback(clients.over.set)
    return clients


def ours(count: int) -> Clients:
    """Return what clients saw of a port that the supervision owns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asepsis-ports-")))
        folder.chmod(0o755)
        log = stack.enter_context((folder / "log").open("ab", buffering=0))
        with socket.create_server((HOST, 0)) as found:
            port = int(found.getsockname()[1])
        code = code_link(folder, bubblewrap.code().package)
        listeners = Listeners(declared(port), code, log)
        stack.callback(listeners.ports.close)
        bench = Bench(listeners, rung=Rung.SWAP, declared=listeners.compartment)
        stack.callback(bench.watch.end)
        bench.until(Phase.SERVING)
        bench.until(Phase.READY)
        with ExitStack() as asked:
            clients = during(port, asked)
            for number in range(count):
                bench.replace(number)
        return clients


def alone(count: int) -> Clients:
    """Return what clients saw of a process that binds its port itself."""
    with socket.create_server((HOST, 0)) as found:
        port = int(found.getsockname()[1])
    process = _bind_and_serve(port)
    with ExitStack() as stack:
        clients = during(port, stack)
        for _ in range(count):
            process.kill()
            process.wait()
            process = _bind_and_serve(port)
        clients.over.set()
    process.kill()
    process.wait()
    return clients


def _bind_and_serve(port: int) -> "subprocess.Popen[bytes]":
    program = PEER.format(host=HOST, port=port)
    process = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return process
    raise SystemExit("the peer does not listen")


def main() -> int:
    """Measure and report; 1 if anybody was refused."""
    parser = argparse.ArgumentParser(description="Clients refused while a port changes hands.")
    parser.add_argument("--replacements", type=int, default=200)
    count = parser.parse_args().replacements
    found, peer = ours(count), alone(PEER_RESTARTS)
    print(f"{count} replacements, half of them by SIGKILL: {found.served} clients served")
    print(f"refused {found.refused}, cut {found.cut}, slowest {found.slowest_s * 1e3:.0f} ms")
    print(f"a process with its own port, {PEER_RESTARTS} restarts: refused {peer.refused}")
    met = report(
        "ports",
        found.refused,
        "refused",
        peer="a process that binds its port itself",
        peer_value=peer.refused,
        target=0,
        higher_is_better=False,
        replacements=count,
        served=found.served,
        cut=found.cut,
        slowest_ms=round(found.slowest_s * 1e3, 1),
        peer_cut=peer.cut,
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
