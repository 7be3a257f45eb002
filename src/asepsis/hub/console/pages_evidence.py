"""Evidence: what the audit log says about one thing, who vouches for it, and the pack."""

from collections.abc import Sequence
from typing import Final

from litestar import Response, get
from sqlalchemy import Connection

from asepsis.core.errors import AsepsisError
from asepsis.hub.access.rules import Action
from asepsis.hub.audit import log, packing, witnesses
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Entry
from asepsis.hub.console.pages import Page, Web, who
from asepsis.hub.console.pages_session import explain
from asepsis.hub.console.services import Console, Services
from asepsis.hub.fleet.campaigns import rows
from asepsis.hub.fleet.releases.papers import papers

PAGE: Final = "/evidence"
SHOWN_MAX: Final = 200
QUERY_CHARS_MAX: Final = 1_000


@get(PAGE, opt={"action": Action.READ_AUDIT})
async def evidence_page(request: Web, console: Console) -> Page:
    """Show what the log says about something, and how far witnesses vouch for it."""
    asked = request.query_params.get("about", "")[:QUERY_CHARS_MAX].strip()
    error, entries = "", list[Entry]()
    if asked:
        await _note(request, console, asked.split())
        try:
            size = await console.store.read(log.size)
            entries = await packing.find(console.store, asked.split(), size=size)
        except AsepsisError as refused:
            error = explain(refused)
    return console.frame.page(
        request,
        "evidence.html",
        status=400 if error else 200,
        asked=asked,
        entries=entries[-SHOWN_MAX:][::-1],
        total=len(entries),
        witnesses=await console.store.read(_witnesses),
        size=await console.store.read(log.size),
        error=error,
    )


@get(PAGE + "/pack", opt={"action": Action.READ_AUDIT})
async def evidence_pack(request: Web, console: Console) -> Response[bytes]:
    """Hand over the pack; who takes it stands in the log, and in the pack."""
    about = request.query_params.get("about", "")[:QUERY_CHARS_MAX].split()
    packing.check_about(about)
    await _note(request, console, about)
    head = await console.updates.sign_head()
    artefacts = await console.store.read(lambda c: _artefacts(c, about))
    body = await packing.pack(
        console.store,
        about,
        head=head,
        audit_der=await console.updates.audit_der(),
        hospital=console.frame.facility,
        documents=await console.store.read(lambda c: papers(c, artefacts)),
    )
    headers = {"content-disposition": 'attachment; filename="pack.json"'}
    return Response(content=body, media_type="application/json", headers=headers)


HANDLERS: Final = (evidence_page, evidence_pack)


async def _note(request: Web, console: Services, about: Sequence[str]) -> None:
    """Write into the log who looks for what, before anything of it is shown."""
    writer, reader = AuditLog(console.store.clock), f"person:{who(request).name}"
    await console.store.write(
        lambda c: log.note_read(c, writer, reader=reader, asked=about[: packing.ABOUT_MAX])
    )


def _artefacts(connection: Connection, about: Sequence[str]) -> set[str]:
    """Return the artefacts that a pack is about: named, or rolled out by a campaign that is."""
    wanted = set(about)
    of_campaigns = {
        one.spec.release for one in rows.all_campaigns(connection) if one.name in wanted
    }
    return wanted | of_campaigns


def _witnesses(connection: Connection) -> list[tuple[witnesses.Witness, witnesses.Kept | None]]:
    newest = {one.witness: one for one in witnesses.signed(connection)}
    return [(one, newest.get(one.name)) for one in witnesses.known(connection)]
