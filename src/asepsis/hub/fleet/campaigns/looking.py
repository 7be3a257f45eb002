"""What the engine and `plan` read of the state, in few questions whose answers stay small.

Counting is the database's work: of a hundred thousand waiting devices only as many are read as
there could be room for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, exists, func, or_, select

from asepsis.hub.fleet.campaigns import member_rows, releasing, rows
from asepsis.hub.fleet.campaigns.deciding import View, Windows
from asepsis.hub.fleet.campaigns.member_rows import FRESH_NS
from asepsis.hub.fleet.campaigns.model import AWAY, SLOTTED, Member, Standing, State, Target
from asepsis.hub.fleet.campaigns.releasing import Group, Load, Running
from asepsis.hub.fleet.campaigns.rows import Stored
from asepsis.hub.fleet.campaigns.tables import campaigns, members, targets
from asepsis.hub.fleet.ports import ReleaseFacts

SECOND_NS: Final = 1_000_000_000
GROUPS_MAX: Final = 100
"""Up to so many groups with room are asked for one by one; more, all at once."""
READY_MORE: Final = 100
"""Devices of one group that are read beyond the room there is."""
_LIVE: Final = (State.RUNNING.value, State.PAUSED.value, State.HALTED.value)
_SLOTTED: Final = tuple(one.value for one in SLOTTED)
_AWAY: Final = tuple(one.value for one in AWAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One look at everything.

    Attributes:
        views: Campaigns that run or hold slots.
        load: How many devices are away and ready.
        windows: What is open for whom.
        held: Devices that hold a slot or wait for acceptance.
    """

    views: list[View]
    load: Load
    windows: Windows
    held: frozenset[str]


def live(connection: Connection) -> list[Stored]:
    """Return the campaigns that the engine has to look at."""
    slots = exists().where(targets.c.campaign == campaigns.c.name, targets.c.standing.in_(_SLOTTED))
    # A device that fell back after everything seemed done.
    fallen = and_(
        campaigns.c.state == State.FINISHED.value,
        exists().where(
            targets.c.campaign == campaigns.c.name,
            targets.c.standing == Standing.FAILED.value,
            targets.c.since_ns >= campaigns.c.since_ns,
        ),
    )
    wanted = or_(campaigns.c.state.in_(_LIVE), slots, fallen)
    names = connection.execute(select(campaigns.c.name).where(wanted)).scalars().all()
    return [rows.campaign(connection, name) for name in names]


def look(connection: Connection, releases: Mapping[str, ReleaseFacts], *, now_ns: int) -> Sight:
    """Read everything that a decision needs.

    Args:
        connection: A consistent view.
        releases: Facts of the releases that may be rolled out now, by hash.
        now_ns: Present time, nanoseconds since 1970.
    """
    found = live(connection)
    windows = Windows(rows.all_calendars(connection), rows.uses(connection), now_ns)
    away = _away(connection, now_ns=now_ns)
    held = frozenset(target.device for _, target, _ in away)
    load = releasing.tightest(one.spec for one in found if one.state is State.RUNNING)
    _count(connection, load, away, now_ns=now_ns)
    views: list[View] = []
    for stored in found:
        running = Running(
            spec=stored.spec,
            state=stored.state,
            wave=stored.wave,
            release=releases.get(stored.spec.release),
            emergency=stored.emergency,
        )
        views.append(
            View(
                stored=stored,
                running=running,
                tallies=rows.tallies(connection, stored),
                slots=[(t, m) for name, t, m in away if name == stored.name],
                waiting=_waiting(connection, stored, running, load, windows, now_ns),
            )
        )
    return Sight(views=views, load=load, windows=windows, held=held)


def _away(connection: Connection, *, now_ns: int) -> list[tuple[str, Target, Member | None]]:
    """Return every device that is not to be counted on, with its campaign."""
    query = (
        select(targets, members, members.c.device.label("known"))
        .outerjoin(members, members.c.device == targets.c.device)
        .where(targets.c.standing.in_(_AWAY))
    )
    return [
        (
            row.campaign,
            rows.target_of(row),
            member_rows.member_of(row, now_ns=now_ns) if row.known else None,
        )
        for row in connection.execute(query)
    ]


