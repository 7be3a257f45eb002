"""Prepares a gateway for a story: settings, enrolment, and who may send what from which address."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.simulator.joining import join
from asepsis.tools.simulator.orders import Order

LISTENER: Final = "ward"
_HEAD: Final = """\
device_segments = ["127.0.0.0/8"]

[sealing]
source = "passphrase"
passphrase_file = {passphrase}
"""
_LISTENER: Final = f"""\
[[listeners]]
name = "{LISTENER}"
host = "127.0.0.1"
port = 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One sender that the gateway serves.

    Attributes:
        name: For people; letters, digits and dashes.
        address: Where it comes from.
        application: MSH-3.
        facility: MSH-4.
        types: Message types that it may send.
        devices: Names of the devices that it may name, each with how it names them.
    """

    name: str
    address: str
    application: str
    facility: str
    types: tuple[str, ...]
    devices: tuple[tuple[str, str], ...] = ()

    def to_toml(self) -> str:
        """Write it as the gateway's settings have it; JSON strings are TOML strings."""
        devices = ", ".join(
            f"{{ name = {json.dumps(name)}, identifiers = [{json.dumps(known_as)}] }}"
            for name, known_as in self.devices
        )
        sender = (
            f"application = {json.dumps(self.application)}, facility = {json.dumps(self.facility)}"
        )
        return f"""\
[[peers]]
name = {json.dumps(self.name)}
listener = "{LISTENER}"
addresses = [{json.dumps(self.address)}]
cleartext = true
senders = [{{ {sender} }}]
message_types = {json.dumps(self.types)}
devices = [{devices}]
"""


def prepare(order: Order, peers: Sequence[Peer], *, rng: Random, more: str = "") -> Path:
    """Enrol a gateway and write its settings.

    Args:
        order: Name, token, addresses of the hub, folder.
        peers: Whom it serves over MLLP; without any it listens for none.
        rng: Source of jitter.
        more: Further sections, TOML.

    Returns:
        Its settings.

    Raises:
        AsepsisError: It could not enrol.
    """
    data = Path(order.folder)
    join(IdentityFolder(data / "identity"), order, rng=rng)
    # Beside its folder: who copies the spool has not copied what opens it.
    passphrase = data.with_name(f"{data.name}.passphrase")
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_urlsafe(32), encoding="ascii")
    settings = data / "gateway.toml"
    parts = [
        _HEAD.format(passphrase=json.dumps(str(passphrase))),
        _LISTENER if peers else "",
        *(peer.to_toml() for peer in peers),
        more,
    ]
    settings.write_text("\n".join(parts), encoding="utf-8")
    return settings
