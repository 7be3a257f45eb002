"""Dead letters: what a destination refused or a chart may not have, until a person decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from litestar import get, post
from litestar.params import FromPath

from asepsis.core.compliance.verdict import Rule
from asepsis.core.errors import Conflict, InputError, NotFound
from asepsis.hub.access.rules import Action
from asepsis.hub.console.lines import Word
from asepsis.hub.console.pages import Page, Web, read_form, redirect, require, who
from asepsis.hub.console.services import Console, Services
from asepsis.hub.delivery.letters import REASON_CHARS_MAX, Letter, Opened, Search
from asepsis.hub.delivery.model import UNDECIDED, ItemKind, LetterState
from asepsis.hub.delivery.people import TAKES, fields_of

PAGE: Final = "/dead-letters"
ONE: Final = "/dead-letters/{letter:str}"
LINES: Final = 50
DIGITS_MAX: Final = 18
TEXTS: Final = ("destination", "message_type", "patient", "control_id")
TEXT_CHARS_MAX: Final = 120
CONTENT_CHARS_MAX: Final = 20_000
"""Of an item that is no message; a message is shown by its fields."""
_STATES: Final = {
    LetterState.OPEN: Word("refused", "warn"),
    LetterState.BLOCKING: Word("refused, the line waits", "bad"),
    LetterState.HELD: Word("held back from a chart", "info"),
    LetterState.QUEUED: Word("on its way", ""),
    LetterState.DELIVERED: Word("delivered", "good"),
    LetterState.DISCARDED: Word("discarded", ""),
}
_RULES: Final[Mapping[str, str]] = {
    Rule.PATIENT: "patient: another one, or nobody confirmed",
    Rule.UNIT: "unit: not of this metric",
    Rule.RANGE: "range: outside what the device declares",
    Rule.CLOCK: "clock: its own time is off",
    Rule.IDENTITY: "identity: no declared device",
    Rule.REQUIRED: "required: something is missing",
    Rule.TABLE: "table: a value that is not listed",
    "route": "route: could not be made",
}
"""Code of a letter -> what it says in a list, where nothing of the content may stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterLine:
    """A dead letter as a list shows it: nothing of its content.

    Attributes:
        letter: The rest.
        state: Where it stands, in words.
        why: Rule, route or code of the receiver's answer, in words.
    """

    letter: Letter
    state: Word
    why: str


@get(PAGE, opt={"action": Action.HANDLE_DEAD_LETTERS})
async def letters_page(request: Web, console: Console) -> Page:
    """Show what waits for a person, the oldest first."""
    return await _list(request, console, {})


@post(PAGE, opt={"action": Action.HANDLE_DEAD_LETTERS}, status_code=200)
async def find(request: Web, console: Console) -> Page:
    """Search; a form, so that no patient's number stands in an address."""
    return await _list(request, console, await read_form(request))


@get(ONE, opt={"action": Action.HANDLE_DEAD_LETTERS})
async def letter_page(request: Web, letter: FromPath[str], console: Console) -> Page:
    """Show one with its content and the names of its fields; the look is audited."""
    return await _one(request, console, _number(letter))


@post(ONE + "/replay", opt={"action": Action.HANDLE_DEAD_LETTERS}, status_code=200)
async def replay(request: Web, letter: FromPath[str], console: Console) -> Page:
    """Send it again, or release it to its chart."""
    fields, number = await read_form(request), _number(letter)
    reason = _reason(fields)
    if not reason:
        return await _one(request, console, number, error=_SAY_WHY)
    await console.letters.replay(number, actor=_actor(request), reason=reason)
    return redirect(PAGE)


@post(ONE + "/redirect", opt={"action": Action.HANDLE_DEAD_LETTERS}, status_code=200)
async def send_elsewhere(request: Web, letter: FromPath[str], console: Console) -> Page:
    """Send it to another destination."""
    fields, number = await read_form(request), _number(letter)
    reason = _reason(fields)
    if not reason:
        return await _one(request, console, number, error=_SAY_WHY)
    try:
        target = require(fields, "to")
        await console.letters.redirect(number, target, actor=_actor(request), reason=reason)
    except (InputError, Conflict) as error:
        return await _one(request, console, number, error=str(error))
    return redirect(PAGE)


