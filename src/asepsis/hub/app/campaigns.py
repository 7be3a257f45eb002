"""Campaigns: the engine, what people decide, and what devices report."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.fleet.campaigns.engine import Engine
from asepsis.hub.fleet.campaigns.fleet import FleetService
from asepsis.hub.fleet.campaigns.http import CampaignRoutes
from asepsis.hub.fleet.campaigns.intake import ReportIntake
from asepsis.hub.fleet.campaigns.planning import Planning
from asepsis.hub.fleet.campaigns.service import CampaignService
from asepsis.hub.fleet.campaigns.work import DeviceWork
from asepsis.hub.fleet.ports import Director, Releases

FOLLOW_EVERY_S: Final = 5.0
log: Final = logging.getLogger("asepsis.hub.fleet")


@dataclass(frozen=True, slots=True)
class Campaigns:
    """What other features stand on.

    Attributes:
        engine: Moves every campaign.
        intake: Takes what devices report.
        fleet: What the fleet is.
        routes: The handlers of the people listener.
        planning: Answers.
        service: What people decide about campaigns.
        work: What people decide about single devices.
    """

    engine: Engine
    intake: ReportIntake
    fleet: FleetService
    routes: CampaignRoutes
    planning: Planning
    service: CampaignService
    work: DeviceWork


def build_campaigns(core: Core, releases: Releases, director: Director) -> Campaigns:
    """Return the use cases; nothing runs yet."""
    store, audit = core.store, core.audit_log
    engine = Engine(store, releases=releases, director=director, audit=audit, holder=core.holder)
    loop, wake = asyncio.get_running_loop(), engine.task.wake

    def woken() -> None:
        loop.call_soon_threadsafe(wake)

    fleet = FleetService(store, audit=audit, releases=releases, wake=woken)
    planning = Planning(store, audit=audit, releases=releases)
    service = CampaignService(store, audit=audit, releases=releases, wake=woken)
    work = DeviceWork(store, audit=audit, releases=releases, wake=woken)
    return Campaigns(
        engine=engine,
        intake=ReportIntake(store, audit=audit, wake=woken),
        fleet=fleet,
        routes=CampaignRoutes(service, fleet, work, planning),
        planning=planning,
        service=service,
        work=work,
    )


def open_campaigns(core: Core, built: Campaigns) -> Feature:
    """Open the routes, the engine, and the look at what devices are doing."""
    core.exchange.lanes.updates.takers.append(built.intake.take)

    async def follow() -> None:
        while True:
            try:
                await built.fleet.follow(core.exchange.supervisor)
            except AsepsisError as error:
                # Vitals flow without it, and who is not known to be idle is nobody's reserve.
                log.info("the fleet waits: %s", error)
            await asyncio.sleep(FOLLOW_EVERY_S)

    return Feature(
        people=built.routes.routes(),
        work={"campaigns": built.engine.task.run, "fleet": follow},
    )
