"""`[[sdc]]` of the gateway's settings: which address and certificate is which device.

`docs/reference/sdc.md` lists every key. Nothing is discovered: WS-Discovery proves nothing.
"""

from typing import Annotated, Final

import msgspec

SDC_MAX: Final = 256

Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=227)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class SdcEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One SDC service provider.

    Attributes:
        name: For people and findings.
        device: Its name at the hub, which holds the gateway's declared list.
        address: IP address of the device.
        port: Its port.
        path: Path of its device service, most often the UUID of its endpoint reference.
        ca_file: PEM, the CAs that issue the device's certificate; no other is trusted.
        chain_file: PEM, the gateway's own SDC certificate, leaf first.
        key_file: PEM, its key; not the key that the gateway shows the hub.
        identity: URI in the device's certificate. Without it the certificate has to name `host`.
        host: DNS name or IP address in the certificate; empty takes `address`.
        local_address: Where the gateway takes the device's reports.
        local_port: The same; 0 lets the kernel choose.
        vlan: VLAN of its segment, as evidence for the hub; 0 says nothing.
    """

    name: Name
    device: Text
    address: Text
    port: Port
    path: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._~/-]{0,200}$")] = ""
    ca_file: Text
    chain_file: Text
    key_file: Text
    identity: Annotated[str, msgspec.Meta(max_length=227)] = ""
    host: Annotated[str, msgspec.Meta(max_length=227)] = ""
    local_address: Text
    local_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    vlan: Annotated[int, msgspec.Meta(ge=0, le=4_094)] = 0
