"""The one place that connects to somebody else's address: resolved once, judged, and then used.

A name is resolved once, every address that it has is judged, and the connection goes to the very
address that was judged, with the name only in TLS. So a name that changes its mind between two
questions gains nothing. There are no proxies and no redirects.

Source: OWASP SSRF prevention; RFC 6890 (special-purpose addresses); RFC 4291 section 2.5.5.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import ConfigError, NotPermitted, Unavailable

CONNECT_S: Final = 10.0
ADDRESSES_MAX: Final = 16
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Given a host and a port, returns its addresses; raises OSError."""


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where to connect to.

    Attributes:
        host: Name or address, without brackets.
        port: 1 to 65535.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "HostPort":
        """Read `host:port`; an IPv6 address stands in brackets.

        Raises:
            ConfigError: It is neither.
        """
        host, colon, port = text.rpartition(":")
        plain = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
        bad = not plain or not colon or (":" in plain) != host.startswith("[")
        if bad or not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
            raise ConfigError("not host:port", hint="write an IPv6 address in brackets")
        return cls(plain, int(port))


def check_address(
    address: str, *, own: Sequence[IpNetwork], local: bool, is_here: Callable[[IpAddress], bool]
) -> str:
    """Return an address that may be connected to, as it is to be used.

    Args:
        address: One address that a name has.
        own: The hub's own networks.
        local: Whether an administrator permitted local addresses for this destination.
        is_here: Says whether this computer itself has an address.

    Raises:
        NotPermitted: Multicast, unspecified, IPv4 in IPv6 clothes or reserved; or loopback,
            link-local, of this computer or of the hub's own networks and not permitted.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError as error:
        raise NotPermitted("the name does not resolve to an address") from error
    if isinstance(found, ipaddress.IPv6Address):
        hidden = found.ipv4_mapped or found.sixtofour or found.teredo
        compatible = int(found) < 1 << 32 and int(found) > 1
        if hidden or compatible or found.scope_id:
            raise NotPermitted("an IPv4 address in IPv6 form, or one with a zone")
    if found.is_multicast or found.is_unspecified or int(found) == 0xFFFFFFFF:
        raise NotPermitted("a multicast, broadcast or unspecified address")
    if local:
        return str(found)
    if found.is_loopback or found.is_link_local or found.is_reserved:
        raise NotPermitted("a loopback, link-local or reserved address")
    if any(found in network for network in own) or is_here(found):
        raise NotPermitted("an address of the hub or of its own networks")
    return str(found)


def is_of_this_computer(address: IpAddress) -> bool:
    """Say whether an interface of this computer has an address: only then it can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialer:
    """Connects to destinations.

    Attributes:
        own: The hub's own networks.
        resolve: Asks for the addresses of a name.
        is_here: Says whether this computer has an address.
    """

    own: Sequence[IpNetwork] = ()
    resolve: Resolve = resolve_by_system
    is_here: Callable[[IpAddress], bool] = is_of_this_computer

    async def addresses(self, place: HostPort, *, local: bool) -> Sequence[str]:
        """Return the addresses of a place; one question, and all of them must be permitted.

        Raises:
            NotPermitted: One of them may not be connected to.
            Unavailable: The name does not resolve now.
        """
        try:
            async with asyncio.timeout(CONNECT_S):
                found = await self.resolve(place.host, place.port)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"{place.host} does not resolve") from error
        if not found:
            raise Unavailable(f"{place.host} has no address")
        return [
            check_address(address, own=self.own, local=local, is_here=self.is_here)
            for address in found[:ADDRESSES_MAX]
        ]

    async def connect(
        self,
        protocol: Callable[[], asyncio.Protocol],
        place: HostPort,
        *,
        context: ssl.SSLContext,
        server_name: str,
        local: bool,
    ) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
        """Connect over TLS to an address that was judged; return transport and protocol.

        Raises:
            NotPermitted: The place is one that no destination may be.
            Unavailable: Nobody answers, or the certificate does not hold.
        """
        loop = asyncio.get_running_loop()
        why = "nobody answers"
        for address in await self.addresses(place, local=local):
            try:
                async with asyncio.timeout(CONNECT_S):
                    return await loop.create_connection(
                        protocol,
                        address,
                        place.port,
                        ssl=context,
                        server_hostname=server_name or place.host,
                    )
            except ssl.SSLError as error:
                why = f"TLS: {error.reason or type(error).__name__}"
            except (OSError, TimeoutError) as error:
                why = type(error).__name__
        raise Unavailable(f"no connection to {place.host}:{place.port} ({why})")
