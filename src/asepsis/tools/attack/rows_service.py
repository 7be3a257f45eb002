"""Who wants in by the service port: while it is closed, in use, and until a patient comes."""

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import AsepsisError, SafetyRefusal, Unavailable
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import Manifest
from asepsis.core.model.manifest_claims import require_claims
from asepsis.core.model.manifest_toml import read_manifest
from asepsis.edge.device.manifest import SHIPPED
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.device.supervisor_orders import ask_supervisor
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.attack.rows import BELIEVED, REFUSED, Row
from asepsis.tools.attack.takeover import Watched

ADDED: Final = Path(__file__).with_name("service.toml")
NAME: Final = "service"
HOST: Final = "127.0.0.1"
WAIT_S: Final = 40.0
LOOK_S: Final = 2.0
OPEN_S: Final = 600
PORT_MIN: Final = 20_000
PORTS: Final = 10_000
"""Below the ports that the kernel chooses itself (ip(7), `ip_local_port_range`)."""
_TO_MAINTENANCE: Final = ("disconnected", "acknowledge", "maintenance")
_TO_THE_PATIENT: Final = ("done", "normal")


def manifest(port: int) -> Manifest:
    """Return the shipped manifest with a service port.

    Args:
        port: A free one.

    Raises:
        ConfigError: A file was changed into none, or a claim is broken.
    """
    found = read_manifest(SHIPPED.read_bytes() + ADDED.read_bytes(), name=ADDED.name).manifest
    service = replace(found.compartments[NAME], ports=(port,))
    found = replace(found, compartments={**found.compartments, NAME: service})
    require_claims(found)
    return found


def rows(folder: IdentityFolder, *, layers: frozenset[Layer]) -> list[Row]:
    """Return what attempts on the service port come to.

    Args:
        folder: Of an enrolled device, whose hub nobody is.
        layers: Layers to apply.

    Raises:
        Unavailable: The device did not come so far.
    """
    port = free_port()
    watched = Watched(folder, layers, manifest=manifest(port), orders=True)
    with watched.running() as supervisor:
        tried = _Tried(supervisor, folder=folder.path, port=port)
        tried.until(lambda: supervisor.clinical_state is ClinicalState.IN_USE)
        return [tried.closed(), tried.opened_in_use(), tried.kept()]


def free_port() -> int:
    """Return a port of loopback that is free, and that the kernel gives to nobody meanwhile.

    Raises:
        Unavailable: There is none.
    """
    first = secrets.randbelow(PORTS)
    for number in range(PORTS):
        port = PORT_MIN + (first + number) % PORTS
        with contextlib.suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise Unavailable("no port is free")


class _Tried:
    def __init__(self, supervisor: Supervisor, *, folder: Path, port: int) -> None:
        self._supervisor = supervisor
        self._folder = folder
        self._port = port

    def closed(self) -> Row:
        """Connect while nobody has opened it."""
        reached = self._reached()
        return _row("service-closed", "Connect to the service port of a device in use", reached)

    def opened_in_use(self) -> Row:
        """Open it by the right means at the wrong time."""
        refused = self._open()
        reached = refused is None or self._reached()
        title = "Open the service port, as its own user, while a patient is attached"
        return _row("service-in-use", title, reached, detail=str(refused or ""))

    def kept(self) -> Row:
        """Connect in maintenance, and stay until a patient comes."""
        self._in_state(ClinicalState.MAINTENANCE, keys=_TO_MAINTENANCE)
        refused = self._open()
        if refused is not None:
            raise Unavailable(f"the service port was not opened: {refused}")
        self.until(self._reached)
        with socket.create_connection((HOST, self._port), WAIT_S) as held:
            self._in_state(ClinicalState.IN_USE, keys=_TO_THE_PATIENT)
            self.until_over(LOOK_S)
            held.settimeout(LOOK_S)
            reached = self._reached() or not _ended(held)
        title = "Stay connected to the service port until a patient is attached"
        return _row("service-kept", title, reached, detail="connection ended, port closed")

    def until(self, wanted: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while not wanted():
            if time.monotonic() > deadline_s:
                raise Unavailable("the device did not come so far")
            self._supervisor.step()

    def until_over(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and self._reached():
            self._supervisor.step()

    def _in_state(self, state: ClinicalState, *, keys: tuple[str, ...]) -> None:
        def there() -> bool:
            if self._supervisor.clinical_state is state:
                return True
            for key in keys:
                with contextlib.suppress(Unavailable):
                    self._supervisor.bedside(key)
            return False

        self.until(there)

    def _open(self) -> AsepsisError | None:
        """Give the order from another thread, as another program would; return the refusal."""
        found: list[AsepsisError | None] = []

        def order() -> None:
            try:
                ask_supervisor(self._folder, "service-open", seconds=OPEN_S)
            except AsepsisError as error:
                found.append(error)
            else:
                found.append(None)

        thread = threading.Thread(target=order, daemon=True)
        thread.start()
        self.until(lambda: not thread.is_alive())
        (refused,) = found
        if refused is not None and not isinstance(refused, SafetyRefusal):
            raise refused
        return refused

    def _reached(self) -> bool:
        try:
            socket.create_connection((HOST, self._port), LOOK_S).close()
        except OSError:
            return False
        return True


def _ended(line: socket.socket) -> bool:
    try:
        return not line.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True


def _row(name: str, title: str, reached: Any, *, detail: str = "connection refused") -> Row:
    return Row(
        name=name, title=title, outcome=BELIEVED if reached else REFUSED, detail=detail[:200]
    )
