"""A hospital with one machine of every kind and its hub as a real process, and what it takes."""

from dataclasses import dataclass, field
from pathlib import Path

import httpx

from asepsis.core.trust import tls
from asepsis.core.trust.identity import Profile
from hospital import Hospital, HubProcess, Machine, device_name, system_name
from load import Bed

SIGNING, OTHER, UNSIGNED, NATIVE = (device_name(n) for n in (1, 2, 3, 13))
"""UNSIGNED has no certificate: the gateway speaks for it. NATIVE has one, and no origin key."""
GATEWAY, CONSUMER = system_name(1), system_name(2)
LANES = '["alert", "vitals", "waveform", "late", "message", "event"]'
CONSUMERS = f"""
[[consumers]]
name = "{CONSUMER}"
lanes = {LANES}
mandatory = ["alert", "vitals"]
record = "devices"
"""


@dataclass
class Ward:
    """A hospital, its machines by name, and whatever hub runs now."""

    hospital: Hospital
    machines: dict[str, Machine]
    hub: HubProcess | None = None
    _clients: list[httpx.Client] = field(default_factory=list)

    def start(self) -> HubProcess:
        """Start the hub."""
        self.hub = self.hospital.start_hub()
        return self.hub

    def client(self, name: str | None, listener: str = "clinical") -> httpx.Client:
        """Return a client of one machine, or of nobody in particular."""
        assert self.hub is not None
        files = self.machines[name].files if name else None
        context = tls.client_context(root_der=self.hospital.root_der, identity=files)
        port = self.hub.ready["listeners"][listener]["port"]
        made = httpx.Client(verify=context, base_url=f"https://localhost:{port}", timeout=20)
        self._clients.append(made)
        return made

    def bed(self, name: str) -> Bed:
        """Return a fresh bed of a signing device."""
        machine = self.machines[name]
        assert machine.origin_key is not None
        context = tls.client_context(root_der=self.hospital.root_der, identity=machine.files)
        return Bed(name, machine.origin_key, context)

    def close(self) -> None:
        """End everything."""
        for client in self._clients:
            client.close()
        if self.hub is not None and self.hub.process.poll() is None:
            self.hub.stop()


def make_ward(
    folder: Path, *, more: str = "", state_url: str = "", made_as: type[Hospital] = Hospital
) -> Ward:
    """Prepare a hospital with one machine of every kind.

    Args:
        folder: Empty folder.
        more: Further sections of hub.toml.
        state_url: Where the state stands, by default in the data folder.
        made_as: How the hospital comes to its CA.
    """
    hospital = made_as(folder, more=more + CONSUMERS)
    hospital.toml.write_text(f'state_url = "{state_url}"\n' + hospital.toml.read_text())
    made = [
        *hospital.enlist([(SIGNING, Profile.DEVICE), (OTHER, Profile.DEVICE)]),
        *hospital.enlist([(NATIVE, Profile.DEVICE)], signing=False),
        *hospital.enlist([(GATEWAY, Profile.GATEWAY)], declared=[UNSIGNED]),
        *hospital.enlist([(CONSUMER, Profile.CONSUMER)]),
    ]
    return Ward(hospital, {m.name: m for m in made})
