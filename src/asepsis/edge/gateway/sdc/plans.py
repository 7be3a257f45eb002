"""What the settings of SDC devices make of them; nothing here opens a file or a socket."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asepsis.core.errors import ConfigError, InputError
from asepsis.core.model.identity import DeviceId
from asepsis.edge.gateway.sdc.settings import SdcEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class SdcPlan:
    """One SDC device as its process needs it.

    Attributes:
        entry: Its settings.
        device: Its name.
        ca: File of the CAs that issue its certificate.
        chain: File of the gateway's SDC certificate.
        key: File of its key.
    """

    entry: SdcEntry
    device: DeviceId
    ca: Path
    chain: Path
    key: Path

    @property
    def netloc(self) -> str:
        """Return the only authority of URLs that is ever spoken to."""
        host = self.entry.address
        return f"[{host}]:{self.entry.port}" if ":" in host else f"{host}:{self.entry.port}"

    @property
    def local(self) -> str:
        """Return the host of the URLs to which the device sends its reports."""
        host = self.entry.local_address
        return f"[{host}]" if ":" in host else host


def sdc_plans(
    entries: Sequence[SdcEntry], *, folder: Path, taken: Sequence[tuple[str, str]] = ()
) -> Sequence[SdcPlan]:
    """Check what the settings say and return it, one plan a device.

    Args:
        entries: From the settings.
        folder: Relative files count from here.
        taken: Names and devices of other families that share a keeper with these.

    Raises:
        ConfigError: Something does not fit; the message names the device.
    """
    found: list[SdcPlan] = []
    names, devices = {name for name, _ in taken}, {device for _, device in taken}
    for entry in entries:
        if entry.name in names or entry.device in devices:
            raise ConfigError(f"sdc {entry.name}: the name or the device is used twice")
        names.add(entry.name)
        devices.add(entry.device)
        try:
            addresses = [ipaddress.ip_address(a) for a in (entry.address, entry.local_address)]
            device = DeviceId.parse(entry.device)
        except (ValueError, InputError) as error:
            raise ConfigError(f"sdc {entry.name}: {error}") from error
        if any(address.is_unspecified for address in addresses):
            raise ConfigError(f"sdc {entry.name}: each address has to be one that can be reached")
        if entry.identity and entry.host:
            raise ConfigError(f"sdc {entry.name}: either an identity or a host, not both")
        found.append(
            SdcPlan(
                entry=entry,
                device=device,
                ca=folder / entry.ca_file,
                chain=folder / entry.chain_file,
                key=folder / entry.key_file,
            )
        )
    return found
