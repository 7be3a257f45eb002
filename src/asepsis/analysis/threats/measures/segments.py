"""Which parts of a network a plan keeps apart, and the fewest VLANs that do so. Pure.

A segment is what is left of a zone, or a kind of device that a plan takes out of it. Two segments
may share a VLAN only if nothing keeps them apart today and the plan does not either; then a border
between them would be work without use. The fewest VLANs are the fewest colours of the graph of
what must be apart.

Source: Brelaz, "New methods to color the vertices of a graph" (1979), here with backtracking.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypeAlias

from asepsis.analysis.plans.problem import Plan
from asepsis.analysis.threats.model import Device, Does, Model
from asepsis.core.errors import InputError, LimitExceeded

Network: TypeAlias = IPv4Network | IPv6Network
SEGMENTS_MAX: Final = 400
TRIES_MAX: Final = 50_000
"""Steps of the search for fewer VLANs; beyond them the list may not be the shortest."""
MISSING_SHOWN: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of the network.

    Attributes:
        name: The zone, or `device@zone` for what stands apart in it.
        zone: Id.
        devices: Ids of those in it, sorted.
        networks: Its addresses, without those of what stands apart in it; no two segments of a
            zone share one.
        guarded: Whether a filter lets only declared flows in and out.
    """

    name: str
    zone: str
    devices: tuple[str, ...]
    networks: tuple[Network, ...]
    guarded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Vlan:
    """Segments that share a network.

    Attributes:
        name: Of its segments.
        segments: One or more.
        flows: Ids of flows that go out of it or into it, sorted.
    """

    name: str
    segments: tuple[Segment, ...]
    flows: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A network under a plan.

    Attributes:
        segments: All, by name.
        vlans: The fewest that keep apart what must be.
        fewest: Whether that number is proven.
    """

    segments: tuple[Segment, ...]
    vlans: tuple[Vlan, ...]
    fewest: bool

    def holding(self, device: str, zones: Sequence[str]) -> list[Segment]:
        """Return where a device is; in these zones only, if it is in any of them."""
        all_ = [segment for segment in self.segments if device in segment.devices]
        return [segment for segment in all_ if segment.zone in zones] or all_


def done(model: Model, plan: Plan) -> dict[str, Does]:
    """Return what each countermeasure of a plan is made of."""
    return {
        name: model.countermeasures[name].levels[level - 1].does for name, level in plan.items()
    }


def layout(model: Model, plan: Plan) -> Layout:
    """Return the network under a plan.

    Zones in which the model has neither devices nor networks are outside: they get no VLAN.

    Raises:
        InputError: A filter is asked for whose networks or devices have no addresses; says which.
        LimitExceeded: Over `SEGMENTS_MAX` parts.
    """
    segments = _segments(model, plan)
    if len(segments) > SEGMENTS_MAX:
        raise LimitExceeded(f"{len(segments)} parts of a network; at most {SEGMENTS_MAX}")
    _complete(segments)
    colours, fewest = fewest_groups(_apart(model, segments))
    found = Layout(segments=tuple(segments), vlans=(), fewest=fewest)
    return replace(found, vlans=tuple(_vlans(model, found, colours)))


def _segments(model: Model, plan: Plan) -> list[Segment]:
    parts = done(model, plan).values()
    filtered = {zone for part in parts for zone in part.filter}
    apart = {device for part in parts for device in part.apart}
    segments: list[Segment] = []
    for zone in sorted(model.zones):
        inside = [name for name, device in sorted(model.devices.items()) if zone in device.zones]
        rest = tuple(name for name in inside if name not in apart)
        networks = tuple(_network(text, f"zones.{zone}") for text in model.zones[zone].networks)
        out = {
            name: addresses(model.devices[name], name, networks) for name in inside if name in apart
        }
        if rest or (networks and not inside):
            segments.append(
                Segment(
                    name=zone,
                    zone=zone,
                    devices=rest,
                    networks=_without(networks, [net for own in out.values() for net in own]),
                    guarded=zone in filtered,
                )
            )
        segments += [
            Segment(name=f"{name}@{zone}", zone=zone, devices=(name,), networks=own, guarded=True)
            for name, own in out.items()
        ]
    return segments


def addresses(device: Device, name: str, within: Sequence[Network]) -> tuple[Network, ...]:
    """Return a device's addresses in some networks; all of them where none is said."""
    found = tuple(_network(text, f"devices.{name}") for text in device.addresses)
    return tuple(one for one in found if not within or any(_inside(one, net) for net in within))


