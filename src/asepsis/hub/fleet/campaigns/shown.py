"""Campaigns, plans, the fleet and work orders as JSON documents."""

from collections.abc import Mapping, Sequence
from typing import Any

from asepsis.core.model.calendar import DAYS, Calendar
from asepsis.hub.fleet.campaigns.model import Member, Target
from asepsis.hub.fleet.campaigns.orders import WorkOrder
from asepsis.hub.fleet.campaigns.planning import Line, Overview
from asepsis.hub.fleet.campaigns.rows import Stored

Document = dict[str, Any]


def campaign(stored: Stored) -> Document:
    """Return a line of the list of campaigns."""
    emergency = stored.emergency
    return {
        "name": stored.name,
        "state": stored.state,
        "wave": stored.wave + 1,
        "waves": len(stored.spec.waves),
        "release": stored.spec.release,
        "component": stored.component,
        "change": stored.spec.change,
        "reason": stored.reason,
        "person": stored.person,
        "created_ns": stored.created_ns,
        "since_ns": stored.since_ns,
        "successor": stored.successor,
        "acceptance": stored.acceptance,
        "emergency": [emergency.first, emergency.second, emergency.reason] if emergency else None,
    }


def overview(one: Overview) -> Document:
    """Return how a campaign stands, wave by wave."""
    waves: list[Document] = []
    for index, wave in enumerate(one.stored.spec.waves):
        tally = one.tallies.get(index)
        verdict, why = one.gates[index]
        waves.append(
            {
                "wave": index + 1,
                "kind": wave.kind.name.lower(),
                "devices": {k.value: v for k, v in tally.counts.items()} if tally else {},
                "gate": verdict,
                "why": why,
            }
        )
    return campaign(one.stored) | {
        "waves": waves,
        "refused": one.refused,
        "document": one.stored.document,
    }


def line(one: Line) -> Document:
    """Return one device of a plan."""
    return _target(one.target) | {
        "ward": one.member.ward if one.member else "",
        "class": one.member.device_class if one.member else "",
        "why": one.reason.why if one.reason else "",
        "text": one.reason.text if one.reason else "",
        "next_ns": one.next_ns,
    }


def hunted(target: Target, known: Member) -> Document:
    """Return a device that was not seen."""
    return {
        "device": target.device,
        "ward": known.ward,
        "class": known.device_class,
        "standing": target.standing,
        "seen_ns": known.seen_ns,
    }


def member(one: Member) -> Document:
    """Return a device of the fleet."""
    return {
        "device": one.device,
        "model": one.model,
        "class": one.device_class,
        "ward": one.ward,
        "calendar": one.calendar,
        "in_service": one.in_service,
        "idle": one.idle,
        "seen_ns": one.seen_ns,
        "attributes": one.attributes,
    }


def calendars(known: Mapping[str, Calendar], uses: Mapping[tuple[str, str], Sequence[str]]) -> Any:
    """Return every calendar, and where it holds."""
    return {
        "calendars": [
            {
                "name": one.name,
                "zone": one.zone.key,
                "windows": [
                    {
                        "days": [DAYS[day] for day in sorted(window.days)],
                        "start": window.start.isoformat(),
                        "end": window.end.isoformat(),
                    }
                    for window in one.windows
                ],
                "blackouts": [
                    {"start": b.start.isoformat(), "end": b.end.isoformat(), "reason": b.reason}
                    for b in one.blackouts
                ],
            }
            for one in known.values()
        ],
        "site": list(uses.get(("site", ""), ())),
        "wards": {ward: list(names) for (level, ward), names in uses.items() if level == "ward"},
    }


def work_order(one: WorkOrder) -> Document:
    """Return a work order."""
    return {
        "id": one.id,
        "campaign": one.campaign,
        "device": one.device,
        "kind": one.kind,
        "opened_ns": one.opened_ns,
        "as_found": one.as_found,
        "as_left": one.as_left,
        "reference": one.reference,
        "closed_ns": one.closed_ns,
        "person": one.person,
    }


def _target(one: Target) -> Document:
    return {
        "device": one.device,
        "wave": one.wave + 1,
        "standing": one.standing,
        "outcome": one.outcome,
        "waits_for": one.waits_for,
        "since_ns": one.since_ns,
        "reason": one.reason,
    }
