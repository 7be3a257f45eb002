"""Rows of the fleet as values, and back. Every change of a target names what it was before."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, case, delete, func, insert, select, update

from asepsis.core.errors import Conflict, NotFound
from asepsis.core.model.calendar import Calendar
from asepsis.core.model.update import Outcome, WaitsFor
from asepsis.hub.fleet.campaigns.document import read_calendar, read_campaign
from asepsis.hub.fleet.campaigns.model import (
    DONE,
    Emergency,
    Member,
    Spec,
    Standing,
    State,
    Tally,
    Target,
)
from asepsis.hub.fleet.campaigns.tables import (
    calendar_uses,
    calendars,
    campaigns,
    members,
    targets,
)
from asepsis.hub.fleet.ports import ReleaseFacts
from asepsis.hub.store.store import next_number

COUNTER: Final = "fleet"
FRESH_NS: Final = 300_000_000_000
"""What a device said of its clinical state counts for this long."""
NAMES_PER_QUERY: Final = 500
_WORDS: Final = msgspec.json.Decoder(dict[str, str])
_EMERGENCY: Final = msgspec.json.Decoder(Emergency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A campaign as it stands.

    Attributes:
        spec: What it is to do.
        document: As it was written.
        state: How far it is.
        wave: Index of the wave that is open.
        since_ns: When `state` began.
        reason: Why, for people.
        person: Who made it.
        created_ns: When.
        successor: Campaign that took its place, empty for none.
        component: What its release replaces.
        acceptance: Whether its manufacturer or its author wants devices accepted before use.
        emergency: Who lets it skip windows and waves.
        joined: Number of the fleet's change up to which joining devices were looked for.
        forgiven_ns: Failures up to this moment were accepted by the person who resumed it.
    """

    spec: Spec
    document: str
    state: State
    wave: int
    since_ns: int
    reason: str
    person: str
    created_ns: int
    successor: str
    component: str
    acceptance: bool
    emergency: Emergency | None
    joined: int
    forgiven_ns: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name


def put_members(connection: Connection, found: Sequence[Member]) -> None:
    """Add devices to the fleet or replace what was noted of them."""
    version = next_number(connection, COUNTER)
    names = [one.device for one in found]
    for start in range(0, len(names), NAMES_PER_QUERY):
        some = names[start : start + NAMES_PER_QUERY]
        connection.execute(delete(members).where(members.c.device.in_(some)))
    if found:
        connection.execute(insert(members), [_member_values(one, version) for one in found])


def set_use(connection: Connection, device: str, *, idle: bool, seen_ns: int) -> None:
    """Note what a device's signed state says."""
    connection.execute(
        update(members).where(members.c.device == device).values(idle=idle, seen_ns=seen_ns)
    )


def all_members(connection: Connection, *, now_ns: int) -> list[Member]:
    """Return the whole fleet by name."""
    rows = connection.execute(select(members).order_by(members.c.device))
    return [member_of(row, now_ns=now_ns) for row in rows]


def page_of_members(connection: Connection, *, after: str, most: int, now_ns: int) -> list[Member]:
    """Return devices of the fleet by name, after one."""
    query = select(members).where(members.c.device > after).order_by(members.c.device).limit(most)
    return [member_of(row, now_ns=now_ns) for row in connection.execute(query)]


def some_members(
    connection: Connection, names: Collection[str], *, now_ns: int
) -> dict[str, Member]:
    """Return devices by name; who is not in the fleet is not in it."""
    wanted, found = sorted(names), dict[str, Member]()
    for start in range(0, len(wanted), NAMES_PER_QUERY):
        some = wanted[start : start + NAMES_PER_QUERY]
        rows = connection.execute(select(members).where(members.c.device.in_(some)))
        found |= {row.device: member_of(row, now_ns=now_ns) for row in rows}
    return found


def changed_members(
    connection: Connection, *, after: int, most: int, now_ns: int
) -> tuple[int, list[Member]]:
    """Return devices that changed after a number, and the number up to which that is all."""
    rows = connection.execute(
        select(members).where(members.c.version > after).order_by(members.c.version).limit(most)
    ).all()
    if len(rows) == most:
        # A change of many devices has one number: it is taken whole, or with the next look.
        last = rows[-1].version
        rows = connection.execute(
            select(members).where(members.c.version > after, members.c.version <= last)
        ).all()
    version = max((row.version for row in rows), default=after)
    return version, [member_of(row, now_ns=now_ns) for row in rows]


