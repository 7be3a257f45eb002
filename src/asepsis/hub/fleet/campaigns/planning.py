"""What people are shown: who would get what when, why not now, and who was not seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, select

from asepsis.core.errors import NotFound, NotPermitted
from asepsis.hub.fleet.campaigns import looking, member_rows, releasing, rows
from asepsis.hub.fleet.campaigns.acts import Acts
from asepsis.hub.fleet.campaigns.looking import Sight
from asepsis.hub.fleet.campaigns.model import DONE, Member, Standing, State, Tally, Target
from asepsis.hub.fleet.campaigns.releasing import Reason, Running, Why
from asepsis.hub.fleet.campaigns.rows import Stored
from asepsis.hub.fleet.campaigns.tables import members, targets
from asepsis.hub.fleet.campaigns.waves import judge
from asepsis.hub.fleet.ports import ReleaseFacts

SECOND_NS: Final = 1_000_000_000
PAGE_MAX: Final = 1_000
_QUIET: Final = DONE | {Standing.LEFT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One device in a plan.

    Attributes:
        target: How the campaign stands with it.
        member: What the fleet knows; None if it is no longer in it.
        reason: Why it gets nothing now; None if it may, or has what it is to have.
        next_ns: First moment at which its calendars let it begin; None if not within 14 days.
    """

    target: Target
    member: Member | None
    reason: Reason | None
    next_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How a campaign stands.

    Attributes:
        stored: The campaign.
        tallies: By wave.
        gates: What each gate says now, by wave.
        refused: Why its release may not be rolled out now; empty if it may.
    """

    stored: Stored
    tallies: dict[int, Tally]
    gates: Sequence[tuple[str, str]]
    refused: str


class Planning(Acts):
    """Answers; nothing here changes anything."""

    async def overview(self, name: str) -> Overview:
        """Return how a campaign stands.

        Raises:
            NotFound: No such campaign.
        """

        def work(connection: Connection) -> tuple[Stored, dict[int, Tally]]:
            stored = rows.campaign(connection, name)
            return stored, rows.tallies(connection, stored)

        stored, tallies = await self.store.read(work)
        now_ns = self.store.clock()
        gates = [
            judge(wave.gate, tallies.get(index, Tally(counts={})), now_ns=now_ns)
            for index, wave in enumerate(stored.spec.waves)
        ]
        _, refused = await self.facts(stored)
        return Overview(stored=stored, tallies=tallies, gates=gates, refused=refused)

    async def plan(self, name: str, *, after: str = "", most: int = PAGE_MAX) -> list[Line]:
        """Return who would get what when, and why not now, by name of the device.

        A draft is answered as if it were started now.

        Raises:
            NotFound: No such campaign.
        """
        stored = await self.store.read(lambda c: rows.campaign(c, name))
        release, refused = await self.facts(stored)
        known = {stored.spec.release: release} if release else {}
        now_ns = self.store.clock()

        def work(connection: Connection) -> list[Line]:
            sight = looking.look(connection, known, now_ns=now_ns)
            now = rows.campaign(connection, name)
            running = Running(
                spec=now.spec,
                state=State.RUNNING if now.state is State.DRAFT else now.state,
                wave=now.wave,
                release=release,
                emergency=now.emergency,
            )
            if now.state is State.DRAFT:
                sight.load.budgets = [*sight.load.budgets, *now.spec.budgets]
                sight.load.reserves = [*sight.load.reserves, *now.spec.reserves]
            found = _page(connection, name, after, min(most, PAGE_MAX), now_ns)
            return [_line(t, m, running, sight, refused, now_ns) for t, m in found]

        return await self.store.read(work)

    async def hunt(self, name: str) -> list[tuple[Target, Member]]:
        """Return devices that a campaign still needs and that were not seen, longest first.

        Raises:
            NotFound: No such campaign.
        """
        now_ns = self.store.clock()

        def work(connection: Connection) -> list[tuple[Target, Member]]:
            stored = rows.campaign(connection, name)
            query = (
                select(targets, members)
                .join(members, members.c.device == targets.c.device)
                .where(
                    targets.c.campaign == name,
                    targets.c.standing.not_in([one.value for one in _QUIET]),
                    members.c.seen_ns < now_ns - stored.spec.unseen_s * SECOND_NS,
                )
                .order_by(members.c.seen_ns, targets.c.device)
                .limit(PAGE_MAX)
            )
            return _pairs(connection, query, now_ns)

        return await self.store.read(work)

    async def runs(self, release: str) -> list[tuple[Stored, dict[int, Tally]]]:
        """Return the campaigns of a release, newest first, with their devices counted by wave."""

        def work(connection: Connection) -> list[tuple[Stored, dict[int, Tally]]]:
            found = rows.all_campaigns(connection, release=release)
            return [(one, rows.tallies(connection, one)) for one in found]

        return await self.store.read(work)

    async def facts(self, stored: Stored) -> tuple[ReleaseFacts | None, str]:
        """Return the facts of a campaign's release, or why it may not be rolled out now."""
        try:
            return await self.releases.release(stored.spec.release), ""
        except (NotFound, NotPermitted) as error:
            return None, str(error)


def _page(
    connection: Connection, name: str, after: str, most: int, now_ns: int
) -> list[tuple[Target, Member | None]]:
    query = (
        select(targets)
        .where(targets.c.campaign == name, targets.c.device > after)
        .order_by(targets.c.device)
        .limit(most)
    )
    found = [rows.target_of(row) for row in connection.execute(query)]
    known = member_rows.some_members(connection, [one.device for one in found], now_ns=now_ns)
    return [(one, known.get(one.device)) for one in found]


def _pairs(connection: Connection, query: Any, now_ns: int) -> list[tuple[Target, Member]]:
    return [
        (rows.target_of(row), member_rows.member_of(row, now_ns=now_ns))
        for row in connection.execute(query)
    ]


def _line(
    target: Target,
    member: Member | None,
    running: Running,
    sight: Sight,
    refused: str,
    now_ns: int,
) -> Line:
    if target.standing is not Standing.PENDING:
        return Line(target=target, member=member, reason=None, next_ns=None)
    if member is None:
        gone = Reason(Why.UNSEEN, "the device is not in the fleet")
        return Line(target=target, member=None, reason=gone, next_ns=None)
    opened = sight.windows.of(running, member)
    reason = releasing.hold(running, target, member, opened=opened, now_ns=now_ns)
    if reason is not None and reason.why is Why.RELEASE:
        reason = replace(reason, text=refused or reason.text)
    if reason is None and target.device in sight.held:
        reason = Reason(Why.OTHER, "it holds a slot of another campaign")
    if reason is None:
        reason = sight.load.room(member)
    next_ns = opened.next_ns(now_ns, needed_s=running.needed_s)
    if running.emergency is not None:
        next_ns = now_ns
    return Line(target=target, member=member, reason=reason, next_ns=next_ns)