def fewest_groups(apart: Sequence[frozenset[int]]) -> tuple[list[int], bool]:
    """Return a group for each of some things, the fewest so that none is with what it must not be.

    Args:
        apart: For each thing the places of those that must not be in its group; symmetric.

    Returns:
        The groups, numbered from 0, and whether fewer are proven to be impossible.
    """
    search = _Colouring(apart)
    proven = search.run()
    return search.best, proven


class _Colouring:
    """Branch and bound over colours, the most constrained thing first."""

    def __init__(self, apart: Sequence[frozenset[int]]) -> None:
        self._apart = apart
        self._colour = [-1] * len(apart)
        self.best: list[int] = list(range(len(apart)))
        self._count = len(apart)
        self._tries = 0

    def run(self) -> bool:
        if self._apart:
            self._extend(0)
        return self._tries <= TRIES_MAX

    def _extend(self, used: int) -> None:
        self._tries += 1
        if self._tries > TRIES_MAX or used >= self._count:
            return
        open_ = [place for place, colour in enumerate(self._colour) if colour < 0]
        if not open_:
            self.best[:] = self._colour
            self._count = used
            return
        place = max(open_, key=lambda p: (len(self._taken(p)), len(self._apart[p]), -p))
        taken = self._taken(place)
        for colour in range(min(used + 1, self._count)):
            if colour not in taken:
                self._colour[place] = colour
                self._extend(max(used, colour + 1))
                self._colour[place] = -1

    def _taken(self, place: int) -> set[int]:
        return {self._colour[other] for other in self._apart[place]} - {-1}


def _apart(model: Model, segments: Sequence[Segment]) -> list[frozenset[int]]:
    """Return for each segment those that must not share its VLAN."""

    def together(one: Segment, other: Segment) -> bool:
        if one.guarded or other.guarded:
            return False
        return (
            other.zone in model.zones[one.zone].reaches
            and one.zone in model.zones[other.zone].reaches
        )

    return [
        frozenset(
            place
            for place, other in enumerate(segments)
            if other is not one and not together(one, other)
        )
        for one in segments
    ]


def _vlans(model: Model, found: Layout, colours: Sequence[int]) -> list[Vlan]:
    groups: dict[int, list[Segment]] = {}
    for segment, colour in zip(found.segments, colours, strict=True):
        groups.setdefault(colour, []).append(segment)
    ends = {
        name: (
            {segment.name for segment in found.holding(flow.source, flow.zones)},
            {segment.name for segment in found.holding(flow.target, flow.zones)},
        )
        for name, flow in model.flows.items()
    }
    return [_vlan(group, ends) for group in groups.values()]


def _vlan(group: Sequence[Segment], ends: Mapping[str, tuple[set[str], set[str]]]) -> Vlan:
    names = {segment.name for segment in group}
    return Vlan(
        name="+".join(sorted(names)),
        segments=tuple(group),
        flows=tuple(
            sorted(
                flow
                for flow, (sources, targets) in ends.items()
                if (sources & names and targets - names) or (targets & names and sources - names)
            )
        ),
    )


def _complete(segments: Sequence[Segment]) -> None:
    """Refuse a filter that would not know what it guards."""
    missing = [
        f"devices.{segment.devices[0]}.addresses"
        if "@" in segment.name
        else f"zones.{segment.zone}.networks"
        for segment in segments
        if segment.guarded and not segment.networks
    ]
    refuse_missing(missing)


def refuse_missing(missing: Sequence[str]) -> None:
    """Refuse a model that does not say what a filter needs.

    Raises:
        InputError: Anything is missing; names the first few.
    """
    if not missing:
        return
    shown = ", ".join(sorted(set(missing))[:MISSING_SHOWN])
    raise InputError(
        f"a filter needs what the model does not say: {shown}",
        hint="networks such as 10.20.0.0/24, addresses such as 10.20.0.7, target_ports such as "
        "tcp/2575",
    )


def _network(text: str, where: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise InputError(f"{where}: {text!r} is no address or network") from error


def _without(networks: Sequence[Network], gone: Sequence[Network]) -> tuple[Network, ...]:
    """Return networks without some parts of them."""
    found = list(networks)
    for part in gone:
        rest: list[Network] = []
        for network in found:
            if _inside(network, part):
                continue
            rest += network.address_exclude(part) if _inside(part, network) else [network]  # pyright: ignore[reportArgumentType]
        found = rest
    return tuple(sorted(found, key=lambda net: (net.version, net)))


def _inside(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.subnet_of(other)
    if isinstance(one, IPv6Network) and isinstance(other, IPv6Network):
        return one.subnet_of(other)
    return False