def fleet_version(connection: Connection) -> int:
    """Return the number of the fleet's last change."""
    return connection.execute(select(func.max(members.c.version))).scalar_one() or 0


def member_of(row: Row[*tuple[Any, ...]], *, now_ns: int) -> Member:
    """Return a device of the fleet."""
    return Member(
        device=row.device,
        model=row.model,
        ward=row.ward,
        device_class=row.device_class,
        attributes=_WORDS.decode(row.attributes),
        calendar=row.calendar,
        in_service=row.in_service,
        idle=row.idle and now_ns - row.seen_ns < FRESH_NS,
        seen_ns=row.seen_ns,
    )


def put_campaign(
    connection: Connection, document: str, release: ReleaseFacts, *, person: str, now_ns: int
) -> Spec:
    """Keep a new campaign as a draft.

    Raises:
        InputError: Not a campaign.
        Conflict: The name is taken.
    """
    spec = read_campaign(document)
    taken = select(campaigns.c.name).where(campaigns.c.name == spec.name)
    if connection.execute(taken).first() is not None:
        raise Conflict("a campaign has this name already", hint="names are never used again")
    connection.execute(
        insert(campaigns).values(
            name=spec.name,
            document=document,
            state=State.DRAFT.value,
            wave=0,
            since_ns=now_ns,
            reason=b"",
            person=person,
            created_ns=now_ns,
            successor="",
            component=release.component,
            acceptance=spec.acceptance or release.acceptance,
            release=spec.release,
            emergency=None,
            joined=fleet_version(connection),
            forgiven_ns=0,
        )
    )
    return spec


def campaign(connection: Connection, name: str) -> Stored:
    """Return a campaign.

    Raises:
        NotFound: There is none of this name.
    """
    row = connection.execute(select(campaigns).where(campaigns.c.name == name)).one_or_none()
    if row is None:
        raise NotFound("there is no such campaign", hint="asepsis campaign status")
    return _stored(row)


def all_campaigns(connection: Connection) -> list[Stored]:
    """Return every campaign, newest first."""
    rows = connection.execute(select(campaigns).order_by(campaigns.c.created_ns.desc()))
    return [_stored(row) for row in rows]


def change_campaign(
    connection: Connection, before: Stored, *, reason: str | None = None, **values: Any
) -> None:
    """Change a campaign that still stands as it was read.

    Raises:
        Conflict: Somebody changed it in between.
    """
    if reason is not None:
        values["reason"] = reason.encode()
    if isinstance(values.get("emergency"), Emergency):
        values["emergency"] = msgspec.json.encode(values["emergency"])
    changed = connection.execute(
        update(campaigns)
        .where(
            campaigns.c.name == before.name,
            campaigns.c.state == before.state.value,
            campaigns.c.wave == before.wave,
        )
        .values(values)
    )
    if changed.rowcount != 1:
        raise Conflict("the campaign was changed by somebody else in between")


def put_targets(
    connection: Connection, name: str, placed: Mapping[str, int], *, now_ns: int
) -> None:
    """Add devices to a campaign."""
    if placed:
        connection.execute(
            insert(targets),
            [
                _target_values(name, Target(device=device, wave=wave, since_ns=now_ns))
                for device, wave in placed.items()
            ],
        )


def target(connection: Connection, name: str, device: str) -> Target:
    """Return how a campaign stands with a device.

    Raises:
        NotFound: It is not about that device.
    """
    row = connection.execute(
        select(targets).where(targets.c.campaign == name, targets.c.device == device)
    ).one_or_none()
    if row is None:
        raise NotFound("the campaign is not about this device")
    return target_of(row)


def change_target(
    connection: Connection, name: str, before: Target, after: Target, *, told: bool = True
) -> None:
    """Write a target that still stands as it was read.

    Raises:
        Conflict: It changed in between.
    """
    changed = connection.execute(
        update(targets)
        .where(
            targets.c.campaign == name,
            targets.c.device == before.device,
            targets.c.standing == before.standing.value,
            targets.c.epoch == before.epoch,
            targets.c.sequence == before.sequence,
        )
        .values(_target_values(name, after) | {"told": told})
    )
    if changed.rowcount != 1:
        raise Conflict("the device's standing changed in between")