def _count(
    connection: Connection,
    load: Load,
    away: Sequence[tuple[str, Target, Member | None]],
    *,
    now_ns: int,
) -> None:
    ready = connection.execute(
        select(members.c.ward, members.c.device_class, func.count().label("many"))
        .where(members.c.in_service, members.c.idle, members.c.seen_ns > now_ns - FRESH_NS)
        .group_by(members.c.ward, members.c.device_class)
    )
    for row in ready:
        load.ready[row.ward, row.device_class] = row.many
    for device in {target.device: member for _, target, member in away}.values():
        if device is not None:
            load.take(device)


def _waiting(
    connection: Connection,
    stored: Stored,
    running: Running,
    load: Load,
    windows: Windows,
    now_ns: int,
) -> list[tuple[Target, Member]]:
    """Return the first devices of each group that could get a slot; idle ones and others apart."""
    release = running.release
    if stored.state is not State.RUNNING or release is None:
        return []
    conditions = _could(connection, stored, running, release, windows, now_ns)
    known = connection.execute(select(members.c.ward, members.c.device_class).distinct()).all()
    room = {(row.ward, row.device_class) for row in known}
    room = {group for group in room if load.free(group) > 0} | _late(connection, stored, now_ns)
    if len(room) <= GROUPS_MAX:
        queries = [_first_of(group, conditions, max(1, load.free(group))) for group in room]
    else:
        most = max((b.at_once_max for b in load.budgets), default=1)
        queries = [_first_of_each(conditions, max(1, most))]
    return [
        (rows.target_of(row), member_rows.member_of(row, now_ns=now_ns))
        for query in queries
        for row in connection.execute(query)
    ]


def _could(
    connection: Connection,
    stored: Stored,
    running: Running,
    release: ReleaseFacts,
    windows: Windows,
    now_ns: int,
) -> list[Any]:
    """Return what holds of every device that could get a slot."""
    conditions = [
        targets.c.campaign == stored.name,
        members.c.model.in_(release.models),
        members.c.seen_ns >= now_ns - stored.spec.unseen_s * SECOND_NS,
        ~_holds_a_slot(),
    ]
    if stored.emergency is None:
        own = connection.execute(select(members.c.calendar).distinct()).scalars().all()
        needed_s = running.needed_s
        fits = [
            name
            for name in own
            if not name or windows.named(frozenset({name})).fits(now_ns, needed_s=needed_s)
        ]
        conditions += [targets.c.wave <= stored.wave, members.c.calendar.in_(fits)]
    return conditions


def _late(connection: Connection, stored: Stored, now_ns: int) -> set[Group]:
    """Return groups whose slots are held so long that it counts whether others wait."""
    query = (
        select(members.c.ward, members.c.device_class)
        .distinct()
        .join(targets, members.c.device == targets.c.device)
        .where(
            targets.c.campaign == stored.name,
            targets.c.standing == Standing.ASSIGNED.value,
            targets.c.since_ns < now_ns - stored.spec.recall_s * SECOND_NS,
        )
    )
    return {(row.ward, row.device_class) for row in connection.execute(query)}


def _first_of(group: Group, conditions: Sequence[Any], most: int) -> Any:
    """Return the question for the first devices of one group, found by their place."""
    ward, device_class = group
    return (
        select(targets, members)
        .join(members, members.c.device == targets.c.device)
        .where(
            members.c.ward == ward,
            members.c.device_class == device_class,
            # Said so that no index of all waiting devices fits: the place names fewer.
            func.coalesce(targets.c.standing, "") == Standing.PENDING.value,
            *conditions,
        )
        .order_by(members.c.idle.desc(), targets.c.since_ns, targets.c.device)
        # Where ready ones must stay, who is in use may still have a slot.
        .limit(most + READY_MORE)
    )


def _first_of_each(conditions: Sequence[Any], most: int) -> Any:
    """Return the question for the first devices of every group, in one look at all of them."""
    rank: Any = func.row_number().over(
        partition_by=(members.c.ward, members.c.device_class, members.c.idle),
        order_by=(targets.c.since_ns, targets.c.device),
    )
    ranked = (
        select(targets, members, rank.label("place"))
        .join(members, members.c.device == targets.c.device)
        .where(targets.c.standing == Standing.PENDING.value, *conditions)
        .subquery()
    )
    return select(ranked).where(ranked.c.place <= most)


def _holds_a_slot() -> Any:
    other = targets.alias("other")
    return exists().where(other.c.device == targets.c.device, other.c.standing.in_(_AWAY))
