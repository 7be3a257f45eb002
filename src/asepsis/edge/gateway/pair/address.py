"""Brings the service address to this computer, or takes it away: the commands of `[pair]`.

`python -m asepsis.edge.gateway.pair.address take eth1 10.20.3.1/24`. It needs CAP_NET_ADMIN, and
CAP_NET_RAW for `take`; the gateway's processes need neither, so it is started by sudo or by
systemd. Neighbours hear of the move by ARP announcements (IPv4).

Source: ip-address(8), packet(7); RFC 5227 section 3 (ARP announcement).
"""

import contextlib
import ipaddress
import re
import socket
import struct
import subprocess
import sys
import time
from typing import Final

from asepsis.core.errors import ConfigError

IP: Final = ("/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip")
ANNOUNCEMENTS: Final = 3
PAUSE_S: Final = 0.05
COMMAND_S: Final = 2.0
_INTERFACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,14}")
_ETHER_ARP: Final = 0x0806
_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")
_ALL: Final = b"\xff" * 6
_SETTLED: Final = ("File exists", "already assigned", "Cannot assign", "Address not found")
"""What ip(8) says, by version, where the address is there, or gone, already."""


def announcement(hardware: bytes, address: ipaddress.IPv4Address) -> bytes:
    """Return an Ethernet frame that announces an address.

    Args:
        hardware: Of the interface, 6 bytes.
        address: The service address.

    Source: RFC 5227 section 3: an ARP request whose sender and target are the address.
    """
    arp = _ARP.pack(1, 0x0800, 6, 4, 1, hardware, address.packed, b"\0" * 6, address.packed)
    return _ALL + hardware + struct.pack("!H", _ETHER_ARP) + arp


def take(interface: str, address: ipaddress.IPv4Interface) -> None:
    """Bring the address to an interface and announce it.

    Raises:
        ConfigError: No right to, or no such interface.
    """
    _ip("add", interface, address)
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((interface, _ETHER_ARP))
            frame = announcement(raw.getsockname()[4], address.ip)
            for _ in range(ANNOUNCEMENTS):
                raw.send(frame)
                time.sleep(PAUSE_S)
    except OSError as error:
        raise ConfigError(f"{interface}: {error.strerror}") from error


def give(interface: str, address: ipaddress.IPv4Interface) -> None:
    """Take the address away; errors as `take`."""
    _ip("del", interface, address)


def _ip(verb: str, interface: str, address: ipaddress.IPv4Interface) -> None:
    for program in IP:
        with contextlib.suppress(FileNotFoundError):
            done = subprocess.run(  # noqa: S603 - checked words
                [program, "address", verb, str(address), "dev", interface],
                capture_output=True,
                timeout=COMMAND_S,
                check=False,
            )
            text = done.stderr.decode("utf-8", "replace").strip()
            if done.returncode and not any(words in text for words in _SETTLED):
                raise ConfigError(f"{interface}: {text}", hint="it needs CAP_NET_ADMIN")
            return
    raise ConfigError("no program ip here", hint="install iproute2")


def _checked(interface: str) -> str:
    if not _INTERFACE.fullmatch(interface):
        raise ValueError(interface)
    return interface


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code."""
    verbs = {"take": take, "give": give}
    try:
        verb, interface, text = arguments
        verbs[verb](_checked(interface), ipaddress.IPv4Interface(text))
    except (ValueError, KeyError):
        sys.stderr.write("usage: address take|give INTERFACE ADDRESS/PREFIX\n")
        return 2
    except (ConfigError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
