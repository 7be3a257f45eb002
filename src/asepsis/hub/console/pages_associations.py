"""Associations: what is proposed, what holds, and a person's decision in two steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from litestar import get, post
from litestar.params import FromPath

from asepsis.core.errors import Conflict, InputError, NotFound
from asepsis.core.model.association import Association, AssociationState
from asepsis.core.model.patient import PatientId
from asepsis.hub.access.rules import Action
from asepsis.hub.console.lines import Word
from asepsis.hub.console.pages import (
    Page,
    Web,
    is_refresh,
    read_form,
    redirect,
    require,
    who,
)
from asepsis.hub.console.services import Console, Services
from asepsis.hub.registry.associations.book import Patient

PAGE: Final = "/associations"
ONE: Final = "/associations/{id:str}"
_BASIS: Final = {
    "adt": "the admission messages",
    "location": "where the device stands",
    "person": "a person",
    "device": "the device, which carries the patient's id",
    "ward-rule": "a rule of the ward for fixed monitors",
    "late": "a person, later",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationLine:
    """An association as a page shows it.

    Attributes:
        association: The assertion.
        patient: Who it is about, as far as admission messages tell.
        model: What the device was listed as; foreign text.
        present: Whether the device is heard.
        basis: Why it is proposed, in words.
        doubts: What does not fit; a person looks at these first.
    """

    association: Association
    patient: Patient
    model: str
    present: bool
    basis: str
    doubts: tuple[Word, ...]


@get(PAGE, opt={"action": Action.LIST_ASSOCIATIONS})
async def associations_page(request: Web, console: Console) -> Page:
    """Show what waits for a person, and what holds."""
    proposed = [await _line(console, each) for each in console.whereabouts.proposals()]
    confirmed = [await _line(console, each) for each in _confirmed(console).values()]
    template = "associations_live.html" if is_refresh(request) else "associations.html"
    return console.frame.page(request, template, proposed=proposed, confirmed=confirmed)


@get(ONE, opt={"action": Action.LIST_ASSOCIATIONS})
async def association_page(request: Web, id: FromPath[str], console: Console) -> Page:  # noqa: A002 - the route's word
    """Show one association with what a person needs to decide; changes nothing."""
    return await _one(request, console, id)


@post(ONE + "/confirm", opt={"action": Action.DECIDE_ASSOCIATION}, status_code=200)
async def confirm(request: Web, id: FromPath[str], console: Console) -> Page:  # noqa: A002 - the route's word
    """Confirm a proposal, if it still says what the page showed."""
    fields = await read_form(request)
    found = _find(console, id)
    _check_shown(found, fields)
    if fields.get("checked") != "1":
        error = "Check name, birth date and number at the bedside first, and say so."
        return await _one(request, console, id, error=error)
    await console.decisions.confirm(id, actor=f"person:{who(request).name}")
    return redirect(PAGE)


@post(ONE + "/reject", opt={"action": Action.DECIDE_ASSOCIATION}, status_code=200)
async def reject(request: Web, id: FromPath[str], console: Console) -> Page:  # noqa: A002 - the route's word
    """Decline a proposal."""
    return await _with_reason(request, console, id, console.decisions.reject)


@post(ONE + "/end", opt={"action": Action.DECIDE_ASSOCIATION}, status_code=200)
async def end(request: Web, id: FromPath[str], console: Console) -> Page:  # noqa: A002 - the route's word
    """End an association that holds."""
    return await _with_reason(request, console, id, console.decisions.end)


HANDLERS: Final = (associations_page, association_page, confirm, reject, end)


async def _with_reason(request: Web, console: Services, wanted: str, act: Any) -> Page:
    fields = await read_form(request)
    _check_shown(_find(console, wanted), fields)
    try:
        reason = require(fields, "reason")
    except InputError:
        return await _one(request, console, wanted, error="Say why, in a few words.")
    await act(wanted, actor=f"person:{who(request).name}", reason=reason)
    return redirect(PAGE)


def _check_shown(found: Association, fields: Mapping[str, str]) -> None:
    """Let a decision pass that was made about what still stands.

    Raises:
        Conflict: Patient or device is another than on the page.
    """
    shown = (fields.get("patient", ""), fields.get("device", ""))
    if shown != (found.patient.key(), found.device):
        raise Conflict("the association is not what the page showed", hint="look at it again")


async def _one(request: Web, console: Services, wanted: str, *, error: str = "") -> Page:
    line = await _line(console, _find(console, wanted))
    status = 400 if error else 200
    return console.frame.page(request, "association.html", status=status, line=line, error=error)


def _find(console: Services, wanted: str) -> Association:
    for each in (*console.whereabouts.proposals(), *_confirmed(console).values()):
        if each.id == wanted:
            return each
    raise NotFound("there is no such association now", hint="somebody may have decided it")


def _confirmed(console: Services) -> dict[str, Association]:
    """Return the associations that hold, by bed and device."""
    return {
        each.id: each
        for bed in console.whereabouts.beds()
        for each in bed.associations
        if each.state is AssociationState.CONFIRMED
    }


async def _line(console: Services, found: Association) -> AssociationLine:
    try:
        model = (await console.registry.device(found.device)).model
    except NotFound:
        model = ""
    present = console.presence.is_present(found.device)
    return AssociationLine(
        association=found,
        patient=console.patient(found),
        model=model,
        present=present,
        basis=_BASIS[found.basis.value],
        doubts=tuple(_doubts(console, found, present=present)),
    )


def _doubts(console: Services, found: Association, *, present: bool) -> list[Word]:
    doubts: list[Word] = []
    other = console.whereabouts.now(found.device)
    if other is not None and other.patient != found.patient:
        doubts.append(Word("The device is confirmed for another patient now.", "bad"))
    placed = console.whereabouts.placed(found.device)
    if placed is not None and found.place is not None and placed.place != found.place:
        doubts.append(Word(f"The device stands at {placed.place.label()}.", "bad"))
    if not _lies_at(console, found.patient, found):
        doubts.append(Word("Admission messages do not put this patient in that bed.", "warn"))
    if not present:
        doubts.append(Word("The device is not heard now.", "warn"))
    return doubts


def _lies_at(console: Services, patient: PatientId, found: Association) -> bool:
    beds = [bed for bed in console.whereabouts.beds() if bed.place == found.place]
    return any(bed.patient is not None and bed.patient.id == patient for bed in beds)
