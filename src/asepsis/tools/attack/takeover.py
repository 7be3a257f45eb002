"""Puts an attacker into the compartments of a device, and watches what its supervisor tells."""

import contextlib
import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from asepsis.core.model.manifest import Manifest
from asepsis.core.model.syscall_class import SyscallClass
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.confine import Confinement, Limits
from asepsis.edge.sandbox.launcher import Blueprint
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.attack.table import Vantage

HERE: Final = Path(__file__).parent
PAYLOAD: Final = ("payload", "payload_system", "payload_held")
GATEWAY_LAYERS: Final = frozenset(
    {Layer.LANDLOCK, Layer.SECCOMP, Layer.NO_NEW_PRIVILEGES, Layer.LIMITS}
)
"""What a gateway uses; `tests/unit/tools/attack` holds it against the gateway's own list."""
GATEWAY_LIMITS: Final = Limits(memory_mib=4_096, files=8_192, file_mib=1_024)
_CARRY: Final = """\
import json as _json, sys as _sys, types as _types
for _name, _text in _json.loads({files}).items():
    _sys.modules[_name] = _module = _types.ModuleType(_name)
    exec(compile(_text, _name, "exec"), _module.__dict__)
_package = "asepsis.tools.attack."
_payload = _sys.modules[_package + "payload"]
"""
_LOAD: Final = """\
_payload.TARGETS.update(_json.loads({targets}))
_attacks = dict(_sys.modules[_package + "payload_system"].ATTACKS)
_attacks.update(_sys.modules[_package + "payload_held"].ATTACKS)
def _attack(worker):
    _payload.attack_all(worker, _attacks)
import asepsis.edge.sandbox.landlock as _landlock
_found = _landlock.abi()
_landlock.abi = lambda: min(_found, {abi})
"""
_HOOKS: Final[Mapping[Vantage, str]] = {
    Vantage.NETWORK: """\
import asepsis.edge.device.network as _held
_made = _held.BrokerClient
def _keep(channels):
    client = _made(channels)
    _payload.TARGETS["dial"] = lambda number: client.dial(number, timeout_s=1.0)
    return client
_held.BrokerClient = _keep
_held.Network.run = _attack
""",
    Vantage.DISPLAY: """\
import asepsis.edge.device.display as _held
_held.Display.run = _attack
""",
    Vantage.VERIFIER: """\
import asepsis.edge.device.verify as _held
_held.Verifier.run = _attack
""",
    Vantage.GATEWAY: """\
import asepsis.tools.attack.stand_in as _held
_held.StandIn.run = _attack
""",
}


@dataclass(slots=True)
class Watched:
    """One device under attack, and everything its supervisor told.

    Attributes:
        folder: Of the enrolled device.
        layers: Layers that are on.
        preludes: What is put before the own code of compartments; filled while it runs.
        events: Compartment, event and details, in order.
        on_event: Told compartment and event at once.
        requests: Whether the device takes requests.
        orders: Whether its supervisor takes orders.
        manifest: Which compartments it has; None for the shipped ones.
    """

    folder: IdentityFolder
    layers: frozenset[Layer]
    preludes: dict[str, str] = field(default_factory=dict[str, str])
    events: list[tuple[str, str, dict[str, Any]]] = field(
        default_factory=list[tuple[str, str, dict[str, Any]]]
    )
    on_event: Callable[[str, str], None] = lambda _who, _what: None
    requests: bool = False
    orders: bool = False
    manifest: Manifest | None = None

    @contextlib.contextmanager
    def running(self) -> Generator[Supervisor]:
        """Run the device's supervisor; nothing moves but in its `step`."""
        setting = Setting(
            seed=5,
            preludes=self.preludes,
            requests=self.requests,
            orders=self.orders,
            manifest=self.manifest,
        )
        supervisor = Supervisor(self.folder, holding=self.layers, setting=setting, tell=self._tell)
        try:
            yield supervisor
        finally:
            supervisor.close()

    def _tell(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        self.events.append((compartment, event, dict(details)))
        self.on_event(compartment, event)

    def told(self, compartment: str, event: str) -> list[dict[str, Any]]:
        """Return the details of every such event."""
        return [d for who, what, d in self.events if (who, what) == (compartment, event)]


def gateway_blueprint(layers: frozenset[Layer], *, prelude: str = "") -> Blueprint:
    """Return how a process starts that is confined as a gateway's parser is.

    Args:
        layers: Layers that are on; what a gateway does not use is left out.
        prelude: See `Blueprint.prelude`.
    """
    code = bubblewrap.code()
    return Blueprint(
        name="gateway-parser",
        module="asepsis.tools.attack.stand_in",
        confinement=Confinement(
            layers=layers & GATEWAY_LAYERS,
            kind=SyscallClass.LISTENING,
            readable=(*code.libraries, code.package),
            limits=replace(GATEWAY_LIMITS, files=64),
        ),
        prelude=prelude,
    )


def prelude(vantage: Vantage, *, abi: int, targets: Mapping[str, Any]) -> str:
    """Return the code that takes a compartment over when all its rights are gone.

    Args:
        vantage: Which.
        abi: Landlock is made to look no newer than this.
        targets: See `payload.TARGETS`.
    """
    return armed(abi=abi, targets=targets) + _HOOKS[vantage]


def armed(*, abi: int, targets: Mapping[str, Any]) -> str:
    """Return the code that brings the attacks into a compartment, and leaves when to others.

    Args:
        abi: Landlock is made to look no newer than this.
        targets: See `payload.TARGETS`.
    """
    return carried(PAYLOAD) + _LOAD.format(targets=repr(json.dumps(dict(targets))), abi=abi)


def carried(names: tuple[str, ...]) -> str:
    """Return the code that brings payload files into a compartment, where they cannot be seen.

    Args:
        names: Modules of this package, `payload` first.
    """
    places = {name: HERE / f"{name.replace('.', '/')}.py" for name in names}
    files = {f"{__package__}.{name}": path.read_text("utf-8") for name, path in places.items()}
    return _CARRY.format(files=repr(json.dumps(files)))


def first_address(pid: int) -> int:
    """Return an address that a process can read of itself; 0 where this user may not look."""
    try:
        return int(Path(f"/proc/{pid}/maps").read_text("ascii").partition("-")[0], 16)
    except (OSError, ValueError):
        return 0
