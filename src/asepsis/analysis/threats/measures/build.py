"""A plan as files to load, create or complete, and all that it leaves to people. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asepsis.analysis.plans.problem import Plan
from asepsis.analysis.threats.measures.drafts import Draft, campaign, profile
from asepsis.analysis.threats.measures.filters import Opening, openings, rule_set
from asepsis.analysis.threats.measures.segments import Layout, done, layout
from asepsis.analysis.threats.model import Does, Model
from asepsis.core.errors import InputError

FILTER_FILE: Final = "filter.nft"
NETWORK_FILE: Final = "network.json"
_CARD: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$")
_HASH: Final = re.compile(r"^[0-9a-f]{64}$")
_CHANGE_CHARACTERS_MAX: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the model does not say and a person does.

    Attributes:
        releases: Countermeasure -> SHA-256 of its artefact.
        change: Reference of the change board.
        cards: Segment -> card of the filter.
    """

    releases: Mapping[str, str] = field(default_factory=dict[str, str])
    change: str = ""
    cards: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What became of a plan.

    Attributes:
        files: Name -> content.
        layout: The network; None if the plan filters nothing.
        openings: Flows that pass the filter.
        open: What somebody has to fill in or look at.
        cut: What works today and will not.
        by_hand: Countermeasures of the plan that are made of nothing that can be compiled.
    """

    files: Mapping[str, str]
    layout: Layout | None
    openings: Sequence[Opening]
    open: Sequence[str]
    cut: Sequence[str]
    by_hand: Sequence[str]

    def to_document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "files": sorted(self.files),
            "network": None if self.layout is None else network_document(self.layout),
            "openings": [_opening(opening) for opening in self.openings],
            "open": list(self.open),
            "cut": list(self.cut),
            "by_hand": list(self.by_hand),
        }


def build(model: Model, plan: Plan, *, known: Known) -> Built:
    """Return the files of a plan.

    Args:
        model: With addresses, ports and names of models, where the plan needs them.
        plan: Countermeasure -> level.
        known: What a person adds.

    Raises:
        InputError: Something is missing that a filter needs, or `known` names what is not there.
    """
    parts = done(model, plan)
    found = layout(model, plan) if any(p.filter or p.apart for p in parts.values()) else None
    _check(known, parts, found)
    drafts = [*_campaigns(model, parts, known), *_profiles(model, parts)]
    files = {draft.name: draft.content for draft in drafts}
    opened: list[Opening] = []
    notes: list[str] = []
    if found is not None:
        opened = openings(model, found)
        files[FILTER_FILE] = rule_set(model, found, cards=known.cards)
        document = {**network_document(found), "openings": [_opening(o) for o in opened]}
        files[NETWORK_FILE] = json.dumps(document, indent=1) + "\n"
        notes = list(_notes(found, opened, known))
    return Built(
        files=dict(sorted(files.items())),
        layout=found,
        openings=opened,
        open=[f"{draft.name}: {line}" for draft in drafts for line in draft.open]
        + [f"{FILTER_FILE}: {line}" for line in notes],
        cut=list(_cut(model, found)) if found is not None else [],
        by_hand=[
            f"{name}: {model.countermeasures[name].text or 'no words'}"
            for name, part in parts.items()
            if part == Does() or not _compiled(model, part)
        ],
    )


def network_document(found: Layout) -> dict[str, Any]:
    """Return VLANs and the flows that they must allow, as plain values."""
    return {
        "fewest_proven": found.fewest,
        "vlans": [
            {
                "name": vlan.name,
                "guarded": any(segment.guarded for segment in vlan.segments),
                "devices": sorted({d for segment in vlan.segments for d in segment.devices}),
                "networks": [str(net) for segment in vlan.segments for net in segment.networks],
                "flows": list(vlan.flows),
            }
            for vlan in found.vlans
        ],
    }


def _opening(opening: Opening) -> dict[str, Any]:
    return {
        "flow": opening.flow,
        "from": [str(net) for net in opening.sources],
        "to": [str(net) for net in opening.targets],
        "ports": list(opening.ports),
        "ports_said": opening.said,
    }


def _campaigns(model: Model, parts: Mapping[str, Does], known: Known) -> Iterator[Draft]:
    for name, part in parts.items():
        if part.campaign:
            release = known.releases.get(name, "")
            yield campaign(model, name, part.campaign, release=release, change=known.change)


def _profiles(model: Model, parts: Mapping[str, Does]) -> Iterator[Draft]:
    for flow in dict.fromkeys(flow for part in parts.values() for flow in part.gateway):
        draft = profile(model, flow)
        if draft is not None:
            yield draft


def _compiled(model: Model, part: Does) -> bool:
    return bool(part.filter or part.apart or part.campaign) or any(
        profile(model, flow) is not None for flow in part.gateway
    )


def _notes(found: Layout, opened: Sequence[Opening], known: Known) -> Iterator[str]:
    guarded = [segment for segment in found.segments if segment.guarded]
    for opening in opened:
        if not opening.said:
            ports = ", ".join(opening.ports)
            yield f"flow {opening.flow} gets the usual ports {ports}; say target_ports"
    bare = [segment.name for segment in guarded if segment.name not in known.cards]
    if bare:
        yield (
            f"{', '.join(bare)}: known by address only; with --card a packet with a false address, "
            "and IPv6 that the model does not name, are dropped too"
        )


def _cut(model: Model, found: Layout) -> Iterator[str]:
    """Yield what crosses the filter today without being a flow of the model."""
    for name, remote in sorted(model.remotes.items()):
        for device in remote.devices:
            here = found.holding(device, ())
            if any(s.guarded and s.zone != remote.zone for s in here) and not _ends(
                model, device, remote.zone
            ):
                yield f"remote service {name} to {device}: no flow says what it needs"
    for name, update in sorted(model.updates.items()):
        for device in update.devices if update.server else ():
            here = {segment.name for segment in found.holding(device, ()) if segment.guarded}
            there = {segment.name for segment in found.holding(update.server or "", ())}
            if here and not here & there and not _flow(model, device, update.server or ""):
                yield f"update {name} from {update.server} to {device}: no flow says so"


def _ends(model: Model, device: str, zone: str) -> bool:
    """Return whether a flow from a zone's device goes to a device."""
    return any(
        flow.target == device and zone in model.devices[flow.source].zones
        for flow in model.flows.values()
    )


def _flow(model: Model, one: str, other: str) -> bool:
    return any({flow.source, flow.target} == {one, other} for flow in model.flows.values())


def _check(known: Known, parts: Mapping[str, Does], found: Layout | None) -> None:
    for name, digest in known.releases.items():
        if name not in parts or not parts[name].campaign:
            raise InputError(f"the plan has no campaign {name!r}")
        if not _HASH.match(digest):
            raise InputError(f"{name}: a release is named by its SHA-256, 64 hexadecimal digits")
    if len(known.change) > _CHANGE_CHARACTERS_MAX:
        raise InputError(f"a change has at most {_CHANGE_CHARACTERS_MAX} characters")
    names = {segment.name for segment in found.segments} if found else set[str]()
    for name, card in known.cards.items():
        if name not in names:
            raise InputError(f"no part of the network {name!r}", hint=", ".join(sorted(names)))
        if not _CARD.match(card):
            raise InputError(f"{card!r} is no name of a network card")
