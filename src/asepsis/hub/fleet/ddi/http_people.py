"""The routes of people for update clients: parse, call, render."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, cast
from urllib.parse import parse_qs

import msgspec

from asepsis.core.errors import FramingError, InputError
from asepsis.core.wire.ddi import NAME_CHARS_MAX, WORD_CHARS_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action as Act
from asepsis.hub.fleet.ddi.model import (
    MODULES_MAX,
    WINDOWS_MAX,
    Action,
    File,
    Kind,
    Module,
    Target,
    Window,
)
from asepsis.hub.fleet.ddi.orders import TARGETS_MAX, Order, Orders
from asepsis.hub.fleet.ddi.people import Decisions
from asepsis.hub.fleet.ddi.profiles import GENERIC
from asepsis.hub.fleet.ddi.records_actions import Status
from asepsis.hub.fleet.ddi.requests import number_of
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.bodies import require_media
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

BASE: Final = "/api/ddi"
STREAMED: Final = frozenset({f"POST {BASE}/modules"})
"""Requests whose bodies the listener gives on as they come."""
BODY_BYTES_MAX: Final = 524_288
PART_CHARS_MAX: Final = 24
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Word = Annotated[str, msgspec.Meta(max_length=WORD_CHARS_MAX)]
Moment = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: named fields, nothing unknown."""


class TargetBody(_Body, frozen=True):
    """A target to be entered."""

    name: Name
    profile: Word = GENERIC.name


class ChangeBody(_Body, frozen=True):
    """What changes of a target; null for nothing."""

    profile: Word | None = None
    blocked: bool | None = None
    new_token: bool = False


class GatewayBody(_Body, frozen=True):
    """A gateway to be entered."""

    name: Name


class OrderBody(_Body, frozen=True):
    """What is assigned to whom, and when it may be installed."""

    targets: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=TARGETS_MAX)]
    modules: Annotated[tuple[int, ...], msgspec.Meta(min_length=1, max_length=MODULES_MAX)]
    name: Word = ""
    version: Word = ""
    kind: Kind = Kind.FORCED
    force_ns: Moment = 0
    windows: Annotated[tuple[Window, ...], msgspec.Meta(max_length=WINDOWS_MAX)] = ()
    confirm: bool = False


class CancelBody(_Body, frozen=True):
    """Whether the client is asked."""

    at_once: bool = False


