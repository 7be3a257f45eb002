"""What the engine and `plan` read of the state, in few questions whose answers stay small.

Counting is the database's work: of a hundred thousand waiting devices only as many are read as
there could be room for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, exists, func, or_, select

from asepsis.hub.fleet.campaigns import releasing, rows
from asepsis.hub.fleet.campaigns.deciding import View, Windows
from asepsis.hub.fleet.campaigns.model import AWAY, SLOTTED, Member, Standing, State, Target
from asepsis.hub.fleet.campaigns.releasing import Load, Running
from asepsis.hub.fleet.campaigns.rows import FRESH_NS, Stored
from asepsis.hub.fleet.campaigns.tables import campaigns, members, targets
from asepsis.hub.fleet.ports import ReleaseFacts

SECOND_NS: Final = 1_000_000_000
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
            rows.member_of(row, now_ns=now_ns) if row.known else None,
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
    most = max((b.at_once_max for b in load.budgets), default=1)
    own = connection.execute(select(members.c.calendar).distinct()).scalars().all()
    rank: Any = func.row_number().over(
        partition_by=(members.c.ward, members.c.device_class, members.c.idle),
        order_by=(targets.c.since_ns, targets.c.device),
    )
    conditions = [
        targets.c.campaign == stored.name,
        targets.c.standing == Standing.PENDING.value,
        members.c.model.in_(release.models),
        members.c.seen_ns >= now_ns - stored.spec.unseen_s * SECOND_NS,
        ~_holds_a_slot(),
    ]
    if stored.emergency is None:
        fits = [
            name
            for name in own
            if not name or windows.named(frozenset({name})).fits(now_ns, needed_s=running.needed_s)
        ]
        conditions += [targets.c.wave <= stored.wave, members.c.calendar.in_(fits)]
    ranked = (
        select(targets, members, rank.label("place"))
        .join(members, members.c.device == targets.c.device)
        .where(*conditions)
        .subquery()
    )
    found = connection.execute(select(ranked).where(ranked.c.place <= max(1, most)))
    return [(rows.target_of(row), rows.member_of(row, now_ns=now_ns)) for row in found]


def _holds_a_slot() -> Any:
    other = targets.alias("other")
    return exists().where(other.c.device == targets.c.device, other.c.standing.in_(_AWAY))
