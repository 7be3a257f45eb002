"""The pages of the console, mounted on the people listener."""

from collections.abc import Sequence
from typing import Final, cast

from litestar import get
from litestar.types import ControllerRouterHandler

from asepsis.hub.access.rules import Action, decide
from asepsis.hub.console import (
    pages_associations,
    pages_campaigns,
    pages_devices,
    pages_evidence,
    pages_factor,
    pages_letters,
    pages_office,
    pages_releases,
    pages_session,
)
from asepsis.hub.console.assets import asset_route
from asepsis.hub.console.pages import FORM_BYTES_MAX, Page, Web, may
from asepsis.hub.console.services import Console, Services
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.litestar_mount import litestar_mount
from asepsis.hub.web.routing import Check, Mount, Route

PREFIXES: Final = (
    "/sign-in",
    "/sign-out",
    "/account",
    "/ward",
    "/devices",
    "/associations",
    "/dead-letters",
    "/status",
    "/audit",
    "/releases",
    "/campaigns",
    "/evidence",
)


@get("/ward", opt={"action": Action.WATCH_LIVE})
async def ward_page(request: Web, console: Console) -> Page:
    """Show every bed; the live part comes by its own scripts."""
    return console.frame.page(request, "ward.html")


HANDLERS: Final[Sequence[ControllerRouterHandler]] = (
    *pages_session.HANDLERS,
    *pages_factor.HANDLERS,
    ward_page,
    *pages_devices.HANDLERS,
    *pages_associations.HANDLERS,
    *pages_letters.HANDLERS,
    *pages_releases.HANDLERS,
    *pages_campaigns.HANDLERS,
    *pages_office.HANDLERS,
    *pages_evidence.HANDLERS,
)


def console_mount(console: Services) -> Mount:
    """Return every page as one application."""
    return litestar_mount(
        PREFIXES,
        HANDLERS,
        check=cast("Check", decide),
        authenticate=console.credentials.forms(),
        body_bytes_max=FORM_BYTES_MAX,
        console=console,
    )


def console_routes() -> Sequence[Route]:
    """Return what needs no template: the way in, and files."""
    return (Route("GET", "/", _home, Action.USE_CONSOLE), asset_route())


async def _home(scope: Scope, _receive: Receive, send: Send) -> None:
    """GET /: to the ward for who sees patients, to the devices for everybody else."""
    target = b"/ward" if may(scope["asepsis.principal"], Action.WATCH_LIVE) else b"/devices"
    await answer(send, 303, b"", media=b"text/html", headers=[(b"location", target)])
