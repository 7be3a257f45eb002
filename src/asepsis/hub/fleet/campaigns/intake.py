"""Takes what devices report: their word moves the campaign, and opens work for people."""

from collections.abc import Callable

from sqlalchemy import Connection, select, update

from asepsis.core.model.update import UpdateReport
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.fleet.campaigns import orders, reports, rows, states
from asepsis.hub.fleet.campaigns.model import AWAY, Standing, State, Target
from asepsis.hub.fleet.campaigns.orders import Kind
from asepsis.hub.fleet.campaigns.tables import campaigns, members, targets
from asepsis.hub.store.store import Store

_OPENS = {Standing.AWAITING_ACCEPTANCE: Kind.ACCEPTANCE, Standing.FAILED: Kind.FAILED}


class ReportIntake:
    """One for a hub.

    Args:
        store: Where campaigns stand.
        audit: Gets an entry for each change of standing, with the values of the self-tests.
        wake: Called after a change, so that the engine looks at once.
    """

    def __init__(
        self, store: Store, *, audit: AuditLog, wake: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._audit = audit
        self._wake = wake

    async def take(self, report: UpdateReport) -> None:
        """Take a report whose signature was checked; one that is known changes nothing.

        Raises:
            Unavailable: Nothing was stored; the device sends it again.
        """
        if await self._store.write(lambda c: self._take(c, report)):
            self._wake()

    def _take(self, connection: Connection, report: UpdateReport) -> bool:
        now_ns, device = self._store.clock(), report.device.uri
        connection.execute(update(members).where(members.c.device == device).values(seen_ns=now_ns))
        found = _standing_with(connection, report)
        if found is None:
            return False
        name, before, state, acceptance = found
        after = reports.take(before, report, acceptance=acceptance, now_ns=now_ns)
        if after is before:
            return False
        if after.standing is Standing.PENDING and state in (*states.ENDED, State.FINISHED):
            after = _left(after)
        moved = after.standing is not before.standing
        # The director stops offering what failed; else the device would try it for ever.
        told = not (moved and after.standing is Standing.FAILED)
        rows.change_target(connection, name, before, after, told=told)
        if moved:
            self._note(connection, name, after, report)
            if kind := _OPENS.get(after.standing):
                orders.open_order(connection, name, device, kind=kind, now_ns=now_ns)
        return moved

    def _note(self, connection: Connection, name: str, after: Target, report: UpdateReport) -> None:
        self._audit.note(
            connection,
            actor=f"device:{after.device}",
            action=f"update-{after.standing}",
            subject=after.device,
            campaign=name,
            release=report.release,
            epoch=report.epoch,
            sequence=report.sequence,
            reason=after.reason,
            tests=[[one.name, one.measured, one.low, one.high, one.unit] for one in report.tests],
        )


def _standing_with(
    connection: Connection, report: UpdateReport
) -> tuple[str, Target, State, bool] | None:
    """Return the campaign that a report is about: the one whose slot it is, else the newest."""
    found = connection.execute(
        select(targets, campaigns.c.state)
        .join(campaigns, campaigns.c.name == targets.c.campaign)
        .where(
            targets.c.device == report.device.uri,
            campaigns.c.release == report.release,
            campaigns.c.state != State.DRAFT.value,
        )
        .order_by(campaigns.c.created_ns.desc())
    ).all()
    if not found:
        return None
    holding = [row for row in found if Standing(row.standing) in AWAY]
    row = (holding or found)[0]
    stored = rows.campaign(connection, row.campaign)
    return row.campaign, rows.target_of(row), State(row.state), stored.acceptance


def _left(target: Target) -> Target:
    return Target(
        device=target.device,
        wave=target.wave,
        standing=Standing.LEFT,
        outcome=target.outcome,
        since_ns=target.since_ns,
        epoch=target.epoch,
        sequence=target.sequence,
        reason="the campaign is over",
    )
