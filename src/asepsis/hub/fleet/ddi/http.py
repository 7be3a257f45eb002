"""The routes of update clients: parse, call, render.

Source: Eclipse hawkBit, Direct Device Integration API version 1; docs/reference/ddi.md.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qs

from asepsis.core.errors import InputError
from asepsis.core.wire import ddi
from asepsis.core.wire.byte_ranges import matches
from asepsis.hub.access.rules import Action as Act
from asepsis.hub.fleet.ddi import answers
from asepsis.hub.fleet.ddi.held import Answer, Held
from asepsis.hub.fleet.ddi.http_files import FileRoutes
from asepsis.hub.fleet.ddi.identity import HELD
from asepsis.hub.fleet.ddi.model import Stage
from asepsis.hub.fleet.ddi.requests import media_of, number_of, place_of, render
from asepsis.hub.fleet.ddi.rules import Gone, NotCancelable, Pace, next_change_ns
from asepsis.hub.fleet.ddi.service import ClientService
from asepsis.hub.web.asgi import App, Receive, Scope, Send, answer, header
from asepsis.hub.web.bodies import bounded_body, require_media
from asepsis.hub.web.problems import problem
from asepsis.hub.web.routing import Route

ROOT: Final = "/{tenant}/controller/v1/{name}"
HISTORY_MAX: Final = 100
FOREVER_NS: Final = 2**63
Handler = Callable[[Held, Scope, Receive, Send], Awaitable[None]]
_STATUS: Final = {Gone: 410, NotCancelable: 405}


class ClientRoutes:
    """The handlers of the DDI listener.

    Args:
        service: The use cases of update clients.
        files: The routes of files.
        pace: How often targets ask.
    """

    def __init__(self, service: ClientService, files: FileRoutes, pace: Pace) -> None:
        self._service = service
        self._files = files
        self._pace = pace

    def routes(self) -> list[Route]:
        """Return the routes."""
        found: list[tuple[str, str, Handler]] = [
            ("GET", "", self._poll),
            ("PUT", "/configData", self._describe),
            ("GET", "/deploymentBase/{action}", self._deployment),
            ("POST", "/deploymentBase/{action}/feedback", self._report),
            ("GET", "/cancelAction/{action}", self._cancellation),
            ("POST", "/cancelAction/{action}/feedback", self._report_cancel),
            ("GET", "/installedBase/{action}", self._installed),
            ("PUT", "/installedBase", self._say_installed),
            ("GET", "/confirmationBase", self._confirmations),
            # Before the number, of which their words would else be one.
            ("POST", "/confirmationBase/activateAutoConfirm", self._activate),
            ("POST", "/confirmationBase/deactivateAutoConfirm", self._deactivate),
            ("GET", "/confirmationBase/{action}", self._confirmation),
            ("POST", "/confirmationBase/{action}/feedback", self._confirm),
            ("GET", "/softwaremodules/{module}/artifacts", self._files.list),
            ("GET", "/softwaremodules/{module}/artifacts/{file}", self._files.give),
            ("HEAD", "/softwaremodules/{module}/artifacts/{file}", self._files.give),
        ]
        return [
            Route(method, ROOT + path, _guarded(handler), Act.UPDATE_BY_DDI)
            for method, path, handler in found
        ]

    async def _poll(self, held: Held, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer a poll; in the usual case with bytes that are ready."""
        service = self._service
        held = await service.care(held)
        media, place = media_of(scope), place_of(scope)
        now_ns = service.clock()
        key = (place.base + place.tenant, media)
        ready = held.answers.get(key) if now_ns < held.until_ns else None
        if ready is None:
            document = answers.poll(place, held.target, held.action, self._pace, now_ns)
            ready = _ready(document, media)
            until_ns = next_change_ns(held.action, now_ns) or FOREVER_NS
            if held.action is None or not held.action.windows:
                held.keep(key, ready, until_ns)
        await _send(scope, send, ready, media)

    async def _describe(self, held: Held, scope: Scope, receive: Receive, send: Send) -> None:
        raw, media = await _body(scope, receive)
        await self._service.describe(held, ddi.read_attributes(raw, media))
        await _done(send)

    async def _deployment(self, held: Held, scope: Scope, _receive: Receive, send: Send) -> None:
        await self._show(held, scope, send, stage=Stage.RUNNING, key="deployment")

    async def _installed(self, held: Held, scope: Scope, _receive: Receive, send: Send) -> None:
        await self._show(held, scope, send, stage=None, key="deployment")

    async def _confirmation(self, held: Held, scope: Scope, _receive: Receive, send: Send) -> None:
        await self._show(held, scope, send, stage=Stage.CONFIRM, key="confirmation")

    async def _show(
        self, held: Held, scope: Scope, send: Send, *, stage: Stage | None, key: str
    ) -> None:
        shown = await self._service.look(
            held, number_of(scope, "action"), stage=stage, history=_history(scope)
        )
        document = answers.deployment(
            place_of(scope),
            held.target,
            shown.action,
            shown.modules,
            key=key,
            now_ns=self._service.clock(),
            history=shown.history,
        )
        media = media_of(scope)
        await _send(scope, send, _ready(document, media), media)

    async def _report(self, held: Held, scope: Scope, receive: Receive, send: Send) -> None:
        raw, media = await _body(scope, receive)
        number = number_of(scope, "action")
        await self._service.report(held, number, ddi.read_feedback(raw, media))
        await _done(send)

    async def _cancellation(self, held: Held, scope: Scope, _receive: Receive, send: Send) -> None:
        shown = await self._service.look(
            held, number_of(scope, "action"), stage=Stage.CANCELING, history=0
        )
        media = media_of(scope)
        await _send(scope, send, _ready(answers.cancellation(shown.action), media), media)

    async def _report_cancel(self, held: Held, scope: Scope, receive: Receive, send: Send) -> None:
        raw, media = await _body(scope, receive)
        number = number_of(scope, "action")
        await self._service.report_cancel(held, number, ddi.read_feedback(raw, media))
        await _done(send)

    async def _say_installed(self, held: Held, scope: Scope, receive: Receive, send: Send) -> None:
        raw, media = await _body(scope, receive)
        new = await self._service.say_installed(held, *ddi.read_installed(raw, media))
        await _done(send, status=201 if new else 200)

    async def _confirmations(self, held: Held, scope: Scope, _receive: Receive, send: Send) -> None:
        document = answers.confirmation_state(place_of(scope), held.target, held.action)
        media = media_of(scope)
        await _send(scope, send, _ready(document, media), media)

    async def _confirm(self, held: Held, scope: Scope, receive: Receive, send: Send) -> None:
        raw, media = await _body(scope, receive)
        number = number_of(scope, "action")
        await self._service.confirm(held, number, ddi.read_confirmation(raw, media))
        await _done(send)

    async def _activate(self, held: Held, scope: Scope, receive: Receive, send: Send) -> None:
        raw, media = await _body(scope, receive, empty=True)
        await self._service.auto_confirm(held, ddi.read_auto_confirm(raw, media))
        await _done(send)

    async def _deactivate(self, held: Held, scope: Scope, receive: Receive, send: Send) -> None:
        await bounded_body(receive, ddi.BODY_BYTES_MAX, scope=scope)
        await self._service.auto_confirm(held, None)
        await _done(send)


