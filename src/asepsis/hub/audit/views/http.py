"""FHIR routes of the audit log on the people listener; whoever reads it stands in it."""

from datetime import datetime
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode

import msgspec

from asepsis.core.errors import InputError, NotFound
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.audit import log
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.views import fhir, search
from asepsis.hub.audit.views.search import Wanted
from asepsis.hub.store.store import Store
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.routing import Route

FHIR: Final = b"application/fhir+json"
PATH: Final = "/fhir/AuditEvent"
COUNT_DEFAULT: Final = 100
PARAMETERS_MAX: Final = 8
VALUE_CHARS_MAX: Final = 200
_NAMES: Final = frozenset({"date", "agent", "patient", "action", "outcome", "_count", "_cursor"})


class AuditEventRoutes:
    """The handlers; one for a hub.

    Args:
        store: Where the log stands.
        audit: Gets an entry for each read.
        hub: Name of this hub, for people.
    """

    def __init__(self, store: Store, audit: AuditLog, *, hub: str) -> None:
        self._store = store
        self._audit = audit
        self._hub = hub

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", PATH, self._search, Action.READ_AUDIT),
            Route("GET", PATH + "/{id}", self._read, Action.READ_AUDIT),
        ]

    async def _search(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?date=ge..&date=lt..&agent=&patient=&action=&outcome=&_count=&_cursor=`."""
        given = _parameters(scope)
        wanted = _wanted(given)
        count = max(1, min(_number(given, "_count", COUNT_DEFAULT), search.COUNT_MAX))
        after = _number(given, "_cursor", -1)
        await self._note(scope, given)
        page = await self._store.read(lambda c: search.find(c, wanted, after=after, count=count))
        links = {"self": _address(given, None)}
        if page.after is not None:
            links["next"] = _address(given, page.after)
        events = [fhir.event(each, hub=self._hub) for each in page.views]
        await _answer(send, fhir.bundle(events, links=links))

    async def _read(self, scope: Scope, _receive: Receive, send: Send) -> None:
        name: str = scope["asepsis.path_params"]["id"]
        text = name.removeprefix(fhir.ID_PREFIX)
        if text == name or not text.isascii() or not text.isdigit() or len(text) > 18:
            raise NotFound("the audit log has no such entry")
        await self._note(scope, [("_id", name)])
        found = await self._store.read(lambda c: search.one(c, int(text)))
        await _answer(send, fhir.event(found, hub=self._hub))

    async def _note(self, scope: Scope, given: list[tuple[str, str]]) -> None:
        asked = [name for name, _ in given]
        patients = [value for name, value in given if name == "patient"]
        who = reader(scope)
        await self._store.write(
            lambda c: log.note_read(c, self._audit, reader=who, asked=asked, patients=patients)
        )


def reader(scope: Scope) -> str:
    """Return who asks, as the log names them."""
    principal = cast("Principal", scope["asepsis.principal"])
    return f"{principal.kind.value}:{principal.name}"


async def _answer(send: Send, document: dict[str, Any]) -> None:
    await answer(send, 200, msgspec.json.encode(document), media=FHIR)


def _parameters(scope: Scope) -> list[tuple[str, str]]:
    query: bytes = scope["query_string"]
    try:
        given = parse_qsl(
            query.decode("ascii"), strict_parsing=bool(query), max_num_fields=PARAMETERS_MAX
        )
    except ValueError as error:
        raise InputError("the parameters cannot be read") from error
    for name, value in given:
        if name not in _NAMES or len(value) > VALUE_CHARS_MAX:
            raise InputError(f"the parameters are {', '.join(sorted(_NAMES))}")
    return given


def _wanted(given: list[tuple[str, str]]) -> Wanted:
    one = dict(given)
    outcome = one.get("outcome")
    if outcome not in (None, "0", "4", "8") or one.get("action", "R") not in tuple("CRUDE"):
        raise InputError("action is one of C, R, U, D, E; outcome is 0, 4 or 8")
    start, end = _dates([value for name, value in given if name == "date"])
    return Wanted(
        from_ns=start,
        until_ns=end,
        agent=one.get("agent", ""),
        patient=one.get("patient", ""),
        action=one.get("action", ""),
        outcome=None if outcome is None else int(outcome),
    )


def _dates(values: list[str]) -> tuple[int, int]:
    start, end = 0, (1 << 63) - 1
    for value in values:
        try:
            at = datetime.fromisoformat(value[2:].replace(" ", "+"))
        except ValueError as error:
            raise InputError("a date is ge or lt and a time with offset") from error
        if at.tzinfo is None or value[:2] not in ("ge", "lt"):
            raise InputError("a date is ge or lt and a time with offset")
        at_ns = int(at.timestamp()) * 10**9 + at.microsecond * 1_000
        start, end = (max(start, at_ns), end) if value[:2] == "ge" else (start, min(end, at_ns))
    return start, end


def _number(given: list[tuple[str, str]], name: str, default: int) -> int:
    text = dict(given).get(name, str(default))
    try:
        return int(text) if len(text) <= 18 else -1
    except ValueError as error:
        raise InputError(f"{name} is a number") from error


def _address(given: list[tuple[str, str]], cursor: int | None) -> str:
    kept = [(name, value) for name, value in given if name != "_cursor"]
    kept += [("_cursor", str(cursor))] if cursor is not None else []
    return f"{PATH}?{urlencode(kept)}" if kept else PATH
