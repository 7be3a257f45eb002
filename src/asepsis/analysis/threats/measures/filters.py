"""A plan's filter as an nftables rule set: declared flows pass, nothing else goes in or out. Pure.

What comes from or goes to a guarded network is looked up among the declared flows by addresses and
port; the answer to an allowed connection passes, everything else is counted and dropped. What has
nothing to do with guarded networks is left alone. Where the cards of the filter are named, a packet
with an address of a guarded network that comes in by another card is dropped too.

Source: nftables 1.0, nft(8); RFC 2827 (ingress filtering).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from asepsis.analysis.threats.measures.drafts import one_line
from asepsis.analysis.threats.measures.segments import (
    Layout,
    Network,
    Segment,
    addresses,
    refuse_missing,
)
from asepsis.analysis.threats.model import Flow, Model

TABLE: Final = "asepsis_threats"
PORTS: Final[Mapping[str, tuple[str, ...]]] = {
    "hl7": ("tcp/2575",),
    "dicom": ("tcp/104", "tcp/11112"),
    "http": ("tcp/80",),
    "https": ("tcp/443",),
    "smb": ("tcp/445",),
}
"""Ports of protocols that have one (IANA); flows of others must say theirs."""
_LOG: Final = 'limit rate 5/second burst 10 packets log prefix "asepsis undeclared: "'


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A flow that has to pass the filter.

    Attributes:
        flow: Id.
        sources: Addresses that begin it.
        targets: Addresses that it goes to.
        ports: Such as `tcp/2575`.
        said: Whether the model says the ports; else they are those of the protocol.
    """

    flow: str
    sources: tuple[Network, ...]
    targets: tuple[Network, ...]
    ports: tuple[str, ...]
    said: bool


def openings(model: Model, found: Layout) -> list[Opening]:
    """Return the flows that cross the border of a guarded segment.

    Raises:
        InputError: One of them has an end without address, or no port; says which.
    """
    crossing: list[Opening] = []
    missing: list[str] = []
    for name, flow in sorted(model.flows.items()):
        sources = found.holding(flow.source, flow.zones)
        targets = found.holding(flow.target, flow.zones)
        if not _crosses(sources, targets):
            continue
        opening = Opening(
            flow=name,
            sources=_addresses(model, flow.source, sources),
            targets=_addresses(model, flow.target, targets),
            ports=flow.target_ports or PORTS.get(flow.protocol, ()),
            said=bool(flow.target_ports),
        )
        missing += _missing(flow, opening)
        crossing.append(opening)
    refuse_missing(missing)
    return crossing


def rule_set(model: Model, found: Layout, *, cards: Mapping[str, str]) -> str:
    """Return the rule set; loading it again replaces it in one step.

    Args:
        model: With addresses and ports.
        found: The network under the plan.
        cards: Segment -> card of the filter behind which it is, such as `eth0.20`; may be empty.

    Raises:
        InputError: Addresses or ports are missing.
    """
    opened = openings(model, found)
    guarded = [segment for segment in found.segments if segment.guarded]
    lines = [
        f"# {one_line(model.name)}: what may pass between parts of the network. Written by",
        "# `asepsis threats compile`, which writes it anew: edit the model instead.",
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
    ]
    for segment in guarded:
        lines += _sets(f"s_{_word(segment.name)}", segment.networks)
    for opening in opened:
        lines += _sets(f"f_{opening.flow}_from", opening.sources)
        lines += _sets(f"f_{opening.flow}_to", opening.targets)
    lines += _forward(guarded, cards)
    lines += ["  chain declared {", "    ct state invalid counter drop"]
    lines += [f"    {line}" for opening in opened for line in _accepts(opening)]
    lines += [f"    {_LOG}", "    counter drop", "  }", "}"]
    return "\n".join(lines) + "\n"


def _forward(guarded: Sequence[Segment], cards: Mapping[str, str]) -> Iterator[str]:
    yield "  chain forward {"
    yield "    type filter hook forward priority filter; policy accept;"
    for segment in guarded:
        card = cards.get(segment.name)
        for family, kind in _families(segment.networks):
            name = f"@s_{_word(segment.name)}_{kind}"
            if card:
                yield f'    iifname != "{card}" {family} saddr {name} counter drop'
    yield "    ct state established,related accept"
    for segment in guarded:
        card = cards.get(segment.name)
        if card:
            yield f'    iifname "{card}" jump declared'
            yield f'    oifname "{card}" jump declared'
        for family, kind in _families(segment.networks):
            name = f"@s_{_word(segment.name)}_{kind}"
            yield f"    {family} saddr {name} jump declared"
            yield f"    {family} daddr {name} jump declared"
    yield "  }"


def _accepts(opening: Opening) -> Iterator[str]:
    kinds = {kind for _, kind in _families(opening.sources)}
    for family, kind in _families(opening.targets):
        if kind not in kinds:
            continue
        for protocol in sorted({port.partition("/")[0] for port in opening.ports}):
            ports = [p.partition("/")[2] for p in opening.ports if p.startswith(protocol)]
            yield (
                f"{family} saddr @f_{opening.flow}_from_{kind} "
                f"{family} daddr @f_{opening.flow}_to_{kind} "
                f"{protocol} dport {{ {', '.join(ports)} }} ct state new counter accept "
                f'comment "{opening.flow}"'
            )


def _sets(name: str, networks: Sequence[Network]) -> Iterator[str]:
    for family, kind in _families(networks):
        type_ = "ipv4_addr" if family == "ip" else "ipv6_addr"
        mine = sorted(str(net) for net in networks if _family(net) == (family, kind))
        yield f"  set {name}_{kind} {{"
        yield f"    type {type_}; flags interval; auto-merge"
        yield f"    elements = {{ {', '.join(mine)} }}"
        yield "  }"


def _families(networks: Iterable[Network]) -> list[tuple[str, str]]:
    return sorted({_family(network) for network in networks})


def _family(network: Network) -> tuple[str, str]:
    return ("ip", "4") if isinstance(network, IPv4Network) else ("ip6", "6")


def _word(name: str) -> str:
    return name.replace("@", ".")


def _crosses(sources: Sequence[Segment], targets: Sequence[Segment]) -> bool:
    """Return whether a flow goes out of a guarded segment or into one."""
    here = {segment.name for segment in sources}
    there = {segment.name for segment in targets}
    if here & there:
        return False
    return any(segment.guarded for segment in (*sources, *targets))


def _addresses(model: Model, name: str, segments: Sequence[Segment]) -> tuple[Network, ...]:
    """Return what a filter knows a device by: its addresses, in the segments it is in."""
    device = model.devices[name]
    found: dict[Network, None] = {}
    for segment in segments:
        found.update(dict.fromkeys(addresses(device, name, segment.networks)))
    return tuple(found) if segments else addresses(device, name, ())


def _missing(flow: Flow, opening: Opening) -> Iterator[str]:
    if not opening.sources:
        yield f"devices.{flow.source}.addresses"
    if not opening.targets:
        yield f"devices.{flow.target}.addresses"
    if not opening.ports:
        yield f"flows.{opening.flow}.target_ports"
