"""A gateway that is taken over makes no connection, runs no program and opens no other file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gateway_ward import GATEWAY, Sender, Ward, make_ward, oru

from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.confinement import Role
from asepsis.edge.sandbox.layers import Layer

ATTACKS = """
import json, os, socket, subprocess, sys, threading
from pathlib import Path
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.confinement import Role
from asepsis.edge.gateway.confinement import Role
from asepsis.edge.gateway.settings import read_settings
from asepsis.edge.sandbox.confine import confine
settings = read_settings(Path(sys.argv[1]))
data, parent = Path(settings.data), os.getppid()
(data / "run").mkdir(exist_ok=True)
(data / "spool").mkdir(exist_ok=True)
(data / "spool" / "somebody").write_bytes(b"x")
door = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(door.getsockname())
confine(confinement.of_role(settings, Role(sys.argv[2])))
def attempt(job):
    try:
        job()
    except OSError as error:
        return type(error).__name__
    return "possible"
print(json.dumps({
    "connect": attempt(lambda: socket.create_connection(door.getsockname(), 1)),
    "bind": attempt(lambda: socket.create_server(("127.0.0.1", 0))),
    "run": attempt(lambda: os.execv("/bin/true", ["true"])),
    "fork": attempt(lambda: os.fork() or os._exit(0)),
    "kill": attempt(lambda: os.kill(os.getppid(), 0)),
    "read": attempt(lambda: Path("/etc/passwd").read_bytes()),
    "read-secret": attempt(lambda: Path(settings.sealing.passphrase_file).read_bytes()),
    "read-key": attempt(lambda: (data / "identity" / "tls.key").read_bytes()),
    "read-spool": attempt(lambda: (data / "spool" / "somebody").read_bytes()),
    "read-memory": attempt(lambda: Path(f"/proc/{parent}/mem").open("rb")),
    "write": attempt(lambda: Path("/tmp/asepsis-escape").write_bytes(b"x")),
    "write-spool": attempt(lambda: (data / "spool" / "probe").write_bytes(b"x")),
    "write-settings": attempt(lambda: (data / "gateway.toml").write_bytes(b"x")),
    "accept": attempt(door.accept),
    "thread": attempt(lambda: threading.Thread(target=int).start()),
}))
"""
ALLOWED = {
    Role.FRONT: {"accept", "thread"},
    Role.KEEPER: {"read-spool", "write-spool", "thread"},
    Role.UPLINK: {"read-key", "thread"},
}
FILES = ("read", "read-secret", "read-key", "read-spool", "write-spool", "write")


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """A gateway that does not run, for those who only need its files."""
    made = make_ward(tmp_path_factory.mktemp("idle"))
    yield made
    made.close()


@pytest.mark.parametrize("role", Role)
def test_what_a_taken_process_can_do(idle: Ward, role: Role) -> None:
    """Goal: whoever runs code in the parser reads no key and no spool, and reaches nobody."""
    ward = idle
    done = subprocess.run(
        [sys.executable, "-c", ATTACKS, str(ward.data / "gateway.toml"), role.value],
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    held = confinement.holding()
    allowed = set(ALLOWED[role])
    if Layer.LANDLOCK not in held:
        for name in (*FILES, "read-memory", "write-settings"):
            found.pop(name)
            allowed.discard(name)
    assert Layer.SECCOMP in held
    assert {name for name, outcome in found.items() if outcome == "possible"} == allowed
    assert set(found.values()) == {"possible", "PermissionError"}


def test_the_blast_radius_is_printed_as_it_is(idle: Ward) -> None:
    script = "import sys; from asepsis.cli.gateway import app; sys.exit(app(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "scope", "--settings"]
    done = subprocess.run(
        [*command, str(idle.data / "gateway.toml"), "--json"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = {row["process"]: row for row in json.loads(done.stdout)["processes"]}
    front, keeper, uplink = (found[f"hl7 {role.value}"] for role in Role)
    assert (front["reads"], front["writes"], front["connects"]) == ([], [], [])
    assert (keeper["writes"], keeper["connects"], keeper["accepts"]) == (["spool/", "run/"], [], [])
    assert uplink["writes"] == ["identity/"]
    assert GATEWAY in uplink["signs"]
    assert "TLS" not in front["signs"] + keeper["signs"]


def test_every_thread_of_a_gateway_is_confined_and_says_so(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    ward.start_hub()
    ward.start_gateway()
    with Sender(ward.port()) as sender:
        assert sender.send(oru(1)) == "CA"
    assert ward.gateway is not None
    assert set(ward.ready["layers"]) == {layer.value for layer in confinement.holding()}
    broker, *others = children(ward.gateway.pid)
    assert len(others) == len(Role)
    for pid in others:
        for task in Path(f"/proc/{pid}/task").iterdir():
            status = (task / "status").read_text()
            assert "NoNewPrivs:\t1" in status
            assert "Seccomp:\t2" in status
    assert ward.stop_gateway() == 0
    assert not runs(broker)


def test_the_processes_end_together(idle: Ward) -> None:
    ward = idle
    for number in range(4):
        ward.start_gateway()
        assert ward.gateway is not None
        found = children(ward.gateway.pid)
        os.kill(found[number], signal.SIGKILL)
        assert ward.gateway.wait(20) == 1  # Whoever started it starts it anew.
        assert not any(map(runs, found))
    ward.start_gateway()
    found = children(ward.gateway.pid)
    ward.kill_gateway()
    deadline = time.monotonic() + 5
    while any(map(runs, found)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(runs, found))


def runs(pid: int) -> bool:
    """Whether a process is there and no mere entry that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
