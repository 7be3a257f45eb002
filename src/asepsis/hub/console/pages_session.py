"""Sign in, sign out, and one's own account."""

from typing import Final, cast

from litestar import get, post
from litestar.params import FromPath

from asepsis.core.errors import (
    AsepsisError,
    Conflict,
    InputError,
    NotAuthenticated,
    NotFound,
    RateLimited,
)
from asepsis.hub.access.accounts import SignIn
from asepsis.hub.access.http import check_origin
from asepsis.hub.access.rules import Action
from asepsis.hub.access.sessions import COOKIE, Session
from asepsis.hub.console.pages import (
    Page,
    Web,
    read_form,
    redirect,
    segment,
    who,
)
from asepsis.hub.console.services import Console
from asepsis.hub.web.asgi import Scope, header

ACCOUNT: Final = "/account"
NEXT_CHARS_MAX: Final = 256
_COOKIE_RULES: Final = "Path=/; Secure; HttpOnly; SameSite=Strict"


@get("/sign-in", opt={"action": Action.SIGN_IN})
async def sign_in_page(request: Web, console: Console) -> Page:
    """Show the form."""
    back = safe_path(request.query_params.get("next", ""))
    ended = "ended" in request.query_params
    return console.frame.page(request, "sign_in.html", back=back, ended=ended, error=None, name="")


@post("/sign-in", opt={"action": Action.SIGN_IN}, status_code=200)
async def sign_in(request: Web, console: Console) -> Page:
    """Open a session, or show the form again."""
    scope = cast("Scope", request.scope)
    check_origin(scope)
    fields = await read_form(request)
    back = safe_path(fields.get("next", ""))
    given = SignIn(
        name=fields.get("name", "").strip(),
        password=fields.get("password", ""),
        address=scope["asepsis.connection"].address,
        agent=(header(scope, b"user-agent") or b"").decode("utf-8", "replace"),
        display="display" in fields,
    )
    try:
        cookie = await console.accounts.sign_in(given)
    except (NotAuthenticated, RateLimited, InputError) as error:
        status = 429 if isinstance(error, RateLimited) else 403
        return console.frame.page(
            request,
            "sign_in.html",
            status=status,
            back=back,
            ended=False,
            error=explain(error),
            name=given.name,
        )
    before: Session | None = scope.get("asepsis.session")
    if before is not None:
        await console.sessions.end(
            before.id, actor=before.principal.name, besides=scope["asepsis.connection"]
        )
    return redirect(
        back or "/",
        cookie=_cookie(cookie, max_age_s=console.sessions.display_s if given.display else None),
    )


@post("/sign-out", opt={"action": Action.USE_CONSOLE}, status_code=200)
async def sign_out(request: Web, console: Console) -> Page:
    """End this session; its streams end at once."""
    await read_form(request)
    scope = cast("Scope", request.scope)
    session: Session | None = scope.get("asepsis.session")
    if session is not None:
        await console.sessions.end(
            session.id, actor=session.principal.name, besides=scope["asepsis.connection"]
        )
    return redirect("/sign-in", cookie=_cookie("", max_age_s=0))


@get("/account", opt={"action": Action.USE_CONSOLE})
async def account_page(request: Web, console: Console) -> Page:
    """Show who is signed in, and where else."""
    return await _account(request, console)


@post("/account/password", opt={"action": Action.USE_CONSOLE}, status_code=200)
async def change_password(request: Web, console: Console) -> Page:
    """Replace one's own password; every session ends, this one too."""
    fields = await read_form(request)
    scope = cast("Scope", request.scope)
    session: Session | None = scope.get("asepsis.session")
    if session is None or session.display:
        raise Conflict("a token or a wall display does not change passwords")
    if fields.get("new") != fields.get("again"):
        error = "The new password and its repetition differ."
        return await _account(request, console, error=error, status=400)
    try:
        await console.accounts.change_password(
            who(request).name,
            old=fields.get("old", ""),
            new=fields.get("new", ""),
            address=scope["asepsis.connection"].address,
            besides=scope["asepsis.connection"],
        )
    except (NotAuthenticated, InputError, RateLimited) as error:
        return await _account(request, console, error=explain(error), status=400)
    return redirect("/sign-in?changed=1", cookie=_cookie("", max_age_s=0))


@post("/account/sessions/{id:str}/end", opt={"action": Action.USE_CONSOLE}, status_code=200)
async def end_session(request: Web, id: FromPath[str], console: Console) -> Page:  # noqa: A002 - the route's word
    """End another session of one's own."""
    await read_form(request)
    name, wanted = who(request).name, segment(id)
    if all(each.id != wanted for each in await console.sessions.listing(name)):
        raise NotFound("you have no such session")
    scope = cast("Scope", request.scope)
    await console.sessions.end(wanted, actor=name, besides=scope["asepsis.connection"])
    return redirect(ACCOUNT)


HANDLERS: Final = (
    sign_in_page,
    sign_in,
    sign_out,
    account_page,
    change_password,
    end_session,
)


async def _account(request: Web, console: Console, *, error: str = "", status: int = 200) -> Page:
    found = await console.sessions.listing(who(request).name)
    factor = await console.factors.info(who(request).name)
    return console.frame.page(
        request, "account.html", status=status, sessions=found, factor=factor, error=error
    )


def safe_path(text: str) -> str:
    """Return a path of our own, or nothing: a way back must not lead elsewhere."""
    ours = text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if ours and text.isprintable() and len(text) <= NEXT_CHARS_MAX else ""


def explain(error: AsepsisError) -> str:
    """Return a refusal as a sentence, with what to do next."""
    words = f"{str(error)[:1].upper()}{str(error)[1:]}."
    if isinstance(error, RateLimited):
        return f"{words} Try again in {error.retry_after_s} s."
    return f"{words} {error.hint[:1].upper()}{error.hint[1:]}." if error.hint else words


def _cookie(value: str, *, max_age_s: int | None) -> str:
    """Write Set-Cookie; it goes with the browser, but for a wall display's and an ended one's."""
    age = "" if max_age_s is None else f"; Max-Age={max_age_s}"
    return f"{COOKIE}={value}; {_COOKIE_RULES}{age}"