@post(ONE + "/discard", opt={"action": Action.HANDLE_DEAD_LETTERS}, status_code=200)
async def discard(request: Web, letter: FromPath[str], console: Console) -> Page:
    """Give it up: nobody gets it from here."""
    fields, number = await read_form(request), _number(letter)
    reason = _reason(fields)
    if not reason:
        return await _one(request, console, number, error=_SAY_WHY)
    if fields.get("sure") != "1":
        error = "Say that nobody shall get it from here."
        return await _one(request, console, number, error=error)
    await console.letters.discard(number, actor=_actor(request), reason=reason)
    return redirect(PAGE)


HANDLERS: Final = (letters_page, find, letter_page, replay, send_elsewhere, discard)
_SAY_WHY: Final = f"Say why, in at most {REASON_CHARS_MAX} characters."


async def _list(request: Web, console: Services, fields: Mapping[str, str]) -> Page:
    asked = {name: fields.get(name, "").strip()[:TEXT_CHARS_MAX] for name in TEXTS}
    state, after = _state(fields.get("state", "")), fields.get("after", "") or "0"
    wanted = Search(state=state, after=_number(after), limit=LINES + 1, **asked)
    found = await console.letters.search(wanted, actor=_actor(request))
    lines = [_line(each) for each in found[:LINES]]
    return console.frame.page(
        request,
        "letters.html",
        lines=lines,
        following=lines[-1].letter.id if len(found) > LINES else 0,
        asked=asked,
        state="" if state is None else state.value,
        states=[(state.value, word.text) for state, word in _STATES.items()],
        destinations=sorted(line.destination.name for line in console.deliveries.lines()),
        searched=any(asked.values()) or state is not None,
    )


async def _one(request: Web, console: Services, number: int, *, error: str = "") -> Page:
    opened = await console.letters.read(number, actor=_actor(request))
    fields, content = _content(opened)
    return console.frame.page(
        request,
        "letter.html",
        status=400 if error else 200,
        line=_line(opened.letter),
        reason=opened.reason,
        fields=fields,
        content=content,
        undecided=opened.letter.state in UNDECIDED,
        targets=_targets(console, opened.letter),
        reason_chars_max=REASON_CHARS_MAX,
        error=error,
    )


def _content(opened: Opened) -> tuple[Sequence[Mapping[str, str]], str]:
    """Return the named fields of a message, or else the whole content as text."""
    body = opened.item.body
    if opened.letter.kind is ItemKind.HL7:
        try:
            return fields_of(body), ""
        except InputError:
            pass  # Not a message after all: it is shown as it is.
    return (), body.decode("utf-8", "replace")[:CONTENT_CHARS_MAX]


def _targets(console: Services, letter: Letter) -> list[str]:
    """Return the destinations that may have it instead."""
    carries = "images" if letter.kind is ItemKind.INSTANCE else ""
    return sorted(
        line.destination.name
        for line in console.deliveries.lines()
        if line.destination.kind in TAKES[letter.kind]
        and (line.destination.options.carries == "images") == bool(carries)
        and line.destination.name != letter.destination
    )


def _line(letter: Letter) -> LetterLine:
    return LetterLine(
        letter=letter, state=_STATES[letter.state], why=_RULES.get(letter.code, letter.code)
    )


def _state(text: str) -> LetterState | None:
    try:
        return LetterState(text) if text else None
    except ValueError as error:
        raise InputError("no such state of a dead letter") from error


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise NotFound("no such dead letter")
    return int(text)


def _reason(fields: Mapping[str, str]) -> str:
    """Return why; empty if nothing was said, or too much."""
    said = fields.get("reason", "").strip()
    return said if len(said) <= REASON_CHARS_MAX else ""


def _actor(request: Web) -> str:
    return f"person:{who(request).name}"
