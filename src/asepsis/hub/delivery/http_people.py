"""Routes about destinations and dead letters on the people listener."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec

from asepsis.core.errors import AsepsisError, Conflict, InputError, NotFound
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.delivery.letters import LIST_MAX, REASON_CHARS_MAX, Letter, Search
from asepsis.hub.delivery.line import Line
from asepsis.hub.delivery.model import (
    ADDRESS_CHARS_MAX,
    Destination,
    ItemKind,
    Kind,
    LetterState,
    Options,
)
from asepsis.hub.delivery.people import DeadLetters, fields_of
from asepsis.hub.delivery.service import DeliveryService, describe
from asepsis.hub.store.store import Store
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

BODY_BYTES_MAX: Final = 131_072
ONE: Final = "/api/dead-letters/{id}"
_DIGITS_MAX: Final = 18
_TEXTS: Final = ("destination", "message_type", "patient", "control_id")

Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_CHARS_MAX)]


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: named fields, nothing unknown."""


class DestinationBody(_Body, frozen=True):
    """Body of a new destination."""

    name: Name
    kind: Kind
    address: Annotated[str, msgspec.Meta(max_length=ADDRESS_CHARS_MAX)] = ""
    options: Options = Options()


class ConfirmBody(_Body, frozen=True):
    """Body of a removal; without the name as `confirm` nothing is done."""

    confirm: str | None = None


class ReasonBody(_Body, frozen=True):
    """Body of an act on a dead letter."""

    reason: Reason


class RedirectBody(_Body, frozen=True):
    """Body of a redirection."""

    reason: Reason
    to: Name


class DeliveryRoutes:
    """The handlers; one for a hub.

    Args:
        service: Destinations and their lines.
        dead_letters: What people decide.
        store: For the time of an entry.
        probes: Kind -> what connects to a destination and hangs up, or raises why it cannot.
    """

    def __init__(
        self,
        service: DeliveryService,
        dead_letters: DeadLetters,
        store: Store,
        probes: Mapping[Kind, Callable[[Line], Awaitable[None]]],
    ) -> None:
        self._service = service
        self._letters = dead_letters
        self._store = store
        self._probes = probes

    def routes(self) -> list[Route]:
        """Return the routes."""
        manages, handles = Action.MANAGE_DESTINATIONS, Action.HANDLE_DEAD_LETTERS
        path = "/api/destinations"
        return [
            Route("GET", path, self._list, Action.READ_DELIVERIES),
            Route("POST", path, self._add, manages),
            Route("POST", path + "/{name}/remove", self._remove, manages),
            Route("POST", path + "/{name}/test", self._test, manages),
            Route("GET", "/api/dead-letters", self._search, handles),
            Route("GET", ONE, self._read, handles),
            Route("POST", ONE + "/replay", self._replay, handles),
            Route("POST", ONE + "/redirect", self._redirect, handles),
            Route("POST", ONE + "/discard", self._discard, handles),
        ]

    async def _list(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Every destination and how its line stands."""
        found = [describe(line) for line in self._service.lines()]
        await send_document(send, {"destinations": found})

    async def _add(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Enter a destination."""
        body = await read_document(scope, receive, DestinationBody, bytes_max=BODY_BYTES_MAX)
        actor = _actor(scope)
        made = Destination(
            name=body.name,
            kind=body.kind,
            address=body.address,
            options=body.options,
            created_by=actor,
            created_ns=self._store.clock(),
        )
        await self._service.add(made, actor=actor)
        await send_document(send, describe(self._service.line(made.name)))

    async def _remove(self, scope: Scope, receive: Receive, send: Send) -> None:
        """End a destination; says first what waits for it."""
        body = await read_document(scope, receive, ConfirmBody, bytes_max=BODY_BYTES_MAX)
        name: str = scope["asepsis.path_params"]["name"]
        line = self._service.line(name)
        if body.confirm is None:
            shown = {"done": False, "confirm": name, "destination": describe(line)}
            await send_document(send, shown)
            return
        if body.confirm != name:
            raise Conflict("the confirmation names another destination")
        await self._service.remove(name, actor=_actor(scope))
        await send_document(send, {"done": True})

    async def _test(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Connect to a destination and hang up; nothing is sent."""
        await read_document(scope, receive, ConfirmBody, bytes_max=BODY_BYTES_MAX)
        line = self._service.line(scope["asepsis.path_params"]["name"])
        probe = self._probes.get(line.destination.kind)
        if probe is None:
            await send_document(send, {"reached": None, "why": "the hub does not connect to it"})
            return
        try:
            await probe(line)
        except AsepsisError as error:
            why = f"{error.code}: {error}"
            await send_document(send, {"reached": False, "why": why})
            return
        await send_document(send, {"reached": True, "why": ""})

    async def _search(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?destination=&state=&message_type=&patient=&control_id=&after=&limit=`, ascending."""
        found = await self._letters.search(_wanted(scope["query_string"]), actor=_actor(scope))
        await send_document(send, {"dead_letters": [_shown(one) for one in found]})

    async def _read(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """A dead letter with its content and the names of its fields."""
        opened = await self._letters.read(_number(scope), actor=_actor(scope))
        document = _shown(opened.letter) | {"reason": opened.reason}
        body = opened.item.body
        if opened.letter.kind is ItemKind.HL7:
            document |= {"content": body.decode("utf-8", "replace"), "fields": _fields(body)}
        else:
            document |= {"content": body.decode(), "fields": []}
        await send_document(send, document)

    async def _replay(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a dead letter again."""
        body = await read_document(scope, receive, ReasonBody, bytes_max=BODY_BYTES_MAX)
        await self._letters.replay(_number(scope), actor=_actor(scope), reason=body.reason)
        await send_document(send, {"done": True})

    async def _redirect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a dead letter to another destination."""
        body = await read_document(scope, receive, RedirectBody, bytes_max=BODY_BYTES_MAX)
        await self._letters.redirect(
            _number(scope), body.to, actor=_actor(scope), reason=body.reason
        )
        await send_document(send, {"done": True})

    async def _discard(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give a dead letter up."""
        body = await read_document(scope, receive, ReasonBody, bytes_max=BODY_BYTES_MAX)
        await self._letters.discard(_number(scope), actor=_actor(scope), reason=body.reason)
        await send_document(send, {"done": True})


def _shown(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "destination": letter.destination,
        "kind": letter.kind.value,
        "route": letter.route,
        "state": letter.state.value,
        "at_ns": letter.at_ns,
        "message_type": letter.message_type,
        "code": letter.code,
    }


def _fields(body: bytes) -> list[dict[str, str]]:
    try:
        return fields_of(body)
    except InputError:
        return []


def _wanted(query: bytes) -> Search:
    try:
        pairs = parse_qsl(query.decode("utf-8"), max_num_fields=8, strict_parsing=bool(query))
        given = dict(pairs)
        state = LetterState(given.pop("state")) if "state" in given else None
        after, limit = int(given.pop("after", "0")), int(given.pop("limit", "100"))
    except ValueError as error:
        raise InputError("the query is malformed") from error
    texts = {name: given.pop(name, "") for name in _TEXTS}
    if given or not 1 <= limit <= LIST_MAX or not 0 <= after < 1 << 62:
        raise InputError("unknown field, or a number out of range")
    return Search(state=state, after=after, limit=limit, **texts)


def _number(scope: Scope) -> int:
    text: str = scope["asepsis.path_params"]["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise NotFound("no such dead letter")
    return int(text)


def _actor(scope: Scope) -> str:
    principal: Principal = scope["asepsis.principal"]
    return f"person:{principal.name}"