def _guarded(handler: Handler) -> App:
    """Hand over the target that asks; two refusals of this interface have statuses of their own."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await handler(scope[HELD], scope, receive, send)
        except (Gone, NotCancelable) as error:
            name = scope["asepsis.connection"].request_id
            said = problem(error, status=_STATUS[type(error)], instance=name)
            head = {"type": "http.response.start", "status": said.status, "headers": said.headers}
            await send(head)
            await send({"type": "http.response.body", "body": said.body})

    return serve


def _history(scope: Scope) -> int:
    text = parse_qs(scope["query_string"].decode("ascii"), max_num_fields=8).get("actionHistory")
    if not text:
        return 0
    try:
        wanted = int(text[0][:9])
    except ValueError as error:
        raise InputError("actionHistory is a number") from error
    return HISTORY_MAX if wanted < 0 else min(wanted, HISTORY_MAX)


def _ready(document: Any, media: str) -> Answer:
    body = render(document, media)
    return Answer(body, b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode())


async def _send(scope: Scope, send: Send, ready: Answer, media: str) -> None:
    known = header(scope, b"if-none-match")
    headers = [(b"etag", ready.etag), (b"vary", b"accept")]
    if known is not None and matches(known.decode("latin-1"), ready.etag.decode(), weak=True):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    await answer(send, 200, ready.body, media=media.encode(), headers=headers)


async def _done(send: Send, *, status: int = 200) -> None:
    fields = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b""})


async def _body(scope: Scope, receive: Receive, *, empty: bool = False) -> tuple[bytes, str]:
    raw = await bounded_body(receive, ddi.BODY_BYTES_MAX, scope=scope)
    if empty and not raw:
        return raw, ddi.JSON[0]
    return raw, require_media(scope, *ddi.JSON, ddi.CBOR)
