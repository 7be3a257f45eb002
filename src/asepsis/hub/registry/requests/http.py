"""Routes of requests: a device fetches them on the clinical listener, people bring them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal, cast

import msgspec

from asepsis.core.wire import gate_request
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.registry.requests.mailboxes import OUTCOMES_KEPT, SIGNED, Mailboxes, Told
from asepsis.hub.store.store import Store
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

BODY_BYTES_MAX: Final = 16_384
HOLD_S: Final = 4.0
"""Longest time that a device's question is held open until a request comes, seconds."""

Id = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$", max_length=16)]
Challenge = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$", max_length=32)]
Frame = Annotated[bytes, msgspec.Meta(max_length=gate_request.FRAME_BYTES_MAX)]
Exists = Callable[[str], Awaitable[object]]


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: named fields, nothing unknown; bytes are base64."""


class OutcomeBody(_Body, frozen=True):
    """What became of one request, as the device's network compartment says."""

    id: Id
    verdict: Literal["accepted", "refused", "waits"]
    reason: Annotated[str, msgspec.Meta(max_length=120)] = ""


class FetchBody(_Body, frozen=True):
    """What a device says when it asks for requests."""

    challenge: Challenge
    outcomes: Annotated[tuple[OutcomeBody, ...], msgspec.Meta(max_length=OUTCOMES_KEPT)] = ()
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=HOLD_S)] = 0.0


class AskBody(_Body, frozen=True):
    """A request that an operator signed."""

    frame: Frame
    request: Literal["signed-alarm-limit"] = SIGNED


class DeviceRoutes:
    """The handlers of the clinical listener.

    Args:
        mailboxes: What waits for whom.
        now_ns: Wall clock, nanoseconds since 1970.
    """

    def __init__(self, mailboxes: Mailboxes, now_ns: Callable[[], int]) -> None:
        self._mailboxes = mailboxes
        self._now_ns = now_ns

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("POST", "/requests/fetch", self._fetch, Action.FETCH_REQUESTS)]

    async def _fetch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give a device what waits for it."""
        self._mailboxes.require_on()
        body = await read_document(scope, receive, FetchBody, bytes_max=BODY_BYTES_MAX)
        name, now_ns = _asking(scope).name, self._now_ns()
        told = [
            Told(request_id=one.id, verdict=one.verdict, reason=one.reason, at_ns=now_ns)
            for one in body.outcomes
        ]
        self._mailboxes.hear(name, bytes.fromhex(body.challenge), told)
        found = await self._mailboxes.take(name, wait_s=body.wait_s)
        requests = [{"request": SIGNED, "frame": one.frame} for one in found]
        await send_document(send, {"requests": requests})


class PeopleRoutes:
    """The handlers of the people listener.

    Args:
        mailboxes: What waits for whom.
        exists: Raises NotFound unless there is such a device.
        store: Where the audit log is written.
        audit: Gets an entry for each request that is carried.
    """

    def __init__(
        self, mailboxes: Mailboxes, *, exists: Exists, store: Store, audit: AuditLog
    ) -> None:
        self._mailboxes = mailboxes
        self._exists = exists
        self._store = store
        self._audit = audit

    def routes(self) -> list[Route]:
        """Return the routes."""
        path = "/api/devices/{name}/requests"
        return [
            Route("GET", path, self._show, Action.ASK_DEVICE),
            Route("POST", path, self._ask, Action.ASK_DEVICE),
        ]

    async def _show(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Show the challenge to answer, what waits, and what became of the others."""
        self._mailboxes.require_on()
        name = _named(scope)
        await self._exists(name)
        outcomes = [
            {"id": one.request_id, "verdict": one.verdict, "reason": one.reason, "at_ns": one.at_ns}
            for one in self._mailboxes.outcomes(name)
        ]
        document = {
            "device": name,
            "challenge": self._mailboxes.challenge(name).hex(),
            "waiting": self._mailboxes.waiting(name),
            "outcomes": outcomes,
        }
        await send_document(send, document)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a signed request wait for its device."""
        self._mailboxes.require_on()
        body = await read_document(scope, receive, AskBody, bytes_max=BODY_BYTES_MAX)
        name, person = _named(scope), _asking(scope).name
        await self._exists(name)
        number = self._mailboxes.put(name, body.frame)
        request, _ = gate_request.decode(body.frame)
        facts = {"request": body.request, "id": number, "handle": request.handle}
        await self._store.write(
            lambda connection: self._audit.note(
                connection, actor=f"person:{person}", action="ask-device", subject=name, **facts
            )
        )
        await send_document(send, {"id": number})


def _named(scope: Scope) -> str:
    return cast("str", scope["asepsis.path_params"]["name"])


def _asking(scope: Scope) -> Principal:
    return cast("Principal", scope["asepsis.principal"])
