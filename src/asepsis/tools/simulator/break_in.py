"""How the intruder of the demonstration gets into a network compartment, and what he tries there.

The attacks are a short choice of those of `asepsis device attack`; the table there says which
layers stop each of them.
"""

import os
from pathlib import Path
from typing import Final

from asepsis.edge.device.manifest import ORIGIN, VITALS
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox import landlock
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.attack.table import ATTACKS, Attack, Vantage, expected
from asepsis.tools.attack.takeover import armed, first_address
from asepsis.tools.simulator import intruder

CHOSEN: Final = (
    "trace",
    "write_memory",
    "signal",
    "slow",
    "map_ring",
    "write_ring",
    "read_key",
    "write_outside",
    "shell",
    "fork",
    "writable_code",
    "user_namespace",
    "any_socket",
)
REMOVED: Final = Layer.SECCOMP
"""The layer that the second round goes without: it carries most."""
_WITHOUT_FILTER: Final = """\
import os as _os
import asepsis.edge.sandbox.seccomp as _seccomp
_seccomp.install = lambda kind, witness=None: None if witness is None else _os.close(witness)
"""
_BY_NAME: Final = {attack.name: attack for attack in ATTACKS}
CHOICE: Final[tuple[Attack, ...]] = tuple(_BY_NAME[name] for name in CHOSEN)


def prelude(folder: IdentityFolder, supervisor: Supervisor, *, layers: frozenset[Layer]) -> str:
    """Return the code that takes the network compartment over when its rights are gone.

    Args:
        folder: Of the device.
        supervisor: Of the device; vitals and origin run.
        layers: Layers that are on: with `REMOVED` he forges too, without it he only tries to
            break out.
    """
    origin = supervisor.pid(ORIGIN)
    key = folder.origin_key_path
    targets = {
        "attacks": list(CHOSEN),
        "forge": REMOVED in layers,
        "vitals": supervisor.pid(VITALS),
        "origin": origin,
        "address": first_address(origin),
        "keys": [str(key), "/state/../origin.key", f"/proc/{origin}/root{key}"],
        "outside": str(folder.path / "planted"),
    }
    head = armed(abi=landlock.abi(), targets=targets)
    removed = "" if REMOVED in layers else _WITHOUT_FILTER
    return head + removed + Path(intruder.__file__).read_text("utf-8")


def expect(attack: Attack, *, layers: frozenset[Layer]) -> str:
    """Return what an attack must come to on this machine with these layers."""
    return expected(
        attack,
        vantage=Vantage.NETWORK,
        layers=layers,
        abi=landlock.abi(),
        as_root=os.geteuid() == 0,
    )


def stoppers(attack: Attack, *, layers: frozenset[Layer]) -> str:
    """Return in words which of the layers that are on stop an attack, each by itself."""
    if attack.always:
        return attack.why
    found = attack.stopped_by(Vantage.NETWORK, abi=landlock.abi()) & layers
    return ", ".join(sorted(layer.value for layer in found))
