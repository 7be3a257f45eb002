"""Rows of the fleet as values, and back. Every change of a target names what it was before."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, case, delete, func, insert, select, update

from asepsis.core.errors import Conflict, NotFound
from asepsis.core.model.calendar import Calendar
from asepsis.core.model.update import Outcome, WaitsFor
from asepsis.hub.fleet.campaigns.document import read_calendar, read_campaign
from asepsis.hub.fleet.campaigns.member_rows import fleet_version
from asepsis.hub.fleet.campaigns.model import (
    DONE,
    Emergency,
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
    targets,
)
from asepsis.hub.fleet.ports import ReleaseFacts

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


def all_campaigns(connection: Connection, *, release: str = "") -> list[Stored]:
    """Return every campaign, newest first, or only those of one release."""
    query = select(campaigns).order_by(campaigns.c.created_ns.desc())
    if release:
        query = query.where(campaigns.c.release == release)
    return [_stored(row) for row in connection.execute(query)]


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