class PeopleRoutes:
    """The handlers of the people listener.

    Args:
        decisions: The use cases of people for targets and modules.
        orders: The same for updates.
    """

    def __init__(self, decisions: Decisions, orders: Orders) -> None:
        self._decisions = decisions
        self._orders = orders

    def routes(self) -> list[Route]:
        """Return the routes."""
        look, manage = Act.LIST_DEVICES, Act.MANAGE_DDI
        return [
            Route("GET", f"{BASE}/targets", self._targets, look),
            Route("POST", f"{BASE}/targets", self._add_target, manage),
            Route("GET", f"{BASE}/targets/{{name}}", self._target, look),
            Route("POST", f"{BASE}/targets/{{name}}", self._change_target, manage),
            Route("POST", f"{BASE}/gateways", self._add_gateway, manage),
            Route("DELETE", f"{BASE}/gateways/{{name}}", self._remove_gateway, manage),
            Route("GET", f"{BASE}/modules", self._modules, look),
            Route("POST", f"{BASE}/modules", self._add_module, manage),
            Route("GET", f"{BASE}/actions", self._actions, look),
            Route("POST", f"{BASE}/actions", self._assign, manage),
            Route("GET", f"{BASE}/actions/{{id}}", self._action, look),
            Route("POST", f"{BASE}/actions/{{id}}/cancel", self._cancel, manage),
            Route("POST", f"{BASE}/actions/{{id}}/confirm", self._confirm, manage),
        ]

    async def _targets(self, scope: Scope, _receive: Receive, send: Send) -> None:
        found = await self._decisions.list_targets(after=_query(scope, "after"))
        await send_document(send, {"targets": [_target(one) for one in found]})

    async def _add_target(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Enter a target; the answer holds its token, this once."""
        body = await read_document(scope, receive, TargetBody, bytes_max=BODY_BYTES_MAX)
        token = await self._decisions.add_target(
            body.name, profile=body.profile, person=_person(scope)
        )
        await send_document(send, {"name": body.name, "token": token})

    async def _target(self, scope: Scope, _receive: Receive, send: Send) -> None:
        target, actions = await self._decisions.target(_named(scope))
        await send_document(send, _target(target) | {"actions": [_action(one) for one in actions]})

    async def _change_target(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, ChangeBody, bytes_max=BODY_BYTES_MAX)
        name = _named(scope)
        token = await self._decisions.change_target(
            name,
            person=_person(scope),
            profile=body.profile,
            blocked=body.blocked,
            new_token=body.new_token,
        )
        await send_document(send, {"name": name} | ({"token": token} if token else {}))

    async def _add_gateway(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Enter a gateway; the answer holds its token, this once."""
        body = await read_document(scope, receive, GatewayBody, bytes_max=BODY_BYTES_MAX)
        token = await self._decisions.add_gateway(body.name, person=_person(scope))
        await send_document(send, {"name": body.name, "token": token})

    async def _remove_gateway(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await self._decisions.remove_gateway(_named(scope), person=_person(scope))
        await send_document(send, {"done": True})

    async def _modules(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        found = await self._decisions.modules()
        await send_document(send, {"modules": [_module(one) for one in found]})

    async def _add_module(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a file as it comes."""
        require_media(scope, "application/octet-stream")
        module = await self._decisions.add_module(
            name=_word(scope, "name", WORD_CHARS_MAX),
            version=_word(scope, "version", WORD_CHARS_MAX),
            part=_word(scope, "part", PART_CHARS_MAX),
            filename=_filename(scope),
            pieces=_pieces(receive),
            person=_person(scope),
        )
        await send_document(send, _module(module))

    async def _actions(self, scope: Scope, _receive: Receive, send: Send) -> None:
        before = _query(scope, "before")
        if before and not (before.isascii() and before.isdigit() and len(before) <= 18):
            raise InputError("before is the number of an action")
        found = await self._orders.actions(before=int(before) if before else None)
        await send_document(send, {"actions": [_action(one) for one in found]})

    async def _assign(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Assign modules to targets; what they had open is taken back."""
        body = await read_document(scope, receive, OrderBody, bytes_max=BODY_BYTES_MAX)
        order = Order(**msgspec.structs.asdict(body))
        made = await self._orders.assign(order, person=_person(scope))
        await send_document(send, {"actions": [_action(one) for one in made]})

    async def _action(self, scope: Scope, _receive: Receive, send: Send) -> None:
        action, told = await self._orders.action(number_of(scope, "id"))
        await send_document(send, _action(action) | {"reports": [_status(one) for one in told]})

    async def _cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, CancelBody, bytes_max=BODY_BYTES_MAX)
        changed = await self._orders.cancel(
            number_of(scope, "id"), person=_person(scope), at_once=body.at_once
        )
        await send_document(send, _action(changed))

    async def _confirm(self, scope: Scope, _receive: Receive, send: Send) -> None:
        changed = await self._orders.confirm(number_of(scope, "id"), person=_person(scope))
        await send_document(send, _action(changed))


def _target(one: Target) -> dict[str, Any]:
    return {
        "name": one.name,
        "profile": one.profile.name,
        "token": bool(one.token_sha256),
        "blocked": one.blocked,
        "attributes": one.attributes,
        "auto_confirm": one.auto_confirm is not None,
        "installed": one.installed,
        "person": one.person,
        "added_ns": one.added_ns,
        "seen_ns": one.seen_ns,
        "address": one.address,
    }


def _module(one: Module) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "version": one.version,
        "part": one.part,
        "files": [_file(each) for each in one.files],
        "person": one.person,
        "added_ns": one.added_ns,
    }


def _file(one: File) -> dict[str, Any]:
    return {"filename": one.filename, "size": one.size, "sha256": one.sha256}


def _action(one: Action) -> dict[str, Any]:
    return {
        "id": one.id,
        "target": one.target,
        "name": one.name,
        "version": one.version,
        "modules": one.modules,
        "kind": one.kind,
        "force_ns": one.force_ns,
        "windows": one.windows,
        "stage": one.stage,
        "outcome": one.outcome,
        "reason": one.reason,
        "person": one.person,
        "created_ns": one.created_ns,
        "closed_ns": one.closed_ns,
    }


def _status(one: Status) -> dict[str, Any]:
    said = one.feedback
    return {
        "number": one.number,
        "at_ns": one.at_ns,
        "execution": said.execution,
        "finished": said.finished,
        "code": said.code,
        "details": said.details,
    }


async def _pieces(receive: Receive) -> AsyncGenerator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise FramingError("the body ended early")
        more = message.get("more_body", False)
        yield message.get("body", b"")


def _query(scope: Scope, name: str) -> str:
    text = scope["query_string"].decode("ascii", "replace")
    return parse_qs(text, max_num_fields=8).get(name, [""])[0]


def _word(scope: Scope, name: str, chars_max: int) -> str:
    found = _query(scope, name)
    if not found or len(found) > chars_max or not found.isprintable():
        raise InputError(f"{name} is needed, and at most {chars_max} characters")
    return found


def _filename(scope: Scope) -> str:
    found = _word(scope, "file", WORD_CHARS_MAX)
    if "/" in found or "%" in found or found in {".", ".."}:
        raise InputError("a file's name is one name without slash or percent sign")
    return found


def _named(scope: Scope) -> str:
    return cast("str", scope["asepsis.path_params"]["name"])


def _person(scope: Scope) -> str:
    return cast("Principal", scope["asepsis.principal"]).name
