"""The engine: look, decide, write down, and only then tell the director.

What was decided stands in the state before anybody acts on it, and every act may be repeated. So a
hub can be killed at any point, and another one goes on; the lease and the guarded updates see to
it that two never do the same thing.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select, update

from asepsis.core.errors import NotFound, NotPermitted
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.fleet.campaigns import looking, member_rows, orders, rows, states
from asepsis.hub.fleet.campaigns.deciding import Decision, decide
from asepsis.hub.fleet.campaigns.model import AWAY, Order, Standing, State
from asepsis.hub.fleet.campaigns.rows import Stored
from asepsis.hub.fleet.campaigns.tables import campaigns, targets
from asepsis.hub.fleet.campaigns.waves import joined
from asepsis.hub.fleet.ports import Director, ReleaseFacts, Releases
from asepsis.hub.store.leases import Lease, LeasedTask, check_held
from asepsis.hub.store.store import Store

log: Final = logging.getLogger("asepsis.hub.fleet")

EVERY_S: Final = 5.0
TOLD_MAX: Final = 500
"""Devices that the director is told of in one go, well within the lease."""
JOINED_MAX: Final = 5_000
NAMES_PER_ENTRY: Final = 500
"""Devices that one audit entry names."""


@dataclass(frozen=True, slots=True)
class _Untold:
    """Devices of one campaign of which the director knows an older standing."""

    campaign: str
    release: str
    component: str
    standing: Standing
    devices: tuple[str, ...]


class Engine:
    """Moves every campaign; several hubs may run one each.

    Args:
        store: Where everything stands.
        releases: What may be rolled out.
        director: Is told who gets what.
        audit: Gets an entry for each decision.
        holder: Name of this hub process.
    """

    def __init__(
        self,
        store: Store,
        *,
        releases: Releases,
        director: Director,
        audit: AuditLog,
        holder: str,
    ) -> None:
        self._store = store
        self._releases = releases
        self._director = director
        self._audit = audit
        self.task = LeasedTask(store, "campaigns", holder=holder, work=self.work, every_s=EVERY_S)

    async def work(self, lease: Lease) -> None:
        """Do one step.

        Raises:
            Conflict: Another hub took over, or a person changed a campaign in between.
            TransientError: Store or signer does not answer; the next step does it.
        """
        await self._tell(lease)
        await self._store.write(lambda c: self._join(c, lease))
        found = await self._store.read(looking.live)
        facts = await self.facts(found)
        now_ns = self._store.clock()
        sight = await self._store.read(lambda c: looking.look(c, facts, now_ns=now_ns))
        decisions = [
            one
            for one in decide(
                sight.views, sight.load, sight.windows, held=sight.held, now_ns=now_ns
            )
            if one.changes
        ]
        if not decisions:
            return
        await self._store.write(lambda c: self._apply(c, lease, decisions, now_ns))
        if any(one.wave != one.stored.wave for one in decisions):
            self.task.wake()
        await self._tell(lease)

    async def facts(self, found: Sequence[Stored]) -> dict[str, ReleaseFacts]:
        """Return what is known of the releases of campaigns that may be rolled out now."""
        known: dict[str, ReleaseFacts] = {}
        for release in {one.spec.release for one in found}:
            try:
                known[release] = await self._releases.release(release)
            except (NotFound, NotPermitted) as error:
                log.info("release %s waits: %s", release[:12], error)
        return known

    def _apply(
        self, connection: Connection, lease: Lease, decisions: Sequence[Decision], now_ns: int
    ) -> None:
        check_held(connection, lease)
        for one in decisions:
            self._change(connection, one, now_ns)
            name, over = one.stored.name, one.stored.state in states.ENDED
            freed = Standing.LEFT if over else Standing.PENDING
            for device, why in one.recall.items():
                _move(connection, name, [device], Standing.ASSIGNED, Standing.RECALLED, now_ns, why)
            _move(connection, name, one.free, Standing.RECALLED, freed, now_ns, "")
            _move(connection, name, one.assign, Standing.PENDING, Standing.ASSIGNED, now_ns, "")
            self._note(connection, name, "recall-release", list(one.recall))
            self._note(connection, name, "assign-release", one.assign)

    def _change(self, connection: Connection, one: Decision, now_ns: int) -> None:
        """Write what the gates said."""
        values: dict[str, Any] = {"wave": one.wave}
        if one.order is not None:
            values |= {"state": states.after(one.stored.state, one.order).value, "since_ns": now_ns}
        said = one.reason or None
        # Also where nothing changes: a person who changed it in between makes all of this void.
        rows.change_campaign(connection, one.stored, reason=said, **values)
        if one.order is Order.FINISH:
            leave(connection, one.stored.name, now_ns=now_ns)
        if one.order is not None or one.wave != one.stored.wave:
            self._audit.note(
                connection,
                actor="hub",
                action=f"campaign-{one.order or 'next-wave'}",
                subject=one.stored.name,
                wave=one.wave + 1,
                reason=one.reason,
            )

    def _note(self, connection: Connection, name: str, action: str, devices: list[str]) -> None:
        for start in range(0, len(devices), NAMES_PER_ENTRY):
            some = devices[start : start + NAMES_PER_ENTRY]
            self._audit.note(connection, actor="hub", action=action, subject=name, devices=some)

    def _join(self, connection: Connection, lease: Lease) -> None:
        """Add devices that came to match a campaign that takes them."""
        check_held(connection, lease)
        now_ns, version = self._store.clock(), member_rows.fleet_version(connection)
        query = select(campaigns.c.name).where(
            campaigns.c.state == State.RUNNING.value, campaigns.c.joined < version
        )
        for name in connection.execute(query).scalars().all():
            stored = rows.campaign(connection, name)
            upto, changed = member_rows.changed_members(
                connection, after=stored.joined, most=JOINED_MAX, now_ns=now_ns
            )
            placed = {one.device: joined(stored.spec, one) for one in changed}
            known = _known(connection, name, list(placed))
            fresh = {d: w for d, w in placed.items() if w is not None and d not in known}
            rows.put_targets(connection, name, fresh, now_ns=now_ns)
            connection.execute(
                update(campaigns).where(campaigns.c.name == name).values(joined=upto)
            )

    async def _tell(self, lease: Lease) -> None:
        """Tell the director what it does not know yet; again is harmless."""
        while untold := await self._store.read(_untold):
            for one in untold:
                refused = await self._told(one)
                await self._store.write(
                    lambda c, one=one, refused=refused: self._mark(c, lease, one, refused)
                )
            if sum(len(one.devices) for one in untold) < TOLD_MAX:
                return
            await self._store.write(lambda c: check_held(c, lease))

    async def _told(self, one: _Untold) -> Mapping[str, str]:
        """Return by device why the director did not take it."""
        if one.standing is not Standing.ASSIGNED:
            await self._director.clear(one.devices, component=one.component)
            return {}
        try:
            refused = await self._director.assign(one.release, one.devices)
        except (NotFound, NotPermitted) as error:
            return dict.fromkeys(one.devices, str(error))
        return {device: why.why for device, why in refused.items()}

    def _mark(
        self, connection: Connection, lease: Lease, one: _Untold, refused: Mapping[str, str]
    ) -> None:
        check_held(connection, lease)
        now_ns = self._store.clock()
        for device, why in refused.items():
            _move(connection, one.campaign, [device], Standing.ASSIGNED, Standing.LEFT, now_ns, why)
            orders.open_order(
                connection, one.campaign, device, kind=orders.Kind.REFUSED, now_ns=now_ns
            )
        for some in _pieces(one.devices):
            connection.execute(
                update(targets)
                .where(
                    targets.c.campaign == one.campaign,
                    targets.c.device.in_(some),
                    targets.c.standing == one.standing.value,
                )
                .values(told=True)
            )


def leave(connection: Connection, name: str, *, now_ns: int) -> None:
    """Let every device that was never begun leave a campaign."""
    connection.execute(
        update(targets)
        .where(targets.c.campaign == name, targets.c.standing == Standing.PENDING.value)
        .values(standing=Standing.LEFT.value, since_ns=now_ns)
    )


def _move(
    connection: Connection,
    name: str,
    devices: Sequence[str],
    before: Standing,
    after: Standing,
    now_ns: int,
    reason: str,
) -> None:
    """Move devices that still stand as they did; what a device said in between wins."""
    values: dict[str, Any] = {
        "standing": states.moved(before, after).value,
        "since_ns": now_ns,
        "reason": reason,
        # A word that no device acts on needs nobody to be told.
        "told": after not in (Standing.ASSIGNED, Standing.RECALLED),
    }
    if after is Standing.ASSIGNED:
        values |= {"outcome": "", "waits_for": ""}
    for some in _pieces(devices):
        connection.execute(
            update(targets)
            .where(
                targets.c.campaign == name,
                targets.c.device.in_(some),
                targets.c.standing == before.value,
            )
            .values(values)
        )


def _known(connection: Connection, name: str, devices: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for some in _pieces(devices):
        found |= set(
            connection.execute(
                select(targets.c.device).where(
                    targets.c.campaign == name, targets.c.device.in_(some)
                )
            ).scalars()
        )
    return found


def _untold(connection: Connection) -> list[_Untold]:
    """Return what the director does not know, in groups that one call takes."""
    away = targets.alias("away")
    elsewhere = (
        select(away.c.device)
        .where(
            away.c.device == targets.c.device,
            away.c.campaign != targets.c.campaign,
            away.c.standing.in_([one.value for one in AWAY]),
        )
        .exists()
    )
    found = connection.execute(
        select(
            targets.c.campaign,
            targets.c.device,
            targets.c.standing,
            campaigns.c.release,
            campaigns.c.component,
        )
        .join(campaigns, campaigns.c.name == targets.c.campaign)
        # Who failed here and has a slot elsewhere is that campaign's: clearing would take it away.
        .where(targets.c.told.is_(False), ~elsewhere)
        .order_by(targets.c.since_ns, targets.c.device)
        .limit(TOLD_MAX)
    ).all()
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for row in found:
        key = (row.campaign, row.release, row.component, row.standing)
        groups.setdefault(key, []).append(row.device)
    return [
        _Untold(campaign, release, component, Standing(standing), tuple(devices))
        for (campaign, release, component, standing), devices in groups.items()
    ]


def _pieces(devices: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(devices), member_rows.NAMES_PER_QUERY):
        yield devices[start : start + member_rows.NAMES_PER_QUERY]
