"""Runs a device under attack. Standard library and `asepsis.edge` only: any user's Python can.

As a program: `python3 intrusion.py ROOT FOLDER OUTSIDE LAYER...` prints what each attack came to.
"""

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(sys.argv[1])

from asepsis.edge.device.supervisor import Setting, Supervisor
from asepsis.edge.sandbox.layers import Layer
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital, IdentityFolder

HOST = "127.0.0.1"
ATTACKER = Path(__file__).with_name("attacker.py")
HOOK = """
import asepsis.edge.device.network as _network
TARGETS["dial"] = lambda worker, number: _CLIENTS[0].dial(number, timeout_s=1.0)
_CLIENTS = []
_made = _network.BrokerClient
def _keep(channels):
    _CLIENTS.append(_made(channels))
    return _CLIENTS[0]
_network.BrokerClient = _keep
_network.Network.run = attack_all
"""


@contextlib.contextmanager
def listener() -> Iterator[tuple[int, list[object]]]:
    """Listen on loopback and note who connects; nothing is ever answered."""
    got: list[object] = []
    kept: list[socket.socket] = []
    server = socket.create_server((HOST, 0))

    def accept() -> None:
        while True:
            try:
                connection, peer = server.accept()
            except OSError:
                return
            kept.append(connection)
            got.append(peer)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1], got
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)
        for connection in kept:
            connection.close()


@dataclass
class Ward:
    """One device under test and everything its supervisor told."""

    folder: IdentityFolder
    holding: frozenset[Layer]
    preludes: dict[str, str] = field(default_factory=dict)
    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    on_event: Callable[[str, str], None] = lambda _who, _what: None
    supervisor: Supervisor | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Supervisor]:
        supervisor = Supervisor(
            self.folder,
            holding=self.holding,
            setting=Setting(seed=5, preludes=self.preludes),
            tell=self._tell,
        )
        self.supervisor = supervisor
        try:
            yield supervisor
        finally:
            supervisor.close()

    def _tell(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        self.events.append((compartment, event, dict(details)))
        self.on_event(compartment, event)

    def until(self, wanted: Callable[[], object], *, timeout_s: float = 20) -> None:
        """Run the supervisor until something is so."""
        assert self.supervisor
        deadline = time.monotonic() + timeout_s
        while not wanted():
            assert time.monotonic() < deadline, self.events[-20:]
            self.supervisor.step()

    def during(self, seconds: float) -> None:
        """Run the supervisor for some time."""
        assert self.supervisor
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.supervisor.step()

    def told(self, compartment: str, event: str) -> list[dict[str, Any]]:
        return [d for who, what, d in self.events if (who, what) == (compartment, event)]


def attacker_prelude(targets: Mapping[str, Any], *, hook: str = HOOK) -> str:
    """Return the code that takes a compartment over."""
    source = ATTACKER.read_text(encoding="utf-8")
    values = json.dumps(json.dumps(targets))
    return f"{source}\nimport json\nTARGETS.update(json.loads({values}))\n{hook}"


def first_address(pid: int) -> int:
    """Return an address that a process can read of itself; 0 where this user may not look."""
    try:
        return int(Path(f"/proc/{pid}/maps").read_text("ascii").partition("-")[0], 16)
    except (OSError, ValueError):
        return 0


def attacked(folder: IdentityFolder, holding: frozenset[Layer], *, outside: Path) -> dict[str, str]:
    """Run a device whose network compartment is the attacker's; return what each attack came to."""
    with listener() as (hub, _), listener() as (elsewhere, visitors):
        name, _, root_der = folder.load()
        folder.finish(name, Hospital(Endpoint(HOST, hub), Endpoint(HOST, hub)), root_der)
        under_test = Ward(folder, holding)

        def take_over(compartment: str, event: str) -> None:
            if (compartment, event) == ("origin", "mapped"):
                assert under_test.supervisor
                origin = under_test.supervisor.pid("origin")
                targets: dict[str, Any] = {
                    "vitals": under_test.supervisor.pid("vitals"),
                    "origin": origin,
                    "keys": [
                        str(folder.origin_key_path),
                        "/state/../origin.key",
                        "/state/origin.key",
                        f"/proc/{origin}/root{folder.origin_key_path}",
                    ],
                    "elsewhere": elsewhere,
                    "outside": str(outside),
                    "address": first_address(origin),
                }
                under_test.preludes["network"] = attacker_prelude(targets)

        under_test.on_event = take_over
        with under_test.running():
            under_test.until(
                lambda: any(d["name"] == "done" for d in under_test.told("network", "attack"))
            )
            assert under_test.told("vitals", "alive"), "vitals did not live through the attack"
        outcomes = {d["name"]: d["outcome"] for d in under_test.told("network", "attack")}
        outcomes.pop("done")
        outcomes["visits elsewhere"] = "SUCCEEDED" if visitors else "denied"
        return outcomes


if __name__ == "__main__":
    print(  # noqa: T201 - a program
        json.dumps(
            attacked(
                IdentityFolder(Path(sys.argv[2])),
                frozenset(Layer[name] for name in sys.argv[4:]),
                outside=Path(sys.argv[3]),
            )
        )
    )
