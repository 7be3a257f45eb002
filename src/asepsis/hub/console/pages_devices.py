"""The list of devices, one device, and its revocation in two steps."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from litestar import get, post
from litestar.params import FromPath

from asepsis.core.errors import Conflict, InputError, TransientError
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.hub.access.rules import Action
from asepsis.hub.console.lines import (
    IN_USE,
    AlarmLine,
    DeviceLine,
    alarm_line,
    by_urgency,
    connection_word,
    state_word,
)
from asepsis.hub.console.pages import (
    Page,
    Web,
    is_refresh,
    may,
    read_form,
    redirect,
    require,
    segment,
    who,
)
from asepsis.hub.console.render import device_path
from asepsis.hub.console.services import Console, Services
from asepsis.hub.registry.certificates import machine_file
from asepsis.hub.registry.records import DeviceSummary

LINES_MAX: Final = 100
SCANNED_MAX: Final = 20_000
"""Machines looked at for one search; a hospital has fewer."""
SCAN_PAGE: Final = 500
FIND_CHARS_MAX: Final = 120
CERTIFICATES_MAX: Final = 12
RECENT_MAX: Final = 15
RECENT_RECORDS: Final = 1_500
"""Alert records of the whole hospital that are searched for a device's recent events."""
CONFIRM_CHARS: Final = 6
"""End of the device's name that a person types to revoke it."""


@get("/devices", opt={"action": Action.LIST_DEVICES})
async def devices_page(request: Web, console: Console) -> Page:
    """Show what is enrolled, a page at a time, or what a search finds."""
    find = request.query_params.get("find", "")[:FIND_CHARS_MAX].strip()
    after = request.query_params.get("after", "")[:NAME_CHARS_MAX]
    found, following = await _search(console, find=find, after=after)
    active = console.alarms.active(frozenset(each.name for each in found))
    lines = [_line(console, each, active) for each in found]
    template = "devices_live.html" if is_refresh(request) else "devices.html"
    return console.frame.page(
        request, template, lines=lines, find=find, after=after, following=following
    )


@get("/devices/{name:str}", opt={"action": Action.READ_DEVICE})
async def device_page(request: Web, name: FromPath[str], console: Console) -> Page:
    """Show everything about one machine."""
    summary = await console.registry.device(segment(name))
    values = await _live_values(request, console, summary)
    if is_refresh(request):
        return console.frame.page(request, "device_live.html", **values)
    known = await console.store.read(
        lambda c: machine_file(c, summary.name, certificates_max=CERTIFICATES_MAX)
    )
    charts = await console.charts(summary.name, who(request))
    return console.frame.page(request, "device.html", file=known, charts=charts, **values)


@get("/devices/{name:str}/revoke", opt={"action": Action.REVOKE_DEVICE})
async def revoke_page(request: Web, name: FromPath[str], console: Console) -> Page:
    """Say what revoking would do; changes nothing."""
    return await _revocation(request, console, segment(name))


@post("/devices/{name:str}/revoke", opt={"action": Action.REVOKE_DEVICE}, status_code=200)
async def revoke(request: Web, name: FromPath[str], console: Console) -> Page:
    """Revoke, once the end of the name was typed."""
    fields, wanted = await read_form(request), segment(name)
    try:
        reason = require(fields, "reason")
        _check_typed(fields.get("confirm", ""), wanted)
        await console.registry.revoke(wanted, person=who(request).name, reason=reason)
    except InputError as error:
        return await _revocation(
            request, console, wanted, error=str(error), reason=fields.get("reason", "")
        )
    return redirect(device_path(wanted))


def _check_typed(typed: str, name: str) -> None:
    if typed.strip().lower() != name[-CONFIRM_CHARS:].lower():
        raise InputError("what was typed is not the end of the device's name")


HANDLERS: Final = (devices_page, device_page, revoke_page, revoke)


async def _search(
    console: Services, *, find: str, after: str
) -> tuple[list[DeviceSummary], str | None]:
    """Return machines that match, and the name after which the next page begins."""
    wanted, found = find.casefold(), list[DeviceSummary]()
    for _ in range(SCANNED_MAX // SCAN_PAGE):
        page = await console.registry.devices(after=after, limit=SCAN_PAGE)
        for each in page:
            if wanted and wanted not in f"{each.name} {each.model} {each.kind}".casefold():
                continue
            if len(found) == LINES_MAX:
                return found, found[-1].name
            found.append(each)
        if len(page) < SCAN_PAGE:
            break
        after = page[-1].name
    return found, None


def _line(console: Services, summary: DeviceSummary, active: Sequence[AlarmNotice]) -> DeviceLine:
    name = summary.name
    present = summary.revoked_at_ns is None and console.presence.is_present(name)
    placed = console.whereabouts.placed(name)
    return DeviceLine(
        summary=summary,
        connection=connection_word(
            summary, present=present, watched=name in console.presence.watched()
        ),
        state=state_word(console.presence.clinical_state(name), present=present),
        place="" if placed is None else placed.place.label(),
        fixed=placed is not None and placed.fixed,
        alarms=by_urgency(
            [notice for notice in active if notice.device == name],
            unknown_since_ns=console.alarms.unknown_since(name),
        ),
    )


async def _live_values(
    request: Web, console: Services, summary: DeviceSummary
) -> Mapping[str, Any]:
    name = summary.name
    sees = may(who(request), Action.READ_PATIENT)
    association = console.whereabouts.now(name) if sees else None
    return {
        "line": _line(console, summary, console.alarms.active(frozenset((name,)))),
        "association": association,
        "patient": None if association is None else console.patient(association),
        "recent": await _recent(console, name),
        "attested": await console.attested(name),
    }


async def _recent(console: Services, name: str) -> list[AlarmLine] | None:
    """Return a device's newest alarm events; None while they cannot be read."""
    through = console.alarms.position
    found: list[AlarmLine] = []
    try:
        history = console.alarms.history(
            frozenset((name,)), max(0, through - RECENT_RECORDS), through=through
        )
        async for _, notices in history:
            found += [alarm_line(notice) for notice in notices]
    except TransientError:
        return None
    return found[: -RECENT_MAX - 1 : -1]


async def _revocation(
    request: Web, console: Services, name: str, *, error: str = "", reason: str = ""
) -> Page:
    preview = await console.registry.preview_revocation(name)
    if preview.device.revoked_at_ns is not None:
        raise Conflict("the identity is revoked already")
    sees = may(who(request), Action.READ_PATIENT)
    association = console.whereabouts.now(name)
    line = _line(console, preview.device, console.alarms.active(frozenset((name,))))
    return console.frame.page(
        request,
        "revoke.html",
        status=400 if error else 200,
        line=line,
        connections=preview.connections,
        in_use=console.presence.clinical_state(name) in IN_USE,
        associated=association is not None,
        patient=console.patient(association) if association is not None and sees else None,
        error=error,
        reason=reason,
        ending=name[-CONFIRM_CHARS:],
    )
