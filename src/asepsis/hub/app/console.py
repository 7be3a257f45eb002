"""The console: pages, sign-in, and the care of sessions."""

import asyncio
from collections.abc import Sequence

from asepsis.hub.access.http_people import PeopleRoutes
from asepsis.hub.access.principal import Principal
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.console.http import console_mount, console_routes
from asepsis.hub.console.pages import Frame
from asepsis.hub.console.ports import Decisions, Whereabouts
from asepsis.hub.console.services import Services
from asepsis.hub.console.trend import Chart


def open_console(core: Core, whereabouts: Whereabouts, decisions: Decisions) -> Feature:
    """Open the console.

    Args:
        core: What the hub stands on.
        whereabouts: Whose device this is and where it stands.
        decisions: What people decide about associations.
    """
    access = core.access

    async def charts(_device: str, _who: Principal) -> Sequence[Chart]:
        return ()

    services = Services(
        frame=Frame(clock=core.clocks.wall, facility=core.settings.console.facility),
        credentials=access.credentials,
        accounts=access.accounts,
        sessions=access.sessions,
        store=core.store,
        registry=core.registry,
        presence=core.exchange.supervisor,
        alarms=core.live,
        whereabouts=whereabouts,
        decisions=decisions,
        status=core.status,
        charts=charts,
    )

    async def close() -> None:
        await asyncio.to_thread(access.accounts.close)

    return Feature(
        people=(*PeopleRoutes(access).routes(), *console_routes()),
        mounts=(console_mount(services),),
        work={"sessions": access.sessions.run},
        close=close,
    )
