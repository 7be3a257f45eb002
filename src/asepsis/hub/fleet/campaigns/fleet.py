"""The fleet: what devices are for updates, where they stand, and which calendars hold where."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from sqlalchemy import Connection, Row, select, update

from asepsis.core.errors import NotFound
from asepsis.core.model.calendar import Calendar
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.patient import Place
from asepsis.hub.fleet.campaigns import member_rows, rows
from asepsis.hub.fleet.campaigns.acts import Acts
from asepsis.hub.fleet.campaigns.model import Member
from asepsis.hub.fleet.campaigns.tables import members
from asepsis.hub.fleet.ports import Fit
from asepsis.hub.registry.associations.tables import placements
from asepsis.hub.store.store import next_number

SEEN_EVERY_NS: Final = 60_000_000_000
"""How often it is written that a device is still there."""


class Presence(Protocol):
    """What the hub hears of devices now; `exchange.supervisor.Supervisor` is one."""

    def is_present(self, device: str) -> bool:
        """Whether the lease of a device runs."""
        ...

    def clinical_state(self, device: str) -> ClinicalState | None:
        """Return what a device last signed that it does."""
        ...


class FleetService(Acts):
    """What people note of devices, and what the hub sees of them."""

    async def list_members(self, found: Sequence[Member], *, person: str) -> None:
        """Note devices of the fleet; models come from what is listed for updates.

        Raises:
            NotFound: A calendar that is not there.
        """
        fit = await self.releases.fit([one.device for one in found])
        now_ns = self.store.clock()

        def work(connection: Connection) -> None:
            known = member_rows.some_members(
                connection, [one.device for one in found], now_ns=now_ns
            )
            unknown = {m.calendar for m in found} - rows.all_calendars(connection).keys() - {""}
            if unknown:
                raise NotFound(f"there is no calendar {min(unknown)}")
            wards = _wards(connection, [one.device for one in found if not one.ward])
            made = [_completed(one, fit.get(one.device), known, wards) for one in found]
            member_rows.put_members(connection, made)
            for some in (made[n : n + 500] for n in range(0, len(made), 500)):
                names = [one.device for one in some]
                self.note(connection, "list-members", "fleet", person, devices=names)

        await self.done(work)

    async def put_calendar(self, document: str, *, person: str) -> str:
        """Keep a calendar, or replace the one of the same name; return the name.

        Raises:
            InputError: Not a calendar.
        """

        def work(connection: Connection) -> str:
            name = rows.put_calendar(connection, document, person=person).name
            self.note(connection, "put-calendar", name, person)
            return name

        return await self.done(work)

    async def use_calendars(self, ward: str, names: Sequence[str], *, person: str) -> None:
        """Say which calendars hold for a ward, or with "" for the whole site.

        Raises:
            NotFound: No such calendar.
        """

        def work(connection: Connection) -> None:
            rows.set_uses(connection, ward, names)
            self.note(connection, "use-calendars", ward or "site", person, calendars=list(names))

        await self.done(work)

    async def page(self, *, after: str, most: int) -> list[Member]:
        """Return devices of the fleet by name, after one."""
        now_ns = self.store.clock()
        return await self.store.read(
            lambda c: member_rows.page_of_members(c, after=after, most=most, now_ns=now_ns)
        )

    async def calendars(self) -> tuple[dict[str, Calendar], dict[tuple[str, str], list[str]]]:
        """Return every calendar by name, and which hold for the site and for wards."""
        return await self.store.read(lambda c: (rows.all_calendars(c), rows.uses(c)))

    async def follow(self, presence: Presence) -> int:
        """Write down who is there, who is idle, and who was moved; return how many changed."""
        now_ns = self.store.clock()
        found = await self.store.read(_seen)
        fresh = [
            (one.device, idle)
            for one in found
            if presence.is_present(one.device)
            and _is_news(one, idle := _idle(presence, one.device), now_ns)
        ]

        def work(connection: Connection) -> int:
            for device, idle in fresh:
                member_rows.set_use(connection, device, idle=idle, seen_ns=now_ns)
            return len(fresh) + _move(connection, {one.device: one.ward for one in found})

        if not found:
            return 0
        changed = await self.store.write(work)
        if changed:
            self.wake()
        return changed


def _seen(connection: Connection) -> Sequence[Row[str, str, bool, int]]:
    query = select(members.c.device, members.c.ward, members.c.idle, members.c.seen_ns)
    return connection.execute(query).all()


def _idle(presence: Presence, device: str) -> bool:
    return presence.clinical_state(device) is ClinicalState.IDLE


def _is_news(one: Row[str, str, bool, int], idle: bool, now_ns: int) -> bool:  # noqa: FBT001 - a fact
    return idle != one.idle or now_ns - one.seen_ns > SEEN_EVERY_NS


def _move(connection: Connection, stood: Mapping[str, str]) -> int:
    """Note the wards of devices that somebody moved; return how many."""
    wards = _wards(connection, list(stood))
    moved = {device: ward for device, ward in wards.items() if ward != stood[device]}
    for device, ward in moved.items():
        version = next_number(connection, member_rows.COUNTER)
        connection.execute(
            update(members).where(members.c.device == device).values(ward=ward, version=version)
        )
    return len(moved)


def _completed(
    one: Member, fit: Fit | None, known: Mapping[str, Member], wards: Mapping[str, str]
) -> Member:
    """Add what others know of a device: its model, where it stands, and whether it is idle."""
    before = known.get(one.device)
    return replace(
        one,
        model=fit.model if fit else "",
        ward=one.ward or wards.get(one.device, ""),
        idle=before.idle if before else one.idle,
        seen_ns=before.seen_ns if before else one.seen_ns,
    )


def _wards(connection: Connection, devices: Sequence[str]) -> dict[str, str]:
    """Return the wards of those devices that somebody placed."""
    found: dict[str, str] = {}
    for start in range(0, len(devices), member_rows.NAMES_PER_QUERY):
        some = devices[start : start + member_rows.NAMES_PER_QUERY]
        query = select(placements.c.device, placements.c.place).where(placements.c.device.in_(some))
        for row in connection.execute(query):
            found[row.device] = Place.of_key(row.place).point_of_care
    return found