def tallies(connection: Connection, stored: Stored) -> dict[int, Tally]:
    """Return by wave how many devices of a campaign stand how."""
    fresh = case((targets.c.since_ns > stored.forgiven_ns, 0), else_=1)
    rows = connection.execute(
        select(
            targets.c.wave,
            targets.c.standing,
            func.count().label("many"),
            func.max(targets.c.since_ns).label("newest"),
            func.sum(fresh).label("old"),
        )
        .where(targets.c.campaign == stored.name)
        .group_by(targets.c.wave, targets.c.standing)
    ).all()
    found: dict[int, Tally] = {}
    for wave in {row.wave for row in rows}:
        of_wave = {Standing(row.standing): row for row in rows if row.wave == wave}
        found[wave] = Tally(
            counts={standing: row.many for standing, row in of_wave.items()},
            newest_ns=max((of_wave[s].newest for s in DONE & of_wave.keys()), default=0),
            forgiven=int(of_wave[Standing.FAILED].old) if Standing.FAILED in of_wave else 0,
        )
    return found


def target_of(row: Row[*tuple[Any, ...]]) -> Target:
    """Return how a campaign stands with a device."""
    return Target(
        device=row.device,
        wave=row.wave,
        standing=Standing(row.standing),
        outcome=Outcome(row.outcome) if row.outcome else None,
        waits_for=WaitsFor(row.waits_for) if row.waits_for else None,
        since_ns=row.since_ns,
        epoch=row.epoch,
        sequence=row.sequence,
        reason=row.reason,
    )


def put_calendar(connection: Connection, document: str, *, person: str) -> Calendar:
    """Keep a calendar, or replace the one of the same name.

    Raises:
        InputError: Not a calendar.
    """
    found = read_calendar(document)
    connection.execute(delete(calendars).where(calendars.c.name == found.name))
    connection.execute(insert(calendars).values(name=found.name, document=document, person=person))
    return found


def all_calendars(connection: Connection) -> dict[str, Calendar]:
    """Return every calendar by name."""
    found = (read_calendar(row.document) for row in connection.execute(select(calendars)))
    return {one.name: one for one in found}


def uses(connection: Connection) -> dict[tuple[str, str], list[str]]:
    """Return which calendars hold for the site and for wards."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in connection.execute(select(calendar_uses).order_by(calendar_uses.c.calendar)):
        found.setdefault((row.level, row.ward), []).append(row.calendar)
    return found


def set_uses(connection: Connection, ward: str, names: Iterable[str]) -> None:
    """Say which calendars hold for a ward, or with "" for the whole site.

    Raises:
        NotFound: There is no such calendar.
    """
    level, wanted = "ward" if ward else "site", sorted(set(names))
    unknown = set(wanted) - all_calendars(connection).keys()
    if unknown:
        raise NotFound(f"there is no calendar {min(unknown)}")
    connection.execute(
        delete(calendar_uses).where(calendar_uses.c.level == level, calendar_uses.c.ward == ward)
    )
    if wanted:
        rows = [{"level": level, "ward": ward, "calendar": name} for name in wanted]
        connection.execute(insert(calendar_uses), rows)


def _member_values(one: Member, version: int) -> dict[str, Any]:
    return {
        "device": one.device,
        "model": one.model,
        "ward": one.ward,
        "device_class": one.device_class,
        "attributes": msgspec.json.encode(one.attributes, order="sorted").decode(),
        "calendar": one.calendar,
        "in_service": one.in_service,
        "idle": one.idle,
        "seen_ns": one.seen_ns,
        "version": version,
    }


def _target_values(name: str, one: Target) -> dict[str, Any]:
    return {
        "campaign": name,
        "device": one.device,
        "wave": one.wave,
        "standing": one.standing.value,
        "outcome": one.outcome.value if one.outcome else "",
        "waits_for": one.waits_for.value if one.waits_for else "",
        "since_ns": one.since_ns,
        "epoch": one.epoch,
        "sequence": one.sequence,
        "reason": one.reason,
        "told": True,
    }


def _stored(row: Row[*tuple[Any, ...]]) -> Stored:
    return Stored(
        spec=read_campaign(row.document),
        document=row.document,
        state=State(row.state),
        wave=row.wave,
        since_ns=row.since_ns,
        reason=row.reason.decode(),
        person=row.person,
        created_ns=row.created_ns,
        successor=row.successor,
        component=row.component,
        acceptance=row.acceptance,
        emergency=_EMERGENCY.decode(row.emergency) if row.emergency else None,
        joined=row.joined,
        forgiven_ns=row.forgiven_ns,
    )
