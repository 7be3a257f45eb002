"""Who may send what: the settings' peers as checked, frozen values. No socket, file or clock.

An address belongs to one peer of a listener or to none, so who somebody is never depends on what
the message says; MSH-3, MSH-4 and the devices must then fit that peer.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from asepsis.core.errors import ConfigError, InputError, NotPermitted
from asepsis.core.model.identity import DeviceId
from asepsis.edge.gateway.settings import Listener, PeerEntry, Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ANY_EVENT: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Peer:
    """One sender and what it may do; the units are those of `settings.PeerEntry`.

    Attributes:
        name: For people, findings and the spool.
        networks: Where it may come from.
        certificates: Fingerprints of its certificate; empty asks for none.
        senders: Pairs of MSH-3 and MSH-4.
        types: Pairs of MSH-9.1 and MSH-9.2; the event `*` takes every event.
        devices: Identifier as it may stand in OBX-18 or PRT-10 -> device name.
        device_required: Whether an ORU must name a device.
        zone: Zone of times without offset.
        ack: When an acknowledgement is positive.
        cleartext: Whether it speaks without TLS.
        message_bytes_max: Largest message.
        rate_per_s: Sustained rate.
        burst: Bucket size.
        connections_max: Connections at once.
        in_flight_max: Unacknowledged messages per connection.
        idle_s: Longest silence.
        frame_s: Longest time for one frame.
    """

    name: str
    networks: tuple[Network, ...]
    certificates: frozenset[bytes]
    senders: frozenset[tuple[bytes, bytes]]
    types: frozenset[tuple[str, str]]
    devices: Mapping[bytes, str]
    device_required: bool
    zone: ZoneInfo
    ack: Literal["hub", "spool"]
    cleartext: bool
    message_bytes_max: int
    rate_per_s: float
    burst: int
    connections_max: int
    in_flight_max: int
    idle_s: float
    frame_s: float


@dataclass(frozen=True, slots=True)
class Door:
    """One listener and the peers that may come to it."""

    listener: Listener
    peers: tuple[Peer, ...]

    def peer_at(self, address: str) -> Peer:
        """Return the peer that an address belongs to.

        Raises:
            NotPermitted: Nobody listed comes from there.
        """
        found = ipaddress.ip_address(address.partition("%")[0])
        for peer in self.peers:
            if any(found in network for network in peer.networks):
                return peer
        raise NotPermitted("no peer is listed at this address")


def doors(settings: Settings) -> tuple[Door, ...]:
    """Check the whole policy and return it by listener.

    Raises:
        ConfigError: Two peers share a name or an address, a peer names no listener, clear text is
            spoken outside the device segments or without being asked for, or a value is no
            network, zone, message type or device name.
    """
    names = [listener.name for listener in settings.listeners]
    _unique("listener", names)
    _unique("peer", [entry.name for entry in settings.peers])
    for entry in settings.peers:
        if entry.listener not in names:
            raise ConfigError(f"peer {entry.name}: there is no listener {entry.listener}")
    segments = [network_of(text) for text in settings.device_segments]
    found: list[Door] = []
    for listener in settings.listeners:
        entries = [entry for entry in settings.peers if entry.listener == listener.name]
        peers = tuple(peer_of(entry, encrypted=listener.tls is not None) for entry in entries)
        _check_overlap(peers)
        _check_cleartext(listener, peers, segments)
        _check_certificates(listener, peers)
        found.append(Door(listener, peers))
    return tuple(found)


def peer_of(entry: PeerEntry, *, encrypted: bool = False) -> Peer:
    """Turn one entry of the settings into a policy.

    Args:
        entry: The entry.
        encrypted: Whether its listener speaks TLS.

    Raises:
        ConfigError: A network, zone, message type or device name that is none.
    """
    try:
        zone = ZoneInfo(entry.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"peer {entry.name}: no time zone {entry.time_zone!r}") from error
    return Peer(
        name=entry.name,
        networks=tuple(network_of(text) for text in entry.addresses),
        certificates=frozenset(map(bytes.fromhex, entry.certificate_sha256)),
        senders=frozenset((s.application.encode(), s.facility.encode()) for s in entry.senders),
        types=frozenset(_type_of(entry.name, text) for text in entry.message_types),
        devices=_devices_of(entry),
        device_required=entry.device_required,
        zone=zone,
        ack=entry.ack,
        cleartext=entry.cleartext and not encrypted,
        message_bytes_max=entry.message_bytes_max,
        rate_per_s=entry.rate_per_s,
        burst=entry.burst,
        connections_max=entry.connections_max,
        in_flight_max=entry.in_flight_max,
        idle_s=entry.idle_s,
        frame_s=entry.frame_s,
    )


def network_of(text: str) -> Network:
    """Read an address or a network.

    Raises:
        ConfigError: Neither.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(f"not an address or network: {text!r}") from error


def _type_of(peer: str, text: str) -> tuple[str, str]:
    code, separator, event = text.partition("^")
    if not (code.isalnum() and code.isupper() and separator and (event == "*" or event.isalnum())):
        raise ConfigError(f"peer {peer}: a message type looks like ORU^R01, not {text!r}")
    return code, event


def _devices_of(entry: PeerEntry) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for device in entry.devices:
        try:
            name = DeviceId.parse(device.name).uri
        except InputError as error:
            raise ConfigError(f"peer {entry.name}: {device.name!r} is no device name") from error
        for text in (name, *device.identifiers):
            if found.setdefault(text.encode(), name) != name:
                raise ConfigError(f"peer {entry.name}: identifier {text!r} names two devices")
    return found


def _unique(what: str, names: Sequence[str]) -> None:
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else 0
    if twice:
        raise ConfigError(f"two {what}s are called {min(twice)}")


def _check_overlap(peers: Sequence[Peer]) -> None:
    seen: list[tuple[Network, str]] = []
    for peer in peers:
        for network in peer.networks:
            for other, name in seen:
                if name != peer.name and _overlap(network, other):
                    raise ConfigError(f"peers {name} and {peer.name} share addresses")
            seen.append((network, peer.name))


def _overlap(one: Network, other: Network) -> bool:
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.overlaps(other)
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return one.overlaps(other)
    return False


def _inside(network: Network, segments: Sequence[Network]) -> bool:
    return any(
        segment.version == network.version
        and int(segment.network_address) <= int(network.network_address)
        and int(network.broadcast_address) <= int(segment.broadcast_address)
        for segment in segments
    )


def _check_cleartext(listener: Listener, peers: Sequence[Peer], segments: list[Network]) -> None:
    if listener.tls is not None:
        return
    if not _inside(network_of(listener.host), segments):
        raise ConfigError(
            f"listener {listener.name} would speak clear text outside the device segments",
            hint="give it tls, or an address inside device_segments",
        )
    for peer in peers:
        if not peer.cleartext:
            raise ConfigError(f"peer {peer.name} comes without TLS and has not cleartext = true")
        if not all(_inside(network, segments) for network in peer.networks):
            raise ConfigError(f"peer {peer.name} would speak clear text outside device_segments")


def _check_certificates(listener: Listener, peers: Sequence[Peer]) -> None:
    asked = listener.tls is not None and bool(listener.tls.client_ca_file)
    for peer in peers:
        if peer.certificates and not asked:
            raise ConfigError(f"peer {peer.name}: listener {listener.name} asks no certificate")
