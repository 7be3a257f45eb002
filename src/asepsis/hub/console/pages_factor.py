"""One's own second factor: enrol an authenticator, and show a code of it."""

from typing import Final, cast

from litestar import post

from asepsis.core.errors import (
    AsepsisError,
    Conflict,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    RateLimited,
)
from asepsis.hub.access.factors import Begun
from asepsis.hub.access.rules import Action
from asepsis.hub.access.sessions import Session
from asepsis.hub.console.pages import Page, Web, read_form, redirect, who
from asepsis.hub.console.pages_session import ACCOUNT, explain, safe_path
from asepsis.hub.console.services import Console, Services
from asepsis.hub.web.asgi import Scope

FACTOR: Final = "/account/second-factor"


@post(FACTOR, opt={"action": Action.USE_CONSOLE}, status_code=200)
async def begin(request: Web, console: Console) -> Page:
    """Ask for the password anew and show a secret, this once."""
    fields, session = await read_form(request), _session(request)
    name = who(request).name
    try:
        await console.accounts.check_password(
            name, fields.get("password", ""), address=_address(request)
        )
        begun = await console.factors.begin(session)
    except (NotAuthenticated, NotPermitted, RateLimited) as error:
        return await _page(request, console, error=error)
    return await _page(request, console, begun=begun)


@post(FACTOR + "/confirm", opt={"action": Action.USE_CONSOLE}, status_code=200)
async def confirm(request: Web, console: Console) -> Page:
    """Let the new secret count, once a code of it was typed."""
    fields, session = await read_form(request), _session(request)
    given, address = fields.get("code", ""), _address(request)
    try:
        await console.factors.confirm(session, given, address=address)
    except (NotAuthenticated, NotFound, RateLimited) as error:
        return await _page(request, console, error=error, begun=True)
    return redirect(ACCOUNT)


@post(FACTOR + "/prove", opt={"action": Action.USE_CONSOLE}, status_code=200)
async def prove(request: Web, console: Console) -> Page:
    """Take a code; then this session may for a while do what needs one."""
    fields, session = await read_form(request), _session(request)
    given, address = fields.get("code", ""), _address(request)
    try:
        await console.factors.prove(session, given, address=address)
    except (NotAuthenticated, NotFound, NotPermitted, RateLimited) as error:
        return await _page(request, console, error=error)
    return redirect(safe_path(fields.get("next", "")) or ACCOUNT)


HANDLERS: Final = (begin, confirm, prove)


async def _page(
    request: Web,
    console: Services,
    *,
    error: AsepsisError | None = None,
    begun: Begun | bool = False,
) -> Page:
    name = who(request).name
    return console.frame.page(
        request,
        "factor.html",
        status=400 if error else 200,
        factor=await console.factors.info(name),
        begun=begun if isinstance(begun, Begun) else None,
        confirming=bool(begun),
        error=explain(error) if error else "",
    )


def _session(request: Web) -> Session:
    session: Session | None = cast("Scope", request.scope).get("asepsis.session")
    if session is None or session.display:
        raise Conflict("a token or a wall display has no second factor")
    return session


def _address(request: Web) -> str:
    address: str = cast("Scope", request.scope)["asepsis.connection"].address
    return address
