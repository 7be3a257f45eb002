"""The console: pages, sign-in, and the care of sessions."""

import asyncio

from asepsis.hub.access.http_people import PeopleRoutes
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.console.http import console_mount, console_routes
from asepsis.hub.console.pages import Frame
from asepsis.hub.console.services import Services


def open_console(core: Core) -> Feature:
    """Open the console."""
    access = core.access
    services = Services(
        frame=Frame(clock=core.clocks.wall, facility=core.settings.console.facility),
        credentials=access.credentials,
        accounts=access.accounts,
        sessions=access.sessions,
    )

    async def close() -> None:
        await asyncio.to_thread(access.accounts.close)

    return Feature(
        people=(*PeopleRoutes(access).routes(), *console_routes()),
        mounts=(console_mount(services),),
        work={"sessions": access.sessions.run},
        close=close,
    )
