"""Campaigns: how each stands, who waits and why, and what people decide about them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from litestar import get, post
from litestar.params import FromPath

from asepsis.core.errors import AsepsisError, InputError
from asepsis.hub.access.rules import Action
from asepsis.hub.console.campaign_lines import (
    device_lines,
    emergency_line,
    orders_of,
    wave_lines,
)
from asepsis.hub.console.pages import (
    Page,
    Web,
    is_refresh,
    read_form,
    redirect,
    require,
    who,
)
from asepsis.hub.console.pages_session import explain
from asepsis.hub.console.services import Console, Services
from asepsis.hub.console.words import STANDINGS, STATES
from asepsis.hub.fleet.campaigns import orders, rows
from asepsis.hub.fleet.campaigns.model import Order, State
from asepsis.hub.fleet.campaigns.rows import Stored
from asepsis.hub.fleet.ports import ReleaseFacts

PAGE: Final = "/campaigns"
ONE: Final = "/campaigns/{name:str}"
LINES: Final = 100
"""Devices on one page."""
LISTED_MAX: Final = 200
DOCUMENT_CHARS_MAX: Final = 8_000
REASON_CHARS_MAX: Final = 500
EXAMPLE: Final = """name = ""
release = ""                       # SHA-256 of the artefact
change = ""                        # reference of the change board
calendars = ["always"]
[select]
classes = ["monitor"]
[[waves]]
kind = "canary"
each = 1
gate = { observe_h = 24 }
[[waves]]
kind = "site"
gate = { verified_percent = 95, failed_max = 1 }
"""


@get(PAGE, opt={"action": Action.LIST_DEVICES})
async def campaigns_page(request: Web, console: Console) -> Page:
    """Show every campaign, the newest first."""
    return await _list(request, console)


@post(PAGE, opt={"action": Action.MANAGE_CAMPAIGNS}, status_code=200)
async def create(request: Web, console: Console) -> Page:
    """Keep a campaign as a draft; nothing moves."""
    fields = await read_form(request, chars_max=DOCUMENT_CHARS_MAX)
    text = fields.get("document", "").replace("\r\n", "\n")
    try:
        made = await console.updates.campaigns.create(text, person=who(request).name)
    except AsepsisError as error:
        return await _list(request, console, text=text, error=explain(error))
    return redirect(f"{PAGE}/{made.name}")


@get(ONE, opt={"action": Action.LIST_DEVICES})
async def campaign_page(request: Web, name: FromPath[str], console: Console) -> Page:
    """Show one campaign: waves, gates, who waits and why."""
    return await _one(request, console, name)


@post(ONE + "/order", opt={"action": Action.MANAGE_CAMPAIGNS}, status_code=200)
async def order(request: Web, name: FromPath[str], console: Console) -> Page:
    """Start, pause, resume or halt it."""

    async def act(fields: Mapping[str, str]) -> None:
        wanted = _order(fields.get("order", ""))
        await console.updates.campaigns.order(
            name, wanted, person=who(request).name, reason=_reason(fields)
        )

    return await _act(request, console, name, act)


@post(ONE + "/supersede", opt={"action": Action.MANAGE_CAMPAIGNS}, status_code=200)
async def supersede(request: Web, name: FromPath[str], console: Console) -> Page:
    """End it and start the draft that takes its place."""

    async def act(fields: Mapping[str, str]) -> None:
        by = require(fields, "by")
        await console.updates.campaigns.supersede(name, by=by, person=who(request).name)

    return await _act(request, console, name, act)


@post(ONE + "/rollback", opt={"action": Action.MANAGE_CAMPAIGNS}, status_code=200)
async def roll_back(request: Web, name: FromPath[str], console: Console) -> Page:
    """End it and bring what it updated to another release."""

    async def act(fields: Mapping[str, str]) -> None:
        wave = fields.get("wave", "")
        if fields.get("sure") != "1":
            raise InputError("say that the campaign is to end")
        await console.updates.campaigns.roll_back(
            name,
            to=require(fields, "to"),
            wave=_number(wave) - 1 if wave else None,
            person=who(request).name,
            reason=require(fields, "reason"),
        )

    return await _act(request, console, name, act)


@post(ONE + "/emergency", opt={"action": Action.MANAGE_CAMPAIGNS}, status_code=200)
async def propose_emergency(request: Web, name: FromPath[str], console: Console) -> Page:
    """Say, as the first person, that it must skip windows and waves."""

    async def act(fields: Mapping[str, str]) -> None:
        await console.updates.campaigns.propose_emergency(
            name, person=who(request).name, reason=require(fields, "reason")
        )

    return await _act(request, console, name, act)


@post(ONE + "/emergency/confirm", opt={"action": Action.MANAGE_CAMPAIGNS}, status_code=200)
async def confirm_emergency(request: Web, name: FromPath[str], console: Console) -> Page:
    """Confirm it, as the second person."""

    async def act(fields: Mapping[str, str]) -> None:
        if fields.get("sure") != "1":
            raise InputError("say that you agree, as the second person")
        await console.updates.campaigns.confirm_emergency(
            name, _number(require(fields, "proposal")), person=who(request).name
        )

    return await _act(request, console, name, act)


@post(ONE + "/devices", opt={"action": Action.MANAGE_CAMPAIGNS}, status_code=200)
async def decide_device(request: Web, name: FromPath[str], console: Console) -> Page:
    """Accept a device, try it once more, or leave it out."""

    async def act(fields: Mapping[str, str]) -> None:
        person, device, work = who(request).name, require(fields, "device"), console.updates.work
        if fields.get("act") == "accept":
            found, left = fields.get("as_found", ""), fields.get("as_left", "")
            await work.accept(name, device, as_found=found, as_left=left, person=person)
        elif fields.get("act") == "retry":
            await work.retry(name, device, person=person, reason=require(fields, "reason"))
        elif fields.get("act") == "leave":
            await work.leave(name, device, person=person, reason=require(fields, "reason"))
        else:
            raise InputError("say what is decided about the device")

    return await _act(request, console, name, act)


HANDLERS: Final = (
    campaigns_page,
    create,
    campaign_page,
    order,
    supersede,
    roll_back,
    propose_emergency,
    confirm_emergency,
    decide_device,
)


async def _act(request: Web, console: Services, name: str, act: Any) -> Page:
    """Do what a form says and show the campaign, with the refusal if there was one."""
    fields = await read_form(request)
    try:
        await act(fields)
    except AsepsisError as error:
        return await _one(request, console, name, error=explain(error))
    return redirect(f"{PAGE}/{name}")


async def _list(request: Web, console: Services, *, text: str = EXAMPLE, error: str = "") -> Page:
    found = await console.store.read(rows.all_campaigns)
    return console.frame.page(
        request,
        "campaigns.html",
        status=400 if error else 200,
        lines=[(one, STATES[one.state]) for one in found[:LISTED_MAX]],
        total=len(found),
        factor=await console.factors.info(who(request).name),
        chars_max=DOCUMENT_CHARS_MAX,
        text=text,
        error=error,
    )


async def _one(request: Web, console: Services, name: str, *, error: str = "") -> Page:
    live = await _live(request, console, name)
    if is_refresh(request):
        return console.frame.page(request, "campaign_live.html", **live)
    stored: Stored = live["stored"]
    return console.frame.page(
        request,
        "campaign.html",
        status=400 if error else 200,
        orders=orders_of(stored.state),
        drafts=await _drafts(console, stored),
        others=await _others(console, stored),
        emergency=emergency_line(
            await console.updates.campaigns.proposals(name), me=who(request).name
        ),
        factor=await console.factors.info(who(request).name),
        reason_chars_max=REASON_CHARS_MAX,
        error=error,
        **live,
    )


async def _live(request: Web, console: Services, name: str) -> dict[str, Any]:
    after = request.query_params.get("after", "")
    planning = console.updates.planning
    overview = await planning.overview(name)
    lines = await planning.plan(name, after=after, most=LINES)
    open_orders = await console.store.read(
        lambda c: orders.listed(c, campaign=name, open_only=True)
    )
    return {
        "stored": overview.stored,
        "state": STATES[overview.stored.state],
        "waves": wave_lines(overview),
        "refused": overview.refused,
        "devices": device_lines(lines),
        "after": after,
        "following": lines[-1].target.device if len(lines) == LINES else "",
        "hunt": len(await planning.hunt(name)),
        "open_orders": open_orders,
        "standings": STANDINGS,
    }


async def _drafts(console: Services, stored: Stored) -> list[str]:
    """Return the drafts that could take a campaign's place."""
    found = await console.store.read(rows.all_campaigns)
    return [
        one.name
        for one in found
        if one.state is State.DRAFT
        and one.name != stored.name
        and one.component == stored.component
    ]


async def _others(console: Services, stored: Stored) -> Sequence[ReleaseFacts]:
    """Return the releases that a campaign's devices could go back to."""
    found = await console.updates.releases.eligible()
    return [
        one
        for one in found
        if one.component == stored.component and one.sha256 != stored.spec.release
    ]


def _order(text: str) -> Order:
    try:
        return Order(text)
    except ValueError as error:
        raise InputError("no such order") from error


def _reason(fields: Mapping[str, str]) -> str:
    said = fields.get("reason", "").strip()
    if len(said) > REASON_CHARS_MAX:
        raise InputError(f"a reason has at most {REASON_CHARS_MAX} characters")
    return said


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InputError("a number is missing")
    return int(text)
