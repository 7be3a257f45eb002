"""A gateway that is taken over makes no connection, runs no program and opens no other file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway_ward import Sender, Ward, oru

from asepsis.edge.gateway import confinement
from asepsis.edge.sandbox.layers import Layer

ATTACKS = """
import json, os, socket, subprocess, sys, threading
from pathlib import Path
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.settings import read_settings
from asepsis.edge.sandbox.confine import confine
settings = read_settings(Path(sys.argv[1]))
door = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(door.getsockname())
confine(confinement.confinement(settings))
def attempt(job):
    try:
        job()
    except OSError as error:
        return type(error).__name__
    return "possible"
data = Path(settings.data)
print(json.dumps({
    "connect": attempt(lambda: socket.create_connection(door.getsockname(), 1)),
    "bind": attempt(lambda: socket.create_server(("127.0.0.1", 0))),
    "run": attempt(lambda: os.execv("/bin/true", ["true"])),
    "fork": attempt(lambda: os.fork() or os._exit(0)),
    "kill": attempt(lambda: os.kill(os.getppid(), 0)),
    "read": attempt(lambda: Path("/etc/passwd").read_bytes()),
    "read-secret": attempt(lambda: Path(settings.sealing.passphrase_file).read_bytes()),
    "write": attempt(lambda: Path("/tmp/asepsis-escape").write_bytes(b"x")),
    "accept": attempt(door.accept),
    "own-folder": attempt(lambda: (data / "probe").write_bytes(b"x")),
    "thread": attempt(lambda: threading.Thread(target=int).start()),
}))
"""
ALLOWED = {"accept", "own-folder", "thread"}


def test_what_a_taken_gateway_can_do(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    done = subprocess.run(
        [sys.executable, "-c", ATTACKS, str(ward.data / "gateway.toml")],
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    held = confinement.holding()
    if Layer.LANDLOCK not in held:
        for name in ("read", "read-secret", "write"):
            found.pop(name)
    assert Layer.SECCOMP in held
    assert {name for name, outcome in found.items() if outcome == "possible"} == ALLOWED
    assert set(found.values()) == {"possible", "PermissionError"}


def test_every_thread_of_a_gateway_is_confined_and_says_so(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    ward.start_hub()
    ward.start_gateway()
    with Sender(ward.port()) as sender:
        assert sender.send(oru(1)) == "CA"
    assert ward.gateway is not None
    assert set(ward.ready["layers"]) == {layer.value for layer in confinement.holding()}
    for task in Path(f"/proc/{ward.gateway.pid}/task").iterdir():
        status = (task / "status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
    assert ward.stop_gateway() == 0


def test_gateway_and_broker_end_together(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    ward.start_gateway()
    assert ward.gateway is not None
    (broker,) = children(ward.gateway.pid)
    os.kill(broker, signal.SIGKILL)
    assert ward.gateway.wait(20) == 1  # Whoever started it starts it anew.
    ward.start_gateway()
    (broker,) = children(ward.gateway.pid)
    ward.kill_gateway()
    deadline = time.monotonic() + 5
    while runs(broker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(broker)


def runs(pid: int) -> bool:
    """Whether a process is there and no mere entry that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
