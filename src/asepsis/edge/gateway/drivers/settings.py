"""`[[drivers]]` of the gateway's settings: which cable or address is which device.

`docs/reference/drivers.md` lists every key. What a device says of itself never names it; this does.
"""

from typing import Annotated, Final, Literal

import msgspec

DRIVERS_MAX: Final = 256

Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=227)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class DriverEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device behind a vendor's own protocol.

    Attributes:
        name: For people and findings.
        device: Its name at the hub, which holds the gateway's declared list.
        driver: Name of a driver that is shipped; or `file`.
        file: A driver's own file, relative to the settings; whoever can write it is the gateway.
        address: Of a device that speaks datagrams; it lies in `device_segments`.
        port: Its port; 0 takes the driver's usual one.
        local_address: Where the gateway sends from.
        local_port: The same; 0 lets the kernel choose.
        announcements: Port on which announcements of the device are heard; 0 hears none.
        line: Path of a serial line, best one of /dev/serial/by-id.
        baud: Bits a second; 0 takes the driver's usual rate.
        parity: Of the line; empty takes the driver's usual one.
        stop_bits: Of the line; 0 takes the driver's usual ones.
        cleartext: Must be true for datagrams: nothing protects them on their way.
        vlan: VLAN of its segment, as evidence for the hub; 0 says nothing.
    """

    name: Name
    device: Text
    driver: str = ""
    file: str = ""
    address: str = ""
    port: Port = 0
    local_address: Text = "0.0.0.0"  # noqa: S104 - the kernel chooses by the route
    local_port: Port = 0
    announcements: Port = 0
    line: str = ""
    baud: Annotated[int, msgspec.Meta(ge=0, le=4_000_000)] = 0
    parity: Literal["", "none", "even", "odd"] = ""
    stop_bits: Literal[0, 1, 2] = 0
    cleartext: bool = False
    vlan: Annotated[int, msgspec.Meta(ge=0, le=4_094)] = 0
