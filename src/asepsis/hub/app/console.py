"""The console: pages, sign-in, and the care of sessions."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from asepsis.core.errors import InputError, TransientError
from asepsis.hub.access.http_people import PeopleRoutes
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.app.campaigns import Campaigns
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.app.releases import OpenReleases
from asepsis.hub.console.http import console_mount, console_routes
from asepsis.hub.console.pages import Frame, may
from asepsis.hub.console.ports import Decisions, Point, Trends, Whereabouts
from asepsis.hub.console.services import Services
from asepsis.hub.console.trend import SPANS_NS, Chart, draw, window
from asepsis.hub.console.updates import Updates
from asepsis.hub.delivery.people import DeadLetters
from asepsis.hub.delivery.service import DeliveryService

TREND_POINTS: Final = 480
TREND_S_MAX: Final = 1.5
"""How long a page waits for its trends before it goes without them."""
METRICS: Final = (
    ("Heart rate", "/min", 147_842, 60.0),
    ("SpO\N{SUBSCRIPT TWO}", "%", 150_456, 15.0),
    ("Respiratory rate", "/min", 151_562, 20.0),
    ("Pulse rate", "/min", 149_530, 60.0),
)
"""What a trend shows, in which unit, and the least height of its picture: metrics that have one
unit everywhere, so that none can be mistaken."""


def open_console(
    core: Core,
    whereabouts: Whereabouts,
    decisions: Decisions,
    trends: Trends,
    deliveries: DeliveryService,
    *,
    attested: Callable[[str], Awaitable[tuple[str, str, str]]],
    updates: Updates,
) -> Feature:
    """Open the console.

    Args:
        core: What the hub stands on.
        whereabouts: Whose device this is and where it stands.
        decisions: What people decide about associations.
        trends: The record, thinned for pictures.
        deliveries: Where data may leave to.
        attested: How a device stands by the word of its TPM.
        updates: Software for devices.
    """
    access = core.access
    services = Services(
        frame=Frame(clock=core.clocks.wall, facility=core.settings.console.facility),
        credentials=access.credentials,
        accounts=access.accounts,
        factors=access.factors,
        sessions=access.sessions,
        store=core.store,
        registry=core.registry,
        presence=core.exchange.supervisor,
        alarms=core.live,
        whereabouts=whereabouts,
        decisions=decisions,
        status=core.status,
        letters=DeadLetters(core.store, deliveries, core.audit_log),
        deliveries=deliveries,
        attested=attested,
        updates=updates,
        charts=DeviceCharts(core, trends).draw,
    )

    async def close() -> None:
        await asyncio.to_thread(access.accounts.close)

    return Feature(
        people=(*PeopleRoutes(access).routes(), *console_routes()),
        mounts=(console_mount(services),),
        work={"sessions": access.sessions.run},
        close=close,
    )


def updates_of(core: Core, releases: OpenReleases, campaigns: Campaigns) -> Updates:
    """Return what the pages about software for devices ask."""

    async def audit_der() -> bytes:
        return (await core.signer.authorities()).audit_der

    return Updates(
        releases=releases.releases,
        campaigns=campaigns.service,
        work=campaigns.work,
        planning=campaigns.planning,
        sign_head=core.audit.sign_head,
        audit_der=audit_der,
    )


@dataclass(frozen=True, slots=True)
class DeviceCharts:
    """Trends of one device for somebody who may read the record; each look is audited.

    Attributes:
        core: What the hub stands on.
        trends: The record.
    """

    core: Core
    trends: Trends

    async def draw(self, device: str, who: Principal) -> Sequence[Chart]:
        """Return what the record holds of the last hours; nothing while it does not answer."""
        if not may(who, Action.READ_RECORD):
            return ()
        try:
            await self.core.store.write(lambda c: self._note(c, device, who))
            to_ns = self.core.clocks.wall()
            async with asyncio.timeout(TREND_S_MAX):
                found = [await self._points(device, code, to_ns) for _, _, code, _ in METRICS]
        except (TransientError, TimeoutError):
            return ()
        from_ns = window(found, to_ns=to_ns)
        charts = [
            draw(points, title=title, unit=unit, from_ns=from_ns, to_ns=to_ns, span_min=least)
            for points, (title, unit, _, least) in zip(found, METRICS, strict=True)
        ]
        return [chart for chart in charts if chart is not None]

    async def _points(self, device: str, code: int, to_ns: int) -> Sequence[Point]:
        try:
            return await self.trends.trend(
                device,
                from_ns=to_ns - SPANS_NS[-1],
                to_ns=to_ns,
                points_max=TREND_POINTS,
                mdc_code=code,
            )
        except InputError:
            return ()  # This device has no such metric.

    def _note(self, connection: Connection, device: str, who: Principal) -> None:
        self.core.audit_log.note(
            connection,
            actor=f"person:{who.name}",
            action="read-record",
            subject=device,
            what="trend",
        )
