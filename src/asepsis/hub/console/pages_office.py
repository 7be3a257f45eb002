"""The audit log and the status of the hub."""

import asyncio
from typing import Any, Final, cast

import msgspec
from litestar import get
from sqlalchemy import Connection

from asepsis.core.errors import AsepsisError, InputError
from asepsis.hub.access.rules import Action
from asepsis.hub.audit import log
from asepsis.hub.console.pages import Page, Web, is_refresh, who
from asepsis.hub.console.services import Console, Services

ENTRIES: Final = 50
DIGITS_MAX: Final = 18
SECTION_S_MAX: Final = 2.0
"""How long one section of the status may take before the page goes without it."""
KNOWN_SECTIONS: Final = ("lanes", "sealing", "technical_conditions", "listeners")


@get("/audit", opt={"action": Action.READ_AUDIT})
async def audit_page(request: Web, console: Console) -> Page:
    """Show who did what, the newest first."""
    before = _number(request.query_params.get("before", ""))
    writer = log.AuditLog(console.store.clock)
    reader = f"person:{who(request).name}"
    await console.store.write(lambda c: log.note_read(c, writer, reader=reader))

    def read(connection: Connection) -> dict[str, Any]:
        size = log.size(connection)
        end = size if before is None else min(before, size)
        entries = log.page(connection, after=max(-1, end - ENTRIES - 1), entries_max=ENTRIES)
        heads = log.signed_heads(connection, last=1)
        return {
            "entries": [entry for entry in reversed(entries) if entry.index < end],
            "size": size,
            "end": end,
            "head": heads[0] if heads else None,
            "step": ENTRIES,
        }

    return console.frame.page(request, "audit.html", **await console.store.read(read))


@get("/status", opt={"action": Action.READ_STATUS})
async def status_page(request: Web, console: Console) -> Page:
    """Show how the hub is: lanes, sealing, conditions, and what features add."""
    sections = await _sections(console)
    further = {name: found for name, found in sections.items() if name not in KNOWN_SECTIONS}
    template = "status_live.html" if is_refresh(request) else "status.html"
    return console.frame.page(
        request,
        template,
        lanes=sections.get("lanes", {}),
        sealing=sections.get("sealing", ""),
        conditions=sections.get("technical_conditions", []),
        listeners=sections.get("listeners", {}),
        further={name: _flat(found) for name, found in further.items()},
    )


HANDLERS: Final = (audit_page, status_page)


async def _sections(console: Services) -> dict[str, Any]:
    async def ask(name: str) -> tuple[str, Any]:
        try:
            async with asyncio.timeout(SECTION_S_MAX):
                return name, msgspec.to_builtins(await console.status[name]())
        except (AsepsisError, TimeoutError):
            return name, {"state": "does not answer"}

    return dict(await asyncio.gather(*(ask(name) for name in console.status)))


def _flat(found: Any, prefix: str = "") -> dict[str, str]:
    """Return nested names and values as lines for people."""
    if not isinstance(found, dict):
        return {prefix or "state": str(found)}
    lines: dict[str, str] = {}
    for key, value in cast("dict[str, Any]", found).items():
        name = str(key).replace("_", " ")
        lines |= _flat(value, f"{prefix} {name}".strip())
    return lines


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise InputError("the parameter before is not a number")
    return int(text)
