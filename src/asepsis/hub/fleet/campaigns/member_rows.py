"""Rows of the fleet's members: devices, what they are used for, and when they were seen."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from asepsis.hub.fleet.campaigns.model import (
    Member,
)
from asepsis.hub.fleet.campaigns.tables import (
    members,
)
from asepsis.hub.store.store import next_number

COUNTER: Final = "fleet"
FRESH_NS: Final = 300_000_000_000
"""What a device said of its clinical state counts for this long."""
NAMES_PER_QUERY: Final = 500
_WORDS: Final = msgspec.json.Decoder(dict[str, str])


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
